// The native tally: how often each operator ran, with which arguments, in which phase. It holds no formula.
//
// The kernel that the dispatcher has computed for an operator on a backend is wrapped by a boxed kernel that calls it and,
// once it has returned, adds one to a table of the thread it runs on. An operator that is not wrapped costs nothing. No lock
// is taken on the way: a table is written by its own thread only, entries are published once and never move, and whoever
// reads compares with what was read before. Python decides what is wrapped, and gives the words their meaning (native.py).
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <ATen/SavedTensorHooks.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/TensorBody.h>
#include <ATen/core/ivalue.h>
#include <ATen/core/jit_type.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/function.h>

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace torch::autograd {
TORCH_API int get_current_graph_task_id(); // of engine.h, which is long
} // namespace torch::autograd

namespace {

using c10::DispatchKey;
using c10::DispatchKeySet;
using c10::IValue;
using c10::OperatorHandle;
using Words = std::vector<int64_t>;

// The numbers of these are native.py's too.
enum Phase : uint8_t { FORWARD, BACKWARD, RECOMPUTE, OPTIMIZER, INFERENCE };
enum Tag : int64_t { NONE, NUMBER, BOOL, INT, STRING, LIST, TENSOR };
enum Role : uint8_t { NOTED, MATRIX, HIDING, OPEN };
enum Attention : uint32_t { DUE = 1, LATE = 2, FAILED = 4 };

constexpr int NO_TASK = -1;
constexpr int NOT_STEPPING = -2;
constexpr int64_t NOTHING_KEPT = -1;
constexpr size_t MOST_ENTRIES = 1 << 15; // of one table; a thread that has seen more begins another
constexpr int TAG_BITS = 8;
constexpr int DTYPE_BITS = 8;
constexpr int STORAGE_BITS = 8;

// ---- What is counted ---------------------------------------------------------------------------------------------------

struct Operator {
  std::string name;
  std::atomic<Role> role; // changes where a formula is registered later
  size_t index;
  size_t num_arguments = 0;
  size_t first_out = 0; // arguments from here on are written to, and described once they have been
  std::vector<bool> number; // by argument: a plain number here is a scalar whose value is not kept
};

struct Entry {
  uint64_t hash;
  const Operator* op;
  Phase phase;
  Words words;
  std::atomic<int64_t> calls{0};
  int64_t taken = 0; // the reader's
  Entry* next = nullptr;
};

// The calls of one thread.
class Table {
 public:
  Table() : slots_(256, nullptr) {}

  void add(const Operator* op, Phase phase, const int64_t* words, size_t num_words) {
    const uint64_t hash = hash_of(op, phase, words, num_words);
    size_t place = hash & (slots_.size() - 1);
    for (Entry* entry; (entry = slots_[place]) != nullptr; place = (place + 1) & (slots_.size() - 1)) {
      if (entry->hash == hash && entry->op == op && entry->phase == phase && entry->words.size() == num_words &&
          std::equal(words, words + num_words, entry->words.data())) {
        entry->calls.store(entry->calls.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        return;
      }
    }
    Entry& entry = entries_.emplace_back();
    entry.hash = hash;
    entry.op = op;
    entry.phase = phase;
    entry.words.assign(words, words + num_words);
    entry.calls.store(1, std::memory_order_relaxed);
    entry.next = head_.load(std::memory_order_relaxed);
    head_.store(&entry, std::memory_order_release);
    slots_[place] = &entry;
    if (entries_.size() * 2 > slots_.size()) {
      grow();
    }
  }

  Entry* head() const {
    return head_.load(std::memory_order_acquire);
  }

  bool full() const {
    return entries_.size() >= MOST_ENTRIES;
  }

 private:
  static uint64_t hash_of(const Operator* op, Phase phase, const int64_t* words, size_t num_words) {
    uint64_t hash = reinterpret_cast<uintptr_t>(op) + phase;
    for (size_t at = 0; at < num_words; ++at) {
      hash = (hash ^ static_cast<uint64_t>(words[at])) * 0x9E3779B97F4A7C15ull;
      hash ^= hash >> 29;
    }
    return hash * 0xBF58476D1CE4E5B9ull >> 7;
  }

  void grow() {
    std::vector<Entry*> slots(slots_.size() * 2, nullptr);
    for (Entry& entry : entries_) {
      size_t place = entry.hash & (slots.size() - 1);
      while (slots[place] != nullptr) {
        place = (place + 1) & (slots.size() - 1);
      }
      slots[place] = &entry;
    }
    slots_.swap(slots);
  }

  std::vector<Entry*> slots_;
  std::deque<Entry> entries_;
  std::atomic<Entry*> head_{nullptr};
};

// All tables. A retired one has no thread any more, and goes once it has been read.
struct Registry {
  std::mutex mutex;
  std::vector<std::unique_ptr<Table>> live;
  std::vector<std::unique_ptr<Table>> retired;

