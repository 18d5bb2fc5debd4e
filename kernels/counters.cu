// Operation counts that only the device knows, added up in its memory where nobody has to wait for them.
#include "counting.h"

using counting::Amount;
using counting::Word;

// Adds a number that the host knows. Captured into a CUDA graph, it counts the graph's replays, whoever replays it.
extern "C" __global__ void add_number(Amount* amount, Word number) {
  counting::add(amount, number);
}
