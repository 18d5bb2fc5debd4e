// The words that CUDA adds to C++, on the host: the threads of a block run one after the other, and blocks too.
#pragma once

#include <cstddef>
#include <utility>

#define __host__
#define __device__
#define __global__

struct Place {
  unsigned x = 0, y = 0, z = 0;
};

inline thread_local Place threadIdx, blockIdx;
inline thread_local Place blockDim{1, 1, 1}, gridDim{1, 1, 1};

inline unsigned long long atomicAdd(unsigned long long* address, unsigned long long value) {
  return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
}

inline void __threadfence() {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

namespace on_cpu {

template <class... Arguments, size_t... At>
void call(void (*kernel)(Arguments...), const unsigned long long* words, std::index_sequence<At...>) {
  kernel((Arguments)words[At]...);
}

// Runs a kernel of so many blocks and threads; its arguments are words, addresses among them.
template <class... Arguments>
void run(void (*kernel)(Arguments...), unsigned grid, unsigned block, const unsigned long long* words) {
  gridDim = {grid, 1, 1};
  blockDim = {block, 1, 1};
  for (blockIdx.x = 0; blockIdx.x < grid; ++blockIdx.x) {
    for (threadIdx.x = 0; threadIdx.x < block; ++threadIdx.x) {
      call(kernel, words, std::index_sequence_for<Arguments...>());
    }
  }
}

} // namespace on_cpu

#define RUN_ON_CPU(kernel)                                                                             \
  extern "C" void run_##kernel(unsigned grid, unsigned block, const unsigned long long* words) { \
    on_cpu::run(kernel, grid, block, words);                                                       \
  }
