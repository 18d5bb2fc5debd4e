// Operation counts that only the device knows, added up in its memory, where nobody has to wait for them.
//
// Every argument is a whole number of 64 bits or an address; no thread waits for another, so that the same source runs
// with one thread after the other. Loops are not unrolled: few are long, and a process compiles this while it trains.
#include "counting.h"

using namespace counting;

namespace {

__device__ inline Long first_of_thread() {
  return static_cast<Long>(blockIdx.x) * blockDim.x + threadIdx.x;
}

__device__ inline Long number_of_threads() {
  return static_cast<Long>(gridDim.x) * blockDim.x;
}

// From one offset to the next.
__device__ inline Long length(const Numbers& offsets, Long at, Long longest) {
  return offsets.given() ? clamp(offsets.at(at + 1) - offsets.at(at), 0, longest) : longest;
}

} // namespace

// A number that the host knows. Captured into a CUDA graph, it counts the graph's replays, whoever replays it.
extern "C" __global__ void add_number(Amount* amount, Word number) {
  if (first_of_thread() == 0) {
    add(amount, number);
  }
}

// Pairs of query and key of sequences of any lengths: those within the mask, and those outside of it. Lengths are between
// offsets, or the same for all; of the keys, a length for each sequence goes before both. None is more than the longest.
extern "C" __global__ void add_pairs(
    Amount* within,
    Amount* outside,
    const void* query_offsets,
    Word query_offsets_wide,
    const void* key_offsets,
    Word key_offsets_wide,
    const void* keys_used,
    Word keys_used_wide,
    Long sequences,
    Long longest_query,
    Long longest_key,
    Long before,
    Long after,
    Word at_the_end) {
  const Numbers query_at{query_offsets, query_offsets_wide};
  const Numbers key_at{key_offsets, key_offsets_wide};
  const Numbers used{keys_used, keys_used_wide};
  Wide all = 0;
  Wide met = 0;
#pragma unroll 1
  for (Long at = first_of_thread(); at < sequences; at += number_of_threads()) {
    const Long queries = length(query_at, at, longest_query);
    const Long keys = used.given() ? clamp(used.at(at), 0, longest_key) : length(key_at, at, longest_key);
    all += static_cast<Wide>(queries) * static_cast<Wide>(keys);
    met += pairs_within(queries, keys, before, after, at_the_end != 0 ? keys - queries : 0);
  }
  add(within, met);
  add(outside, all - met);
}

// Rows (or columns) that groups take of so many: each group ends where the next begins.
extern "C" __global__ void add_steps(Amount* amount, const void* ends, Word ends_wide, Long groups, Long most) {
  const Numbers end_at{ends, ends_wide};
  Wide steps = 0;
#pragma unroll 1
  for (Long at = first_of_thread(); at < groups; at += number_of_threads()) {
    const Long end = clamp(end_at.at(at), 0, most);
    const Long begin = at == 0 ? 0 : clamp(end_at.at(at - 1), 0, most);
    steps += end > begin ? static_cast<Wide>(end - begin) : 0;
  }
  add(amount, steps);
}

// Scores in the blocks that a block mask keeps, and those outside. For every row of blocks there are two numbers: of blocks
// that are masked inside, and of blocks that are kept whole. Queries beyond the last are left out. Which blocks of keys they
// are is not asked: a last one that reaches beyond the keys counts as a whole one, unless that is more than all keys.
extern "C" __global__ void add_blocks(
    Amount* kept,
    Amount* left_out,
    const void* partial,
    const void* full,
    Word wide,
    Long rows,
    Long rows_each,
    Long query_block,
    Long key_block,
    Long queries,
    Long keys,
    Word times) {
  const Numbers partial_at{partial, wide};
  const Numbers full_at{full, wide};
  Wide all = 0;
  Wide met = 0;
#pragma unroll 1
  for (Long at = first_of_thread(); at < rows; at += number_of_threads()) {
    const Long height = clamp(queries - at % rows_each * query_block, 0, query_block);
    const Long blocks = partial_at.at(at) + (full_at.given() ? full_at.at(at) : 0);
    all += static_cast<Wide>(height) * static_cast<Wide>(keys);
    met += static_cast<Wide>(height) * static_cast<Wide>(clamp(blocks * key_block, 0, keys));
  }
  add(kept, met * times);
  add(left_out, (all - met) * times);
}

// The amounts as they stand, for a copy to the host; others may go on adding.
extern "C" __global__ void copy_amounts(const Amount* amounts, Amount* copies, Long number) {
#pragma unroll 1
  for (Long at = first_of_thread(); at < number; at += number_of_threads()) {
    const volatile Amount* const amount = amounts + at;
    copies[at].high = amount->high;
    __threadfence();
    copies[at].low = amount->low;
  }
}