  Table* open() {
    std::lock_guard<std::mutex> lock(mutex);
    return live.emplace_back(std::make_unique<Table>()).get();
  }

  void retire(Table* table) {
    std::lock_guard<std::mutex> lock(mutex);
    for (auto place = live.begin(); place != live.end(); ++place) {
      if (place->get() == table) {
        retired.push_back(std::move(*place));
        live.erase(place);
        return;
      }
    }
  }
};

// ---- A thread, and the phase it is in ----------------------------------------------------------------------------------

struct Thread {
  Registry* registry = nullptr;
  Table* table = nullptr;
  int hidden = 0; // depth of calls whose inner operators are theirs
  int64_t kept = NOTHING_KEPT; // the phase that stays although gradients are off, and the graph task it is kept in
  int optimizer_task = NOT_STEPPING; // the graph task in which an optimizer's step began
  Words words;
};

std::atomic<Registry*> registry{nullptr}; // replaced, never freed, in a forked child
std::atomic<bool> active{false};
std::atomic<bool> updating{false}; // a backward pass has ended and no differentiable forward has begun
std::atomic<uint32_t> attention{0};
PyObject* on_attention = nullptr;

// Hands the table over when its thread ends.
struct ThreadEnd {
  Thread* thread = nullptr;
  ~ThreadEnd();
};

thread_local Thread* this_thread = nullptr;
thread_local ThreadEnd this_thread_end;

ThreadEnd::~ThreadEnd() {
  if (thread != nullptr) {
    if (thread->registry == registry.load()) {
      thread->registry->retire(thread->table);
    }
    delete thread;
    this_thread = nullptr;
  }
}

Thread& here() {
  if (C10_UNLIKELY(this_thread == nullptr)) {
    this_thread_end.thread = this_thread = new Thread();
  }
  return *this_thread;
}

Table& table_of(Thread& thread) {
  Registry* const current = registry.load(std::memory_order_relaxed);
  if (C10_UNLIKELY(thread.registry != current)) {
    thread.registry = current;
    thread.table = current->open();
  } else if (C10_UNLIKELY(thread.table->full())) {
    current->retire(thread.table);
    thread.table = current->open();
    attention.fetch_or(DUE);
  }
  return *thread.table;
}

bool checkpoint_hooks() {
  const auto& hooks = at::SavedTensorDefaultHooks::get_tls_state();
  if (hooks.stack.empty() || hooks.is_tracing) {
    return false;
  }
  // Only reads of what the hook keeps alive: no lock of the interpreter is needed.
  const c10::SafePyObject& pack = hooks.stack.top().first;
  PyObject* const function = pack.ptr(&pack.pyinterpreter());
  if (!PyFunction_Check(function)) {
    return false;
  }
  PyObject* const module = reinterpret_cast<PyFunctionObject*>(function)->func_module;
  return module != nullptr && PyUnicode_Check(module) &&
      PyUnicode_CompareWithASCIIString(module, "torch.utils.checkpoint") == 0;
}

Phase inside_backward() {
  const auto node = torch::autograd::get_current_node();
  if (node != nullptr && node->name().rfind("Checkpoint", 0) == 0) {
    return RECOMPUTE;
  }
  return checkpoint_hooks() ? RECOMPUTE : BACKWARD;
}

int64_t pack(Phase phase, int task) {
  return static_cast<int64_t>(phase) << 32 | static_cast<uint32_t>(task);
}

// As phases.py says it, of which this is the other half.
Phase current_phase(const Thread& thread) {
  const int task = torch::autograd::get_current_graph_task_id();
  if (c10::GradMode::is_enabled()) {
    return task == NO_TASK ? FORWARD : inside_backward();
  }
  if (thread.optimizer_task == task) {
    return OPTIMIZER;
  }
  if (thread.kept != NOTHING_KEPT && static_cast<int>(thread.kept & 0xFFFFFFFF) == task) {
    return static_cast<Phase>(thread.kept >> 32);
  }
  if (task != NO_TASK) {
    if (!updating.load(std::memory_order_relaxed)) {
      updating.store(true, std::memory_order_relaxed);
    }
    return BACKWARD;
  }
  return updating.load(std::memory_order_relaxed) ? OPTIMIZER : INFERENCE;
}

// ---- Arguments, as words -----------------------------------------------------------------------------------------------

// How a tensor is stored: all of its elements, or some in one of these ways.
enum Storage : int64_t { EVERY, SPARSE_COO, SPARSE_CSR, SPARSE_CSC, SPARSE_BSR, SPARSE_BSC, NESTED, UNKNOWN };

Storage storage_of(const at::Tensor& tensor) {
  if (tensor.is_nested()) {
    return NESTED;
  }
  switch (tensor.layout()) {
    case c10::Layout::Strided:
    case c10::Layout::Mkldnn:
      return EVERY;
    case c10::Layout::Sparse:
      return SPARSE_COO;
    case c10::Layout::SparseCsr:
      return SPARSE_CSR;
    case c10::Layout::SparseCsc:
      return SPARSE_CSC;
    case c10::Layout::SparseBsr:
      return SPARSE_BSR;
    case c10::Layout::SparseBsc:
      return SPARSE_BSC;
    default:
      return UNKNOWN;
  }
}

// How many elements such a tensor stores; it asks nothing of the device.
int64_t stored_by(const at::Tensor& tensor, Storage storage) {
  if (storage == UNKNOWN) {
    return 0;
  }
  if (storage == NESTED) {
    return tensor.numel();
  }
  const c10::impl::ExcludeDispatchKeyGuard below_autograd(c10::autograd_dispatch_keyset);
  return (storage == SPARSE_COO ? tensor._values() : tensor.values()).numel();
}

void describe_tensor(const at::Tensor& tensor, Words& words) {
  if (!tensor.defined()) {
    words.push_back(NONE);
    return;
  }
  const c10::TensorImpl* impl = tensor.unsafeGetTensorImpl();
  if (impl->is_wrapped_number()) {
    words.push_back(NUMBER);
    return;
  }
  const Storage storage = storage_of(tensor);
  const auto sizes = storage == NESTED || storage == UNKNOWN ? c10::IntArrayRef() : impl->sizes();
  const auto dtype = static_cast<int64_t>(c10::typeMetaToScalarType(impl->dtype()));
  words.push_back(
      TENSOR | dtype << TAG_BITS | storage << (TAG_BITS + DTYPE_BITS) |
      static_cast<int64_t>(sizes.size()) << (TAG_BITS + DTYPE_BITS + STORAGE_BITS));
  words.insert(words.end(), sizes.begin(), sizes.end());
  if (C10_UNLIKELY(storage != EVERY)) {
    words.push_back(stored_by(tensor, storage));
  }
}

void describe_text(const std::string& text, Words& words) {
  words.push_back(STRING | static_cast<int64_t>(text.size()) << TAG_BITS);
  for (size_t at = 0; at < text.size(); at += sizeof(int64_t)) {
    int64_t word = 0;
    std::memcpy(&word, text.data() + at, std::min(sizeof(int64_t), text.size() - at));
    words.push_back(word);
  }
}

void describe(const IValue& value, bool number, Words& words) {
  if (value.isTensor()) {
    describe_tensor(value.toTensor(), words);
  } else if (value.isNone()) {
    words.push_back(NONE);
  } else if (value.isList()) {
    const auto parts = value.toListRef();
    words.push_back(LIST | static_cast<int64_t>(parts.size()) << TAG_BITS);
    for (const IValue& part : parts) {
      describe(part, number, words);
    }
  } else if (number) {
    words.push_back(NUMBER);
  } else if (value.isBool()) {
    words.push_back(BOOL | static_cast<int64_t>(value.toBool()) << TAG_BITS);
  } else if (value.isInt()) {
    words.push_back(INT);
    words.push_back(value.toInt());
  } else if (value.isString()) {
    describe_text(value.toStringRef(), words);
  } else {
    words.push_back(NUMBER);
  }
}

bool is_number(const c10::Argument& argument) {
  c10::TypePtr type = argument.real_type();
  bool list = false;
  for (;; type = type->containedType(0)) {
    if (type->kind() == c10::TypeKind::ListType) {
      list = true;
    } else if (type->kind() != c10::TypeKind::OptionalType) {
      break;
    }
  }
  switch (type->kind()) {
    case c10::TypeKind::NumberType:
    case c10::TypeKind::ScalarTypeType:
    case c10::TypeKind::LayoutType:
    case c10::TypeKind::MemoryFormatType:
      return true;
    case c10::TypeKind::TensorType:
      return !list;
    default:
      return false;
  }
}

// ---- The wrapper -------------------------------------------------------------------------------------------------------

void attend(uint32_t wanted) {
  const uint32_t what = attention.fetch_and(~wanted) & wanted;
  if (what == 0 || on_attention == nullptr || !Py_IsInitialized()) {
    return;
  }
  const PyGILState_STATE state = PyGILState_Ensure();
  PyObject *type, *value, *trace;
  PyErr_Fetch(&type, &value, &trace);
  PyObject* const result = PyObject_CallFunction(on_attention, "I", what);
  if (result == nullptr) {
    PyErr_WriteUnraisable(on_attention);
  }
  Py_XDECREF(result);
  PyErr_Restore(type, value, trace);
  PyGILState_Release(state);
}

void attend_if_asked(uint32_t wanted) {
  if (C10_UNLIKELY((attention.load(std::memory_order_relaxed) & wanted) != 0)) {
    attend(wanted);
  }
}

struct Hidden {
  explicit Hidden(Thread& thread) : thread(thread) {
    ++thread.hidden;
  }
  ~Hidden() {
    --thread.hidden;
  }
  Thread& thread;
};

class Wrapper final : public c10::OperatorKernel {
 public:
  Wrapper(const Operator* op, c10::SafeKernelFunction kernel) : op_(op), kernel_(std::move(kernel)) {}

