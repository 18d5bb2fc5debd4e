// Functions that the device's code and the host's share: exact sums wider than the machine's atomics.
#pragma once

namespace counting {

using Word = unsigned long long;

// An exact amount below 2^128. Whoever reads `high` before `low` while others add reads at most what has been added: a
// carry arrives after the low word that it comes from.
struct alignas(16) Amount {
  Word low;
  Word high;
};

// Adds without a lock, whoever else adds at the same time.
__device__ inline void add(Amount* amount, Word low, Word high = 0) {
  const Word before = atomicAdd(&amount->low, low);
  const Word carried = high + (before + low < before ? 1 : 0);
  if (carried != 0) {
    __threadfence();
    atomicAdd(&amount->high, carried);
  }
}

} // namespace counting
