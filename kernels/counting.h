// Arithmetic that the device's code and the host's share: exact amounts, wider than the machine's atomics.
#pragma once

namespace counting {

using Word = unsigned long long;
using Long = long long;
using Wide = unsigned __int128;

// An exact amount below 2^128. Whoever reads `high` before `low` while others add reads at most what has been added: a
// carry arrives after the low word that it comes from.
struct alignas(16) Amount {
  Word low;
  Word high;
};

// Adds without a lock, whoever else adds at the same time.
__device__ inline void add(Amount* amount, Wide number) {
  if (number == 0) {
    return;
  }
  const Word low = static_cast<Word>(number);
  const Word before = atomicAdd(&amount->low, low);
  const Word high = static_cast<Word>(number >> 64) + (before + low < before ? 1 : 0);
  if (high != 0) {
    __threadfence();
    atomicAdd(&amount->high, high);
  }
}

__host__ __device__ inline Long least(Long a, Long b) {
  return a < b ? a : b;
}

__host__ __device__ inline Long clamp(Long number, Long from, Long to) {
  return number < from ? from : least(number, to);
}

// Whole numbers of 32 or 64 bits, where a tensor holds them.
struct Numbers {
  const void* data;
  Word wide; // 64 bits each

  __host__ __device__ bool given() const {
    return data != nullptr;
  }
  __host__ __device__ Long at(Long place) const {
    return wide != 0 ? static_cast<const Long*>(data)[place] : static_cast<const int*>(data)[place];
  }
};

// Of the pairs of so many queries and keys, those in which key j comes no later than query i + `shift`.
__host__ __device__ inline Wide pairs_up_to(Long queries, Long keys, Long shift) {
  const Long first = clamp(-shift, 0, queries); // the first query that meets any key
  const Long whole = clamp(keys - 1 - shift, first, queries); // the first that meets all of them
  const Wide rising = static_cast<Wide>(whole - first);
  const Wide ends = static_cast<Wide>(first + shift + 1) + static_cast<Wide>(whole + shift);
  return (rising == 0 ? 0 : rising * ends / 2) + static_cast<Wide>(queries - whole) * static_cast<Wide>(keys);
}

// Those that a mask leaves: query i meets keys i + shift - before .. i + shift + after. A negative side is open. The
// last query stands beside the last key where `shift` is keys - queries, the first beside the first where it is 0.
__host__ __device__ inline Wide pairs_within(Long queries, Long keys, Long before, Long after, Long shift) {
  const Wide up_to_last = after < 0 ? static_cast<Wide>(queries) * static_cast<Wide>(keys)
                                    : pairs_up_to(queries, keys, shift + after);
  return up_to_last - (before < 0 ? 0 : pairs_up_to(queries, keys, shift - before - 1));
}

} // namespace counting