  void operator()(const OperatorHandle& handle, DispatchKeySet keys, torch::jit::Stack* stack) {
    if (!active.load(std::memory_order_relaxed)) {
      kernel_.callBoxed(handle, keys, stack);
      return;
    }
    Thread& thread = here();
    const Role role = op_->role.load(std::memory_order_relaxed);
    if (thread.hidden != 0) {
      kernel_.callBoxed(handle, keys, stack);
    } else if (role == HIDING) {
      {
        const Hidden inside(thread);
        kernel_.callBoxed(handle, keys, stack);
      }
      attend_if_asked(LATE); // nothing was noted, so nothing is due
    } else if (role == OPEN) {
      // Its inner operators may be noted meanwhile: the words are its own.
      Words words;
      std::vector<IValue> written;
      describe_call(*stack, words, written);
      kernel_.callBoxed(handle, keys, stack);
      note(thread, words, written);
    } else {
      std::vector<IValue> written;
      thread.words.clear();
      describe_call(*stack, thread.words, written);
      {
        const Hidden inside(thread);
        kernel_.callBoxed(handle, keys, stack);
      }
      note(thread, thread.words, written);
    }
  }

 private:
  // What the call is given, but for what it writes to, which may change its size.
  void describe_call(const torch::jit::Stack& stack, Words& words, std::vector<IValue>& written) const {
    try {
      const IValue* const arguments = stack.data() + stack.size() - op_->num_arguments;
      for (size_t at = 0; at < op_->first_out; ++at) {
        describe(arguments[at], op_->number[at], words);
      }
      if (C10_UNLIKELY(op_->first_out < op_->num_arguments)) {
        written.assign(arguments + op_->first_out, arguments + op_->num_arguments);
      }
    } catch (...) {
      attention.fetch_or(FAILED);
    }
  }

