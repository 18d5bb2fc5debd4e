// What a device does: multiply-adds as fast as it will, reads, copies, and which multiprocessors take part.
//
// Every kernel that measures a rate writes how many multiply-adds one of its blocks executes, worked out beside the
// instruction that executes them; none where the architecture has no such instruction. With operands of one, the
// results add up to the same number.
#include "counting.h"

using counting::Word;

namespace probe {

constexpr int kChains = 8; // accumulators that do not wait for one another
constexpr int kSteps = 8; // of each chain, in one round
constexpr int kMmaSteps = 1; // few: assemblers take long over many, and one lasts for longer than the loop around it
constexpr int kWarp = 32;

struct alignas(16) Four {
  unsigned x, y, z, w;
};

__device__ inline Word global_thread() {
  return static_cast<Word>(blockIdx.x) * blockDim.x + threadIdx.x;
}

__device__ inline Word num_threads() {
  return static_cast<Word>(gridDim.x) * blockDim.x;
}

template <class To>
__device__ inline To bits_as(Word bits) {
  union {
    Word word;
    To value;
  } both = {bits};
  return both.value;
}

// One multiply-add of each kind: accumulator and operands, and how many multiplications it is.

template <class Number>
struct Scalar {
  static constexpr Word kMacs = 1;
  static constexpr int kRound = kSteps;
  Number sum = 0, first = 0;
  __device__ void begin(int chain) { // chains that began alike would be one to the compiler
    sum = first = static_cast<Number>(chain);
  }
  __device__ void step(Word operand) {
    const Number one = bits_as<Number>(operand);
    sum = sum * one + one; // contracted to one instruction on the device
  }
  __device__ double total() const {
    return static_cast<double>(sum) - static_cast<double>(first);
  }
};

// Two halves in one register.
struct HalfPair {
  static constexpr Word kMacs = 2;
  static constexpr int kRound = kSteps;
  __device__ void begin(int) {}
#ifdef __CUDA_ARCH__
  unsigned sum = 0;
  __device__ void step(Word operand) {
    const unsigned one = static_cast<unsigned>(operand);
    asm volatile("fma.rn.f16x2 %0, %0, %1, %1;" : "+r"(sum) : "r"(one));
  }
  __device__ double total() const {
    float low, high;
    asm("{.reg .b16 l, h; mov.b32 {l, h}, %2; cvt.f32.f16 %0, l; cvt.f32.f16 %1, h;}"
        : "=f"(low), "=f"(high)
        : "r"(sum));
    return static_cast<double>(low) + high;
  }
#else
  float low = 0, high = 0;
  static float one_of(Word bits) { // of the halves, only powers of two
    return bits == 0 ? 0.0F : __builtin_ldexpf(1.0F, static_cast<int>(bits >> 10 & 31) - 15);
  }
  void step(Word operand) {
    const float a = one_of(operand & 0xFFFF), b = one_of(operand >> 16 & 0xFFFF);
    low = low * a + a;
    high = high * b + b;
  }
  double total() const {
    return static_cast<double>(low) + high;
  }
#endif
};

// A warp's products of tiles, each lane holding a part. An architecture without the instruction executes none.

template <int M, int N, int K>
struct Tile {
  static constexpr Word kTileMacs = static_cast<Word>(M) * N * K;
};

// What the tensor cores' instructions have in common: four accumulators of 32 bits in each lane.
#define AUDITOR_MMA_32(instruction, accumulator, letter, a, b)                                                \
  asm volatile(instruction                                                                                     \
               : "+" letter(accumulator[0]), "+" letter(accumulator[1]), "+" letter(accumulator[2]),           \
                 "+" letter(accumulator[3])                                                                    \
               : a, b)

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
#define AUDITOR_WIDE(kind, shape, letter, accumulator, operand)                                                \
  AUDITOR_MMA_32("mma.sync.aligned." shape ".row.col." kind " {%0,%1,%2,%3}, {%4,%4,%4,%4}, {%4,%4}, "         \
                 "{%0,%1,%2,%3};",                                                                             \
                 accumulator, letter, "r"(operand), "r"(operand))
#endif

template <class Number>
struct Lanes {
  static constexpr int kRound = kMmaSteps;
  Number sum[4] = {};
  __device__ void begin(int) {}
  __device__ double total() const {
    return static_cast<double>(sum[0]) + sum[1] + sum[2] + sum[3];
  }
};

struct MmaF16 : Lanes<float> {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  static constexpr Word kMacs = Tile<16, 8, 16>::kTileMacs;
  __device__ void step(Word operand) {
    AUDITOR_WIDE("f32.f16.f16.f32", "m16n8k16", "f", sum, static_cast<unsigned>(operand));
  }
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 750
  static constexpr Word kMacs = Tile<16, 8, 8>::kTileMacs;
  __device__ void step(Word operand) {
    const unsigned pair = static_cast<unsigned>(operand);
    AUDITOR_MMA_32("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%4}, {%5}, {%0,%1,%2,%3};",
                   sum, "f", "r"(pair), "r"(pair));
  }
#else
  static constexpr Word kMacs = 0;
  __device__ void step(Word) {}
#endif
};

struct MmaBf16 : Lanes<float> {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  static constexpr Word kMacs = Tile<16, 8, 16>::kTileMacs;
  __device__ void step(Word operand) {
    AUDITOR_WIDE("f32.bf16.bf16.f32", "m16n8k16", "f", sum, static_cast<unsigned>(operand));
  }
#else
  static constexpr Word kMacs = 0;
  __device__ void step(Word) {}
#endif
};

struct MmaTf32 : Lanes<float> {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  static constexpr Word kMacs = Tile<16, 8, 8>::kTileMacs;
  __device__ void step(Word operand) {
    AUDITOR_WIDE("f32.tf32.tf32.f32", "m16n8k8", "f", sum, static_cast<unsigned>(operand));
  }
#else
  static constexpr Word kMacs = 0;
  __device__ void step(Word) {}
#endif
};

struct MmaFp8 : Lanes<float> {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
  static constexpr Word kMacs = Tile<16, 8, 32>::kTileMacs;
  __device__ void step(Word operand) {
    AUDITOR_WIDE("f32.e4m3.e4m3.f32", "m16n8k32", "f", sum, static_cast<unsigned>(operand));
  }
#else
  static constexpr Word kMacs = 0;
  __device__ void step(Word) {}
#endif
};

struct MmaInt8 : Lanes<int> {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  static constexpr Word kMacs = Tile<16, 8, 32>::kTileMacs;
  __device__ void step(Word operand) {
    AUDITOR_WIDE("s32.s8.s8.s32", "m16n8k32", "r", sum, static_cast<unsigned>(operand));
  }
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 750
  static constexpr Word kMacs = 2 * Tile<8, 8, 16>::kTileMacs; // two products, for four accumulators
  __device__ void step(Word operand) {
    const unsigned four = static_cast<unsigned>(operand);
    asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%4}, {%4}, {%0,%1};\n\t"
                 "mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%2,%3}, {%4}, {%4}, {%2,%3};"
                 : "+r"(sum[0]), "+r"(sum[1]), "+r"(sum[2]), "+r"(sum[3])
                 : "r"(four));
  }
