// A signal that ends the process, heard of and carried out without Python's interpreter (auditor/ending.py).
//
// A handler of Python's waits for the main thread, and any thread of Python's for the interpreter's lock, which code in C
// may hold for long. Here the handler raises two semaphores: one wakes Python, which is to seal what was counted and to end
// the process; the other a thread of ours, which ends it where Python has not done so in time. No descriptor is needed,
// so that a script may close what it likes.
#include "native_ending.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>

namespace {

constexpr int64_t NS_PER_S = 1000000000;
constexpr int NUMBER_BITS = 7;
static_assert(NSIG <= 1 << NUMBER_BITS, "a signal's number has more bits");

struct sigaction ours;
std::atomic<pid_t> owner{0}; // the process whose signals are caught; 0 while none is
std::atomic<int64_t> within_ns{0};
std::atomic<int64_t> caught{0}; // the signal that has come and was not carried out, below the time by which it is
std::atomic<bool> guarded{false};
sem_t for_python, for_guard;

int64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * NS_PER_S + now.tv_nsec;
}

int number_of(int64_t one) {
  return static_cast<int>(one & ((1 << NUMBER_BITS) - 1));
}

void sleep_ns(int64_t left) {
  const timespec span{static_cast<time_t>(left / NS_PER_S), static_cast<long>(left % NS_PER_S)};
  nanosleep(&span, nullptr);
}

void wait(sem_t& semaphore) {
  while (sem_wait(&semaphore) != 0 && errno == EINTR) {
  }
}

bool is_ours(int number) {
  struct sigaction current {};
  return sigaction(number, nullptr, &current) == 0 && current.sa_handler == ours.sa_handler;
}

// Only what is safe in a handler. A child that was forked without a word to Python, or somebody who puts the handler back
// after it was taken away, gets what the signal does by default.
void on_signal(int number) {
  const int error = errno;
  if (owner.load() == getpid()) {
    int64_t none = 0;
    caught.compare_exchange_strong(none, (now_ns() + within_ns.load()) << NUMBER_BITS | number);
    sem_post(&for_python);
    sem_post(&for_guard);
  } else {
    signal(number, SIG_DFL);
    raise(number); // is carried out when the handler returns
  }
  errno = error;
}

void release() {
  owner.store(0);
  caught.store(0);
  for (int number = 1; number < NSIG; ++number) {
    if (is_ours(number)) {
      signal(number, SIG_DFL);
    }
  }
}

void end(int number) {
  const bool is_default = is_ours(number);
  release();
  if (is_default) { // no thread may have it unblocked any more
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, number);
    pthread_sigmask(SIG_UNBLOCK, &only, nullptr);
  }
  kill(getpid(), number);
}

void* guard(void*) {
  for (;;) {
    wait(for_guard);
    while (const int64_t one = caught.load()) {
      const int64_t left = (one >> NUMBER_BITS) - now_ns();
      if (left > 0) {
        sleep_ns(left);
      } else {
        end(number_of(one));
      }
    }
  }
}

// The guard takes no signal from any other thread.
bool begin_guard() {
  sem_init(&for_python, 0, 0);
  sem_init(&for_guard, 0, 0);
  sigset_t all, before;
  sigfillset(&all);
  pthread_t thread{};
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const bool begun = pthread_create(&thread, nullptr, guard, nullptr) == 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (begun) {
    pthread_setname_np(thread, "auditor-guard");
    pthread_detach(thread);
  }
  return begun;
}

bool catch_one(int number) {
  struct sigaction current {};
  const bool is_default = sigaction(number, nullptr, &current) == 0 && current.sa_handler == SIG_DFL;
  return !is_default || sigaction(number, &ours, nullptr) == 0;
}

} // namespace

namespace auditor {

// catch_signals(numbers, within_s): each that ends the process by default is caught, and ends it after so long at latest.
PyObject* catch_signals(PyObject*, PyObject* arguments) {
  PyObject* numbers = nullptr;
  double within_s = 0;
  if (!PyArg_ParseTuple(arguments, "O!d", &PyTuple_Type, &numbers, &within_s)) {
    return nullptr;
  }
  if (!guarded.load() && !begin_guard()) {
    PyErr_SetString(PyExc_RuntimeError, "no thread could be begun to guard the end by a signal");
    return nullptr;
  }
  guarded.store(true);
  ours.sa_handler = on_signal;
  ours.sa_flags = SA_RESTART | SA_ONSTACK;
  sigemptyset(&ours.sa_mask);
  within_ns.store(static_cast<int64_t>(within_s * NS_PER_S));
  owner.store(getpid());
  for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(numbers); ++at) {
    const int number = static_cast<int>(PyLong_AsLong(PyTuple_GET_ITEM(numbers, at)));
    if (PyErr_Occurred() || !catch_one(number)) {
      return PyErr_Occurred() ? nullptr : PyErr_SetFromErrno(PyExc_OSError);
    }
  }
  Py_RETURN_NONE;
}

// The signal that has come, once one has; the interpreter is not held meanwhile.
PyObject* caught_signal(PyObject*, PyObject*) {
  int64_t one = 0;
  Py_BEGIN_ALLOW_THREADS;
  while ((one = caught.load()) == 0) {
    wait(for_python);
  }
  Py_END_ALLOW_THREADS;
  return PyLong_FromLong(number_of(one));
}

// Signals do again what they did, unless somebody has given them other handlers since; none has come any more.
PyObject* release_signals(PyObject*, PyObject*) {
  release();
  Py_RETURN_NONE;
}

// In a forked child, which has no guard.
PyObject* forget_signals(PyObject*, PyObject*) {
  release();
  guarded.store(false);
  Py_RETURN_NONE;
}

} // namespace auditor