  // The call has returned.
  void note(Thread& thread, Words& words, const std::vector<IValue>& written) const {
    try {
      for (const IValue& value : written) {
        describe(value, true, words);
      }
      const Phase phase = current_phase(thread);
      if (phase == FORWARD && op_->role == MATRIX && updating.load(std::memory_order_relaxed)) {
        updating.store(false, std::memory_order_relaxed);
      }
      table_of(thread).add(op_, phase, words.data(), words.size());
    } catch (...) {
      attention.fetch_or(FAILED);
    }
    attend_if_asked(DUE | LATE | FAILED);
  }

  const Operator* op_;
  c10::SafeKernelFunction kernel_;
};

// ---- What is wrapped ---------------------------------------------------------------------------------------------------

struct Wrapped {
  Operator* op;
  std::vector<c10::RegistrationHandleRAII> registrations;
};

// Neither is ever taken down: entries point at operators, and threads may still run kernels while the process ends.
auto& operators = *new std::deque<Operator>();
auto& wrapped = *new std::unordered_map<std::string, Wrapped>();

class Listener final : public c10::OpRegistrationListener {
 public:
  void onOperatorRegistered(const OperatorHandle&) override {
    attention.fetch_or(LATE); // the dispatcher's lock is held here
  }
  void onOperatorDeregistered(const OperatorHandle&) override {
    attention.fetch_or(LATE);
  }
};

// Torch warns once where a kernel takes the place of another.
struct Quiet final : public c10::WarningHandler {
  void process(const c10::Warning&) override {}
};

// The dispatch keys at which kernels compute, of the backends that this process has.
std::vector<DispatchKey> backend_keys() {
  std::vector<DispatchKey> keys{DispatchKey::MkldnnCPU};
  const auto empty = c10::Dispatcher::singleton().findSchemaOrThrow("aten::empty", "memory_format");
  for (uint8_t at = 1; at <= static_cast<uint8_t>(c10::BackendComponent::EndOfBackendKeys); ++at) {
    const auto backend = static_cast<c10::BackendComponent>(at);
    const auto key_of = [&](DispatchKey functionality) {
      return c10::toRuntimePerBackendFunctionalityKey(functionality, backend);
    };
    // A backend that computes can make a tensor.
    if (backend != c10::BackendComponent::MetaBit && empty.hasKernelForDispatchKey(key_of(DispatchKey::Dense))) {
      for (const DispatchKey functionality :
           {DispatchKey::Dense,
            DispatchKey::Quantized,
            DispatchKey::Sparse,
            DispatchKey::SparseCsr,
            DispatchKey::NestedTensor}) {
        keys.push_back(key_of(functionality));
      }
    }
  }
  return keys;
}

// Whether the dispatcher calls a kernel at this key that is not merely made of other operators.
bool computes(const OperatorHandle& handle, DispatchKey key) {
  if (!handle.hasComputedKernelForDispatchKey(key)) {
    return false;
  }
  if (handle.hasKernelForDispatchKey(key)) {
    return !handle.isKernelFallthroughKernel(key);
  }
  return handle.hasKernelForDispatchKey(DispatchKey::CompositeExplicitAutograd) ||
      handle.hasKernelForDispatchKey(DispatchKey::CompositeExplicitAutogradNonFunctional);
}

std::string name_of(const c10::OperatorName& name) {
  return name.overload_name.empty() ? name.name : name.name + "." + name.overload_name;
}

c10::OperatorName parse_name(const std::string& text) {
  const size_t dot = text.find('.', text.find("::"));
  return dot == std::string::npos ? c10::OperatorName(text, "")
                                  : c10::OperatorName(text.substr(0, dot), text.substr(dot + 1));
}

Operator* add_operator(const std::string& name, Role role, const std::vector<c10::Argument>& arguments) {
  Operator& op = operators.emplace_back();
  op.name = name;
  op.role = role;
  op.index = operators.size() - 1;
  op.num_arguments = op.first_out = arguments.size();
  for (const c10::Argument& argument : arguments) {
    op.number.push_back(is_number(argument));
  }
  while (op.first_out > 0 && arguments[op.first_out - 1].is_out()) {
    --op.first_out;
  }
  return &op;
}

// Whether the operator gives a view of its argument: such a one runs no other.
bool is_view(const c10::FunctionSchema& schema) {
  return std::any_of(schema.returns().begin(), schema.returns().end(), [](const c10::Argument& result) {
    return result.alias_info() != nullptr && !result.alias_info()->isWrite();
  });
}

// Returns at how many keys the operator is wrapped.
size_t wrap(const std::string& name, Role role, const std::vector<DispatchKey>& keys) {
  auto& dispatcher = c10::Dispatcher::singleton();
  const auto known = wrapped.find(name);
  if (known != wrapped.end()) {
    known->second.op->role.store(role);
    return 0;
  }
  const auto handle = dispatcher.findSchema(parse_name(name));
  if (!handle.has_value() || (role == HIDING && is_view(handle->schema()))) {
    return 0;
  }
  std::vector<DispatchKey> at;
  for (const DispatchKey key : keys) {
    if (computes(*handle, key)) {
      at.push_back(key);
    }
  }
  if (at.empty()) {
    return 0;
  }
  Wrapped entry{add_operator(name, role, handle->schema().arguments()), {}};
  for (const DispatchKey key : at) {
    entry.registrations.push_back(dispatcher.registerImpl(
        handle->operator_name(),
        key,
        c10::KernelFunction::makeFromBoxedFunctor(
            std::make_unique<Wrapper>(entry.op, handle->getComputedKernelForDispatchKey(key))),
        std::nullopt,
        nullptr,
        "auditor"));
  }
  wrapped.emplace(name, std::move(entry));
  return at.size();
}

// ---- What Python calls -------------------------------------------------------------------------------------------------

// Runs the function; what it throws becomes a Python error.
template <class Function>
PyObject* guarded(Function function) {
  try {
    return function();
  } catch (const std::exception& error) {
    if (!PyErr_Occurred()) {
      PyErr_SetString(PyExc_RuntimeError, error.what());
    }
    return nullptr;
  }
}

PyObject* none() {
  Py_RETURN_NONE;
}

void append_text(PyObject* list, const std::string& text) {
  PyObject* const item = PyUnicode_FromString(text.c_str());
  PyList_Append(list, item);
  Py_DECREF(item);
}

// All operators that a backend of this process computes: [name].
PyObject* list_operators(PyObject*, PyObject*) {
  return guarded([]() -> PyObject* {
    auto& dispatcher = c10::Dispatcher::singleton();
    const auto keys = backend_keys();
    PyObject* const names = PyList_New(0);
    for (const c10::OperatorName& name : dispatcher.getAllOpNames()) {
      const auto handle = dispatcher.findSchema(name);
      if (handle.has_value() && std::any_of(keys.begin(), keys.end(), [&](DispatchKey key) {
            return computes(*handle, key);
          })) {
        append_text(names, name_of(name));
      }
    }
    return names;
  });
}

// Operators that are no more lose their wrappers of kernels that are no more: [name].
PyObject* unwrap_gone(PyObject*, PyObject*) {
  return guarded([]() -> PyObject* {
    auto& dispatcher = c10::Dispatcher::singleton();
    PyObject* const names = PyList_New(0);
    for (auto place = wrapped.begin(); place != wrapped.end();) {
      if (dispatcher.findSchema(parse_name(place->first)).has_value()) {
        ++place;
      } else {
        append_text(names, place->first);
        place = wrapped.erase(place);
      }
    }
    return names;
  });
}

// wrap([(name, role)]) -> how many were wrapped.
PyObject* wrap_operators(PyObject*, PyObject* arguments) {
  return guarded([&]() -> PyObject* {
    PyObject* roles = nullptr;
    if (!PyArg_ParseTuple(arguments, "O!", &PyList_Type, &roles)) {
      return nullptr;
    }
    Quiet quiet;
    const c10::WarningUtils::WarningHandlerGuard guard(&quiet);
    const auto keys = backend_keys();
    long count = 0;
    for (Py_ssize_t at = 0; at < PyList_GET_SIZE(roles); ++at) {
      const char* name = nullptr;
      unsigned char role = 0;
      if (!PyArg_ParseTuple(PyList_GET_ITEM(roles, at), "sb", &name, &role)) {
        return nullptr;
      }
      count += wrap(name, static_cast<Role>(role), keys) != 0;
    }
    return PyLong_FromLong(count);
  });
}

PyObject* operator_name(PyObject*, PyObject* index) {
  const size_t at = PyLong_AsSize_t(index);
  if (at >= operators.size()) {
    return PyErr_Occurred() ? nullptr : PyErr_Format(PyExc_IndexError, "no operator %zu", at);
  }
  return PyUnicode_FromString(operators[at].name.c_str());
}

void append(PyObject* list, const Entry& entry, int64_t calls) {
  PyObject* const row = Py_BuildValue(
      "(ny#bL)",
      static_cast<Py_ssize_t>(entry.op->index),
      reinterpret_cast<const char*>(entry.words.data()),
      static_cast<Py_ssize_t>(entry.words.size() * sizeof(int64_t)),
      static_cast<int>(entry.phase),
      static_cast<long long>(calls));
  PyList_Append(list, row);
  Py_DECREF(row);
}

void drain_table(PyObject* list, const Table& table) {
  for (Entry* entry = table.head(); entry != nullptr; entry = entry->next) {
    const int64_t calls = entry->calls.load(std::memory_order_relaxed);
    if (calls != entry->taken) {
      append(list, *entry, calls - entry->taken);
      entry->taken = calls;
    }
  }
}

// What came since the last call, on all threads: [(index, words, phase, calls)].
PyObject* drain(PyObject*, PyObject*) {
  PyObject* const list = PyList_New(0);
  Registry* const current = registry.load();
  std::lock_guard<std::mutex> lock(current->mutex);
  for (const auto& table : current->live) {
    drain_table(list, *table);
  }
  for (const auto& table : current->retired) {
    drain_table(list, *table);
  }
  current->retired.clear();
  return list;
}

// All that this thread's table holds, taken or not: [(index, words, phase, calls)].
PyObject* peek(PyObject*, PyObject*) {
  PyObject* const list = PyList_New(0);
  for (Entry* entry = table_of(here()).head(); entry != nullptr; entry = entry->next) {
    append(list, *entry, entry->calls.load(std::memory_order_relaxed));
  }
  return list;
}

// In a forked child: what was counted is the parent's, and a lock that another thread held stays behind.
PyObject* forget(PyObject*, PyObject*) {
  registry.store(new Registry());
  updating.store(false);
  return none();
}

PyObject* set_active(PyObject*, PyObject* on) {
  active.store(PyObject_IsTrue(on) == 1);
  return none();
}

PyObject* set_due(PyObject*, PyObject*) {
  attention.fetch_or(DUE);
  return none();
}

PyObject* set_updating(PyObject*, PyObject* on) {
  updating.store(PyObject_IsTrue(on) == 1);
  return none();
}

PyObject* is_updating(PyObject*, PyObject*) {
  return PyBool_FromLong(updating.load());
}

PyObject* phase_now(PyObject*, PyObject*) {
  return guarded([] { return PyLong_FromLong(current_phase(here())); });
}

PyObject* is_hidden(PyObject*, PyObject*) {
  return PyBool_FromLong(here().hidden != 0);
}

PyObject* hide(PyObject*, PyObject*) {
  ++here().hidden;
  return none();
}

PyObject* show(PyObject*, PyObject*) {
  --here().hidden;
  return none();
}

// Work stays of the phase that is current now, although gradients go off: what was kept before, for `restore_phase`.
PyObject* keep_phase(PyObject*, PyObject*) {
  return guarded([] {
    Thread& thread = here();
    const int task = torch::autograd::get_current_graph_task_id();
    PyObject* const around = PyLong_FromLongLong(thread.kept);
    thread.kept = pack(task == NO_TASK ? FORWARD : inside_backward(), task);
    return around;
  });
}

PyObject* restore_phase(PyObject*, PyObject* around) {
  here().kept = PyLong_AsLongLong(around);
  return none();
}

PyObject* enter_optimizer(PyObject*, PyObject*) {
  here().optimizer_task = torch::autograd::get_current_graph_task_id();
  return none();
}

PyObject* leave_optimizer(PyObject*, PyObject*) {
  here().optimizer_task = NOT_STEPPING;
  updating.store(false);
  return none();
}

// start(callback): before anything is counted.
PyObject* start(PyObject*, PyObject* callback) {
  return guarded([&]() -> PyObject* {
    Py_INCREF(callback);
    Py_XSETREF(on_attention, callback);
    static auto* const listening = new c10::RegistrationHandleRAII(
        c10::Dispatcher::singleton().addRegistrationListener(std::make_unique<Listener>()));
    (void)listening;
    attention.store(0); // the listener was told of every operator that there is
    return none();
  });
}

// The names of the element types, by their number.
PyObject* dtype_names(PyObject*, PyObject*) {
  PyObject* const names = PyList_New(0);
  for (int at = 0; at < static_cast<int>(c10::ScalarType::NumOptions); ++at) {
    const auto name = at == static_cast<int>(c10::ScalarType::Undefined)
        ? std::string()
        : std::string(c10::getDtypeNames(static_cast<c10::ScalarType>(at)).first);
    append_text(names, name);
  }
  return names;
}

PyMethodDef methods[] = {
    {"start", start, METH_O, nullptr},
    {"operators", list_operators, METH_NOARGS, nullptr},
    {"wrap", wrap_operators, METH_VARARGS, nullptr},
    {"unwrap_gone", unwrap_gone, METH_NOARGS, nullptr},
    {"operator_name", operator_name, METH_O, nullptr},
    {"drain", drain, METH_NOARGS, nullptr},
    {"peek", peek, METH_NOARGS, nullptr},
    {"forget", forget, METH_NOARGS, nullptr},
    {"set_active", set_active, METH_O, nullptr},
    {"set_due", set_due, METH_NOARGS, nullptr},
    {"set_updating", set_updating, METH_O, nullptr},
    {"is_updating", is_updating, METH_NOARGS, nullptr},
    {"phase", phase_now, METH_NOARGS, nullptr},
    {"is_hidden", is_hidden, METH_NOARGS, nullptr},
    {"hide", hide, METH_NOARGS, nullptr},
    {"show", show, METH_NOARGS, nullptr},
    {"keep_phase", keep_phase, METH_NOARGS, nullptr},
    {"restore_phase", restore_phase, METH_O, nullptr},
    {"enter_optimizer", enter_optimizer, METH_NOARGS, nullptr},
    {"leave_optimizer", leave_optimizer, METH_NOARGS, nullptr},
    {"dtype_names", dtype_names, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef module = {PyModuleDef_HEAD_INIT, "auditor_native_tally", nullptr, -1, methods};

} // namespace

PyMODINIT_FUNC PyInit_auditor_native_tally() {
  registry.store(new Registry());
  return PyModule_Create(&module);
}