#else
  static constexpr Word kMacs = 0;
  __device__ void step(Word) {}
#endif
};

struct MmaF64 : Lanes<double> {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  static constexpr Word kMacs = Tile<16, 8, 16>::kTileMacs;
  __device__ void step(Word operand) {
    const double one = bits_as<double>(operand);
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f64.f64.f64.f64 {%0,%1,%2,%3}, {%4,%4,%4,%4,%4,%4,%4,%4}, "
                 "{%4,%4,%4,%4}, {%0,%1,%2,%3};"
                 : "+d"(sum[0]), "+d"(sum[1]), "+d"(sum[2]), "+d"(sum[3])
                 : "d"(one));
  }
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  static constexpr Word kMacs = 2 * Tile<8, 8, 4>::kTileMacs; // two products, for four accumulators
  __device__ void step(Word operand) {
    const double one = bits_as<double>(operand);
    asm volatile("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0,%1}, {%4}, {%4}, {%0,%1};\n\t"
                 "mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%2,%3}, {%4}, {%4}, {%2,%3};"
                 : "+d"(sum[0]), "+d"(sum[1]), "+d"(sum[2]), "+d"(sum[3])
                 : "d"(one));
  }
#else
  static constexpr Word kMacs = 0;
  __device__ void step(Word) {}
#endif
};

// Every thread's chains run for so many rounds; `actors` of a block execute one multiply-add of the kind together each.
template <class Kind>
__device__ inline void rate(double* results, Word* macs, Word rounds, Word operand, Word actors) {
  Kind chains[kChains];
#pragma unroll
  for (int chain = 0; chain < kChains; ++chain) {
    chains[chain].begin(chain);
  }
  for (Word round = 0; round < rounds; ++round) {
#pragma unroll
    for (int step = 0; step < Kind::kRound; ++step) {
#pragma unroll
      for (int chain = 0; chain < kChains; ++chain) {
        chains[chain].step(operand);
      }
    }
  }
  double total = 0;
#pragma unroll
  for (int chain = 0; chain < kChains; ++chain) {
    total += chains[chain].total();
  }
  results[global_thread()] = total;
  if (global_thread() == 0) {
    *macs = Kind::kMacs * rounds * Kind::kRound * kChains * actors;
  }
}

template <class Kind>
__device__ inline void rate_of_threads(double* results, Word* macs, Word rounds, Word operand) {
  rate<Kind>(results, macs, rounds, operand, blockDim.x);
}

template <class Kind>
__device__ inline void rate_of_warps(double* results, Word* macs, Word rounds, Word operand) {
  rate<Kind>(results, macs, rounds, operand, blockDim.x / kWarp);
}

// Where this block runs, and since when.

