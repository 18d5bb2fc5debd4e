// The native tally: how often each operator ran, with which arguments, in which phase. It holds no formula.
//
// The kernel that the dispatcher has computed for an operator on a backend is wrapped by a boxed kernel that calls it and,
// once it has returned, adds one to a table of the thread it runs on. An operator that is not wrapped costs nothing. No lock
// is taken on the way: a table is written by its own thread only, entries are published once and never move, and whoever
// reads compares with what was read before. Python decides what is wrapped, and gives the words their meaning (native.py).
#include "native_ending.h"

#include <ATen/SavedTensorHooks.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/TensorBody.h>
#include <ATen/core/ivalue.h>
#include <ATen/core/jit_type.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/python_variable.h>

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cstring>
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
enum Role : uint8_t { NOTED, MATRIX, HIDING, OPEN, MEASURED };
enum Attention : uint32_t { DUE = 1, LATE = 2, FAILED = 4 };

constexpr int NO_TASK = -1;
constexpr const char* DEBUG = "auditor"; // the name that our registrations go by
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

  void add(const Operator* op, Phase phase, const int64_t* words, size_t num_words, int64_t calls = 1) {
    const uint64_t hash = hash_of(op, phase, words, num_words);
    size_t place = hash & (slots_.size() - 1);
    for (Entry* entry; (entry = slots_[place]) != nullptr; place = (place + 1) & (slots_.size() - 1)) {
      if (entry->hash == hash && entry->op == op && entry->phase == phase && entry->words.size() == num_words &&
          std::equal(words, words + num_words, entry->words.data())) {
        entry->calls.store(entry->calls.load(std::memory_order_relaxed) + calls, std::memory_order_relaxed);
        return;
      }
    }
    Entry& entry = entries_.emplace_back();
    entry.hash = hash;
    entry.op = op;
    entry.phase = phase;
    entry.words.assign(words, words + num_words);
    entry.calls.store(calls, std::memory_order_relaxed);
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

  std::atomic<bool> working{false}; // its thread is inside of an operator that is noted once it has returned

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

// All tables. One that is full is retired, and goes once it has been read; what threads that have ended leave unread is
// kept together, so that it does not grow with their number.
struct Registry {
  std::mutex mutex;
  std::vector<std::unique_ptr<Table>> live;
  std::vector<std::unique_ptr<Table>> retired;
  std::unique_ptr<Table> ended = std::make_unique<Table>();

  Table* open() {
    std::lock_guard<std::mutex> lock(mutex);
    return live.emplace_back(std::make_unique<Table>()).get();
  }

  void retire(Table* table) {
    std::lock_guard<std::mutex> lock(mutex);
    retired.push_back(take_out(table));
  }

  bool working() {
    std::lock_guard<std::mutex> lock(mutex);
    return std::any_of(live.begin(), live.end(), [](const auto& each) { return each->working.load(); });
  }

  void end(Table* table) {
    std::lock_guard<std::mutex> lock(mutex);
    const std::unique_ptr<Table> last = take_out(table);
    for (Entry* entry = last->head(); entry != nullptr; entry = entry->next) {
      const int64_t calls = entry->calls.load(std::memory_order_relaxed) - entry->taken;
      if (calls != 0) {
        ended->add(entry->op, entry->phase, entry->words.data(), entry->words.size(), calls);
      }
    }
    if (ended->full()) {
      retired.push_back(std::exchange(ended, std::make_unique<Table>()));
    }
  }

 private:
  std::unique_ptr<Table> take_out(Table* table) {
    const auto place =
        std::find_if(live.begin(), live.end(), [&](const auto& each) { return each.get() == table; });
    std::unique_ptr<Table> taken = std::move(*place);
    live.erase(place);
    return taken;
  }
};

// ---- A thread, and the phase it is in ----------------------------------------------------------------------------------

// Whether this thread is one on which gloo carries out collectives. Where it averages, it divides there by an operator;
// another network library does so in a kernel of its own, and what a collective computes is counted nowhere.
bool carries_out_collectives() {
  char name[16];
  return pthread_getname_np(pthread_self(), name, sizeof(name)) == 0 && std::strcmp(name, "pt_gloo_runloop") == 0;
}

struct Thread {
  const bool of_network = carries_out_collectives();
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
PyObject* on_measured = nullptr; // asked of a call that has run: whether what it computed was measured

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
      thread->registry->end(thread->table);
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
  if (C10_UNLIKELY(thread.of_network) && updating.load(std::memory_order_relaxed)) {
    return BACKWARD; // what is done to gradients once they have been exchanged
  }
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

// The value for Python: tensors, lists and what numbers may be; nothing for the rest.
PyObject* as_object(const IValue& value) {
  if (value.isTensor()) {
    return value.toTensor().defined() ? THPVariable_Wrap(value.toTensor()) : Py_NewRef(Py_None);
  }
  if (value.isBool()) {
    return PyBool_FromLong(value.toBool());
  }
  if (value.isInt()) {
    return PyLong_FromLongLong(value.toInt());
  }
  if (!value.isList()) {
    return Py_NewRef(Py_None);
  }
  const auto parts = value.toListRef();
  PyObject* const list = PyList_New(static_cast<Py_ssize_t>(parts.size()));
  for (size_t at = 0; list != nullptr && at < parts.size(); ++at) {
    PyList_SetItem(list, static_cast<Py_ssize_t>(at), as_object(parts[at]));
  }
  return list;
}

// Whether Python measured a call: its operator, words, phase and arguments.
bool ask_python(size_t index, const Words& words, Phase phase, const std::vector<IValue>& arguments) {
  if (on_measured == nullptr || !Py_IsInitialized()) {
    return false;
  }
  const PyGILState_STATE state = PyGILState_Ensure();
  PyObject *type, *value, *trace;
  PyErr_Fetch(&type, &value, &trace);
  PyObject* const values = PyTuple_New(static_cast<Py_ssize_t>(arguments.size()));
  for (size_t at = 0; values != nullptr && at < arguments.size(); ++at) {
    PyTuple_SetItem(values, static_cast<Py_ssize_t>(at), as_object(arguments[at]));
  }
  PyObject* const result = values == nullptr ? nullptr
                                             : PyObject_CallFunction(
                                                   on_measured,
                                                   "ny#bN",
                                                   static_cast<Py_ssize_t>(index),
                                                   reinterpret_cast<const char*>(words.data()),
                                                   static_cast<Py_ssize_t>(words.size() * sizeof(int64_t)),
                                                   static_cast<int>(phase),
                                                   values);
  if (result == nullptr) {
    PyErr_WriteUnraisable(on_measured);
  }
  const bool measured = result == Py_True;
  Py_XDECREF(result);
  PyErr_Restore(type, value, trace);
  PyGILState_Release(state);
  return measured;
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

struct Working {
  explicit Working(Thread& thread) : inside(thread), table(table_of(thread)) {
    table.working.store(true, std::memory_order_relaxed);
  }
  ~Working() {
    table.working.store(false, std::memory_order_relaxed);
  }
  Hidden inside;
  Table& table;
};

// What a collective computes itself: not what somebody has done in Python once it has ended, on the same thread.
bool inside_collective(const Thread& thread) {
  return C10_UNLIKELY(thread.of_network) && PyGILState_GetThisThreadState() == nullptr;
}

void give_up(const OperatorHandle& handle);

class Wrapper final : public c10::OperatorKernel {
 public:
  Wrapper(const Operator* op, c10::SafeKernelFunction kernel, bool shared)
      : op_(op), kernel_(std::move(kernel)), shared_(shared) {}

  void operator()(const OperatorHandle& handle, DispatchKeySet keys, torch::jit::Stack* stack) {
    if (!active.load(std::memory_order_relaxed) ||
        (shared_ && keys.has_backend(c10::BackendComponent::MetaBit))) { // traced is not executed
      call(handle, keys, stack);
      return;
    }
    Thread& thread = here();
    const Role role = op_->role.load(std::memory_order_relaxed);
    if (thread.hidden != 0 || inside_collective(thread)) {
      call(handle, keys, stack);
    } else if (role == HIDING) {
      {
        const Hidden inside(thread);
        call(handle, keys, stack);
      }
      attend_if_asked(LATE); // nothing was noted, so nothing is due
    } else if (role == OPEN) {
      // Its inner operators may be noted meanwhile: the words are its own.
      Words words;
      std::vector<IValue> written;
      describe_call(*stack, words, written);
      call(handle, keys, stack);
      note(thread, words, written);
    } else if (role == MEASURED) {
      Words words;
      std::vector<IValue> written;
      const std::vector<IValue> arguments(stack->end() - op_->num_arguments, stack->end());
      describe_call(*stack, words, written);
      {
        const Working inside(thread);
        call(handle, keys, stack);
      }
      if (!measured(thread, words, arguments)) {
        note(thread, words, written);
      }
    } else {
      std::vector<IValue> written;
      thread.words.clear();
      describe_call(*stack, thread.words, written);
      {
        const Working inside(thread);
        call(handle, keys, stack);
      }
      note(thread, thread.words, written);
    }
  }

 private:
  // A kernel that its owner has taken back is said to be invalid before it has begun: the wrapper goes, and the call
  // goes where it would have gone without it.
  void call(const OperatorHandle& handle, DispatchKeySet keys, torch::jit::Stack* stack) const {
    try {
      kernel_.callBoxed(handle, keys, stack);
      return;
    } catch (const c10::Error& error) {
      if (std::strstr(error.what_without_backtrace(), "SafeKernelFunction has been invalidated") == nullptr) {
        throw;
      }
    }
    give_up(handle);
    handle.redispatchBoxed(keys, stack);
  }

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

  // The call has returned; what it computed may be a matter of values, for Python to measure.
  bool measured(Thread& thread, const Words& words, const std::vector<IValue>& arguments) const {
    bool measured = false;
    try {
      const Phase phase = current_phase(thread);
      {
        const Hidden inside(thread);
        measured = ask_python(op_->index, words, phase, arguments);
      }
      if (measured && phase == FORWARD) {
        updating.store(false, std::memory_order_relaxed);
      }
    } catch (...) {
      attention.fetch_or(FAILED);
    }
    attend_if_asked(DUE | LATE | FAILED);
    return measured;
  }

  // The call has returned.
  void note(Thread& thread, Words& words, const std::vector<IValue>& written) const {
    try {
      for (const IValue& value : written) {
        describe(value, true, words);
      }
      const Phase phase = current_phase(thread);
      if (phase == FORWARD && (op_->role == MATRIX || op_->role == MEASURED) && updating.load(std::memory_order_relaxed)) {
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
  bool shared_; // between backends: it stands at an alias key
};

// ---- What is wrapped ---------------------------------------------------------------------------------------------------

struct Wrapped {
  Operator* op;
  std::vector<DispatchKey> keys; // of backends, whose calls come through
  std::vector<c10::RegistrationHandleRAII> registrations;
  std::vector<c10::BoxedKernel> kernels;
};

// Neither is ever taken down: entries point at operators, and threads may still run kernels while the process ends.
auto& operators = *new std::deque<Operator>();
auto& wrapped = *new std::unordered_map<std::string, Wrapped>();
auto& wrapping = *new std::mutex();
auto& given_up = *new std::deque<std::vector<c10::BoxedKernel>>(); // a thread may still be inside one

std::string name_of(const c10::OperatorName& name) {
  return name.overload_name.empty() ? name.name : name.name + "." + name.overload_name;
}

class Listener final : public c10::OpRegistrationListener {
 public:
  void onOperatorRegistered(const OperatorHandle& handle) override {
    std::lock_guard<std::mutex> lock(mutex()); // the dispatcher's is held as well
    names().push_back(name_of(handle.operator_name()));
    attention.fetch_or(LATE);
  }
  void onOperatorDeregistered(const OperatorHandle&) override {
    attention.fetch_or(LATE);
  }

  static std::mutex& mutex() {
    static auto* const kept = new std::mutex();
    return *kept;
  }
  static std::vector<std::string>& names() {
    static auto* const kept = new std::vector<std::string>();
    return *kept;
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

// Whether a call at this key comes to our wrapper first. Asking leaves a few bytes with the dispatcher.
bool in_front(const OperatorHandle& handle, DispatchKey key) {
  return handle.hasComputedKernelForDispatchKey(key) && handle.getComputedKernelForDispatchKey(key).debug() == DEBUG;
}

void register_wrapper(Wrapped& entry, const OperatorHandle& handle, DispatchKey where, DispatchKey from, bool shared) {
  entry.kernels.push_back(c10::BoxedKernel::makeFromFunctor(
      std::make_unique<Wrapper>(entry.op, handle.getComputedKernelForDispatchKey(from), shared)));
  entry.registrations.push_back(c10::Dispatcher::singleton().registerImpl(
      handle.operator_name(),
      where,
      c10::KernelFunction::makeFromBoxedKernel(entry.kernels.back()),
      std::nullopt,
      nullptr,
      DEBUG));
}

// A kernel for one backend is wrapped there. One that all backends share is wrapped where it stands, at its alias key, so
// that whoever registers another in its place, later, has it called.
Wrapped wrap_anew(const std::string& name, Role role, const OperatorHandle& handle, const std::vector<DispatchKey>& keys) {
  Wrapped entry{add_operator(name, role, handle.schema().arguments()), {}, {}, {}};
  std::vector<DispatchKey> shared;
  for (const DispatchKey key : keys) {
    if (computes(handle, key)) {
      entry.keys.push_back(key);
      if (handle.hasKernelForDispatchKey(key)) {
        register_wrapper(entry, handle, key, key, false);
      } else {
        shared.push_back(key);
      }
    }
  }
  if (!shared.empty()) {
    const DispatchKey alias = handle.hasKernelForDispatchKey(DispatchKey::CompositeExplicitAutogradNonFunctional) &&
            !handle.hasKernelForDispatchKey(DispatchKey::CompositeExplicitAutograd)
        ? DispatchKey::CompositeExplicitAutogradNonFunctional
        : DispatchKey::CompositeExplicitAutograd;
    const bool dense = std::find(shared.begin(), shared.end(), DispatchKey::CPU) != shared.end();
    register_wrapper(entry, handle, alias, dense ? DispatchKey::CPU : shared.front(), true);
  }
  return entry;
}

// Whether the operator's calls come through a wrapper now. ``look``: a wrapper that others have come before is renewed.
bool wrap(const std::string& name, Role role, const std::vector<DispatchKey>& keys, bool look) {
  const auto handle = c10::Dispatcher::singleton().findSchema(parse_name(name));
  if (!handle.has_value() || (role == HIDING && is_view(handle->schema()))) {
    return false;
  }
  std::lock_guard<std::mutex> lock(wrapping);
  const auto known = wrapped.find(name);
  if (known != wrapped.end()) {
    known->second.op->role.store(role);
    const auto& at = known->second.keys;
    if (!look || std::all_of(at.begin(), at.end(), [&](DispatchKey key) { return in_front(*handle, key); })) {
      return true;
    }
    given_up.push_back(std::move(known->second.kernels));
    wrapped.erase(known);
  }
  Wrapped entry = wrap_anew(name, role, *handle, keys);
  if (look) { // not every key need lie under the alias
    const auto passed_by = [&](DispatchKey key) { return !in_front(*handle, key); };
    entry.keys.erase(std::remove_if(entry.keys.begin(), entry.keys.end(), passed_by), entry.keys.end());
  }
  const bool any = !entry.keys.empty();
  if (any) {
    wrapped.emplace(name, std::move(entry));
  }
  return any;
}

// The wrapper of a kernel that is no more goes, while a call is inside of it.
void give_up(const OperatorHandle& handle) {
  std::lock_guard<std::mutex> lock(wrapping);
  const auto known = wrapped.find(name_of(handle.operator_name()));
  if (known != wrapped.end()) {
    given_up.push_back(std::move(known->second.kernels));
    wrapped.erase(known);
  }
  attention.fetch_or(LATE);
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

PyObject* as_texts(const std::vector<std::string>& texts) {
  PyObject* const list = PyList_New(0);
  for (const std::string& text : texts) {
    append_text(list, text);
  }
  return list;
}

// The operators declared since the last call: [name].
PyObject* declared(PyObject*, PyObject*) {
  return guarded([]() -> PyObject* {
    std::vector<std::string> names;
    {
      std::lock_guard<std::mutex> lock(Listener::mutex());
      names.swap(Listener::names());
    }
    return as_texts(names);
  });
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
    std::vector<std::string> gone;
    {
      std::lock_guard<std::mutex> lock(wrapping);
      for (auto place = wrapped.begin(); place != wrapped.end();) {
        if (dispatcher.findSchema(parse_name(place->first)).has_value()) {
          ++place;
        } else {
          gone.push_back(place->first);
          given_up.push_back(std::move(place->second.kernels));
          place = wrapped.erase(place);
        }
      }
    }
    return as_texts(gone);
  });
}

// wrap([(name, role)], look) -> [name]: those whose calls come through. ``look``: see whether others came before ours.
PyObject* wrap_operators(PyObject*, PyObject* arguments) {
  return guarded([&]() -> PyObject* {
    PyObject* roles = nullptr;
    int look = 0;
    if (!PyArg_ParseTuple(arguments, "O!p", &PyList_Type, &roles, &look)) {
      return nullptr;
    }
    Quiet quiet;
    const c10::WarningUtils::WarningHandlerGuard guard(&quiet);
    const auto keys = backend_keys();
    std::vector<std::string> names;
    for (Py_ssize_t at = 0; at < PyList_GET_SIZE(roles); ++at) {
      const char* name = nullptr;
      unsigned char role = 0;
      if (!PyArg_ParseTuple(PyList_GET_ITEM(roles, at), "sb", &name, &role)) {
        return nullptr;
      }
      if (wrap(name, static_cast<Role>(role), keys, look != 0)) {
        names.emplace_back(name);
      }
    }
    return as_texts(names);
  });
}

PyObject* operator_name(PyObject*, PyObject* index) {
  const size_t at = PyLong_AsSize_t(index);
  if (at >= operators.size()) {
    return PyErr_Occurred() ? nullptr : PyErr_Format(PyExc_IndexError, "no operator %zu", at);
  }
  return PyUnicode_FromString(operators[at].name.c_str());
}

struct Row {
  const Operator* op;
  Phase phase;
  Words words;
  int64_t calls;
};

// Making objects may run anything, a finalizer's operators among it: no lock is held here.
PyObject* as_list(const std::vector<Row>& rows) {
  PyObject* const list = PyList_New(0);
  for (const Row& row : rows) {
    PyObject* const item = Py_BuildValue(
        "(ny#bL)",
        static_cast<Py_ssize_t>(row.op->index),
        reinterpret_cast<const char*>(row.words.data()),
        static_cast<Py_ssize_t>(row.words.size() * sizeof(int64_t)),
        static_cast<int>(row.phase),
        static_cast<long long>(row.calls));
    PyList_Append(list, item);
    Py_DECREF(item);
  }
  return list;
}

void drain_table(const Table& table, std::vector<Row>& rows) {
  for (Entry* entry = table.head(); entry != nullptr; entry = entry->next) {
    const int64_t calls = entry->calls.load(std::memory_order_relaxed);
    if (calls != entry->taken) {
      rows.push_back({entry->op, entry->phase, entry->words, calls - entry->taken});
      entry->taken = calls;
    }
  }
}

std::vector<Row> drain_all() {
  std::vector<Row> rows;
  Registry* const current = registry.load();
  std::lock_guard<std::mutex> lock(current->mutex);
  for (const auto& table : current->live) {
    drain_table(*table, rows);
  }
  for (const auto& table : current->retired) {
    drain_table(*table, rows);
  }
  drain_table(*current->ended, rows);
  current->retired.clear();
  return rows;
}

// What came since the last call, on all threads: [(index, words, phase, calls)].
PyObject* drain(PyObject*, PyObject*) {
  return guarded([] { return as_list(drain_all()); });
}

// All that this thread's table holds, taken or not: [(index, words, phase, calls)].
PyObject* peek(PyObject*, PyObject*) {
  return guarded([] {
    std::vector<Row> rows;
    for (Entry* entry = table_of(here()).head(); entry != nullptr; entry = entry->next) {
      rows.push_back({entry->op, entry->phase, entry->words, entry->calls.load(std::memory_order_relaxed)});
    }
    return as_list(rows);
  });
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

// What was called for cannot be done now: at a later operator, then.
PyObject* ask_again(PyObject*, PyObject* what) {
  attention.fetch_or(static_cast<uint32_t>(PyLong_AsUnsignedLong(what)));
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

// Whether any thread is inside of an operator that is not noted yet.
PyObject* is_working(PyObject*, PyObject*) {
  return PyBool_FromLong(registry.load()->working());
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

// start(on_attention, on_measured): before anything is counted.
PyObject* start(PyObject*, PyObject* arguments) {
  return guarded([&]() -> PyObject* {
    PyObject *attending = nullptr, *measuring = nullptr;
    if (!PyArg_ParseTuple(arguments, "OO", &attending, &measuring)) {
      return nullptr;
    }
    Py_XSETREF(on_attention, Py_NewRef(attending));
    Py_XSETREF(on_measured, Py_NewRef(measuring));
    static auto* const listening = new c10::RegistrationHandleRAII(
        c10::Dispatcher::singleton().addRegistrationListener(std::make_unique<Listener>()));
    (void)listening;
    attention.store(0); // the listener was told of every operator that there is
    Listener::names().clear();
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
    {"start", start, METH_VARARGS, nullptr},
    {"operators", list_operators, METH_NOARGS, nullptr},
    {"wrap", wrap_operators, METH_VARARGS, nullptr},
    {"declared", declared, METH_NOARGS, nullptr},
    {"unwrap_gone", unwrap_gone, METH_NOARGS, nullptr},
    {"operator_name", operator_name, METH_O, nullptr},
    {"drain", drain, METH_NOARGS, nullptr},
    {"peek", peek, METH_NOARGS, nullptr},
    {"forget", forget, METH_NOARGS, nullptr},
    {"set_active", set_active, METH_O, nullptr},
    {"set_due", set_due, METH_NOARGS, nullptr},
    {"ask_again", ask_again, METH_O, nullptr},
    {"set_updating", set_updating, METH_O, nullptr},
    {"is_updating", is_updating, METH_NOARGS, nullptr},
    {"phase", phase_now, METH_NOARGS, nullptr},
    {"is_hidden", is_hidden, METH_NOARGS, nullptr},
    {"is_working", is_working, METH_NOARGS, nullptr},
    {"hide", hide, METH_NOARGS, nullptr},
    {"show", show, METH_NOARGS, nullptr},
    {"keep_phase", keep_phase, METH_NOARGS, nullptr},
    {"restore_phase", restore_phase, METH_O, nullptr},
    {"enter_optimizer", enter_optimizer, METH_NOARGS, nullptr},
    {"leave_optimizer", leave_optimizer, METH_NOARGS, nullptr},
    {"dtype_names", dtype_names, METH_NOARGS, nullptr},
    {"catch_signals", auditor::catch_signals, METH_VARARGS, nullptr},
    {"caught_signal", auditor::caught_signal, METH_NOARGS, nullptr},
    {"release_signals", auditor::release_signals, METH_NOARGS, nullptr},
    {"forget_signals", auditor::forget_signals, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef module = {PyModuleDef_HEAD_INIT, "auditor_native_tally", nullptr, -1, methods};

} // namespace

PyMODINIT_FUNC PyInit_auditor_native_tally() {
  registry.store(new Registry());
  return PyModule_Create(&module);
}