__device__ inline Word multiprocessor() {
#ifdef __CUDA_ARCH__
  unsigned number;
  asm volatile("mov.u32 %0, %%smid;" : "=r"(number));
  return number;
#else
  return blockIdx.x % 5; // the host of the tests has five
#endif
}

__device__ inline Word time_ns() {
#ifdef __CUDA_ARCH__
  Word time;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(time));
  return time;
#else
  static Word time = 0;
  return time += 1000;
#endif
}

__device__ inline Word ticks() {
#ifdef __CUDA_ARCH__
  return static_cast<Word>(clock64());
#else
  static Word tick = 0;
  return tick += 100;
#endif
}

// Past the first cache, which is the multiprocessor's own.
__device__ inline unsigned load_from_l2(const unsigned* address) {
#ifdef __CUDA_ARCH__
  unsigned value; // volatile, as the clock is: neither passes the other
  asm volatile("ld.global.cg.u32 %0, [%1];" : "=r"(value) : "l"(address) : "memory");
  return value;
#else
  return *address;
#endif
}

} // namespace probe

extern "C" __global__ void fma_fp64(double* results, Word* macs, Word rounds, Word operand) {
  probe::rate_of_threads<probe::Scalar<double>>(results, macs, rounds, operand);
}

extern "C" __global__ void fma_fp32(double* results, Word* macs, Word rounds, Word operand) {
  probe::rate_of_threads<probe::Scalar<float>>(results, macs, rounds, operand);
}

extern "C" __global__ void fma_fp16(double* results, Word* macs, Word rounds, Word operand) {
  probe::rate_of_threads<probe::HalfPair>(results, macs, rounds, operand);
}

extern "C" __global__ void mma_fp64(double* results, Word* macs, Word rounds, Word operand) {
  probe::rate_of_warps<probe::MmaF64>(results, macs, rounds, operand);
}

extern "C" __global__ void mma_tf32(double* results, Word* macs, Word rounds, Word operand) {
  probe::rate_of_warps<probe::MmaTf32>(results, macs, rounds, operand);
}

extern "C" __global__ void mma_fp16(double* results, Word* macs, Word rounds, Word operand) {
  probe::rate_of_warps<probe::MmaF16>(results, macs, rounds, operand);
}

extern "C" __global__ void mma_bf16(double* results, Word* macs, Word rounds, Word operand) {
  probe::rate_of_warps<probe::MmaBf16>(results, macs, rounds, operand);
}

extern "C" __global__ void mma_fp8(double* results, Word* macs, Word rounds, Word operand) {
  probe::rate_of_warps<probe::MmaFp8>(results, macs, rounds, operand);
}

extern "C" __global__ void mma_int8(double* results, Word* macs, Word rounds, Word operand) {
  probe::rate_of_warps<probe::MmaInt8>(results, macs, rounds, operand);
}

// Reads `number` pieces of 16 bytes, each once; the results keep the compiler from leaving it out.
extern "C" __global__ void read_all(Word* results, const probe::Four* from, Word number) {
  unsigned seen = 0;
#pragma unroll 4
  for (Word at = probe::global_thread(); at < number; at += probe::num_threads()) {
    const probe::Four four = from[at];
    seen += four.x ^ four.y ^ four.z ^ four.w;
  }
  results[probe::global_thread()] = seen;
}

// Copies `number` pieces of 16 bytes.
extern "C" __global__ void copy_all(probe::Four* to, const probe::Four* from, Word number) {
#pragma unroll 4
  for (Word at = probe::global_thread(); at < number; at += probe::num_threads()) {
    to[at] = from[at];
  }
}

// How many ticks so many reads take that wait for one another, each of a line taken at random among `lines` of 128
// bytes. All that is read is zero, so that the place of the next read hangs on the one before and is the same each time.
extern "C" __global__ void chase(Word* taken, const unsigned* zeros, Word lines, Word steps) {
  constexpr Word kNumbersPerLine = 32;
  Word state = 88172645463325252ULL;
  const Word started = probe::ticks();
  for (Word step = 0; step < steps; ++step) {
    state ^= state << 13; // Marsaglia's xorshift
    state ^= state >> 7;
    state ^= state << 17;
    const Word line = static_cast<Word>((static_cast<counting::Wide>(state) * lines) >> 64);
    state += probe::load_from_l2(zeros + line * kNumbersPerLine);
  }
  const Word ended = probe::ticks();
  taken[0] = ended - started;
  taken[1] = state; // the compiler must not leave the chain out
}

// Each block notes on which of at most `most` multiprocessors it is, and stays there for a while, so that the next
// block has to go elsewhere.
extern "C" __global__ void reside(Word* blocks, Word most, Word stay_ns) {
  if (threadIdx.x != 0) {
    return;
  }
  const Word until = probe::time_ns() + stay_ns;
  const Word here = probe::multiprocessor();
  if (here < most) {
    atomicAdd(&blocks[here], 1ULL);
  }
  while (probe::time_ns() < until) {
  }
}
