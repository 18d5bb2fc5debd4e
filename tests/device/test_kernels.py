"""The counters' kernels, on the host, against loops and NumPy over random inputs."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.device.quantities import OPEN, Blocks, Lengths, Pairs, Quantity, Steps

PLACES = st.tuples(st.integers(1, 3), st.integers(1, 5))  # blocks and threads
DTYPE = st.sampled_from([torch.int32, torch.int64])
SIDE = st.just(OPEN) | st.integers(0, 12) | st.just(1 << 50)
LENGTHS = st.lists(st.integers(0, 9) | st.just(0) | st.integers(0, 30), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def kernels(on_cpu):
    return on_cpu("counters.cu")


class Table:
    """Amounts in memory, with what they held before."""

    def __init__(self, *before: int) -> None:
        self.words = np.array([word for number in before for word in (number % 2**64, number >> 64)], dtype=np.uint64)

    def address(self, at: int) -> int:
        return self.words.ctypes.data + 16 * at

    @property
    def amounts(self) -> list[int]:
        low, high = self.words[::2].tolist(), self.words[1::2].tolist()
        return [a + (b << 64) for a, b in zip(low, high, strict=True)]


def run(kernels, quantity: Quantity, place=(1, 1), before: int = 0) -> list[int]:
    """What the kernel adds, to amounts that hold something before."""
    table = Table(*[before] * quantity.num_results)
    addresses = [table.address(at) for at in range(quantity.num_results)]
    kernels.run(quantity.kernel, *addresses, *quantity.words(), grid=place[0], block=place[1])
    return [amount - before for amount in table.amounts]


def plain(quantity: Quantity) -> list[int]:
    return [int(value) for value in quantity.values()]


def offsets(lengths, dtype=torch.int32) -> torch.Tensor:
    return torch.tensor(np.cumsum([0, *lengths]), dtype=dtype)


def met(queries: int, keys: int, before: int, after: int, at_the_end: bool) -> int:
    """Pairs within a mask, one by one, as the documentation of FlashAttention has it."""
    i, j = np.ogrid[:queries, :keys]
    beside = i + (keys - queries if at_the_end else 0)
    return int(((before < 0) | (j >= beside - before)).__and__((after < 0) | (j <= beside + after)).sum())


@given(data=st.data(), queries=LENGTHS, sides=st.tuples(SIDE, SIDE, st.booleans()), place=PLACES)
@settings(max_examples=150)
def test_pairs_of_packed_sequences_are_those_of_the_mask(kernels, data, queries, sides, place):
    before, after, at_the_end = sides
    dtype = data.draw(DTYPE)
    keys = data.draw(st.lists(st.integers(0, 20), min_size=len(queries), max_size=len(queries)))
    used = data.draw(st.none() | st.just([min(key, 3) for key in keys]))
    quantity = Pairs(
        queries=Lengths(each=30, offsets=offsets(queries, dtype)),
        keys=Lengths(each=20, offsets=offsets(keys), used=None if used is None else torch.tensor(used, dtype=dtype)),
        sequences=len(queries),
        before=before,
        after=after,
        at_the_end=at_the_end,
    )
    pairs = list(zip(queries, used or keys, strict=True))
    within = sum(met(q, k, before, after, at_the_end) for q, k in pairs)
    expected = [within, sum(q * k for q, k in pairs) - within]
    assert run(kernels, quantity, place) == expected
    assert plain(quantity) == expected


def test_lengths_may_be_the_same_for_all_of_one_side(kernels):
    keys = Lengths(each=10, used=torch.tensor([3, 0, 10], dtype=torch.int32))
    quantity = Pairs(queries=Lengths(each=2), keys=keys, sequences=3, after=0, at_the_end=True)
    within = sum(met(2, k, OPEN, 0, True) for k in (3, 0, 10))
    assert run(kernels, quantity, (1, 2)) == plain(quantity) == [within, 2 * 13 - within]


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=2, max_size=6), st.integers(0, 9))
def test_memory_that_nobody_has_written_to_counts_no_more_than_a_kernel_can_compute(kernels, garbage, longest):
    """While a training warms up for a capture, lengths may be anything."""
    found = torch.tensor(garbage, dtype=torch.int32)
    sequences = len(garbage) - 1
    lengths = Lengths(each=longest, offsets=found)
    for keys in (lengths, Lengths(each=longest, used=found[1:])):
        quantity = Pairs(queries=lengths, keys=keys, sequences=sequences, after=0)
        assert run(kernels, quantity) == plain(quantity)
        assert sum(plain(quantity)) <= sequences * longest * longest
    (steps,) = plain(Steps(ends=found, most=longest))
    assert run(kernels, Steps(ends=found, most=longest)) == [steps]


LONG = 1 << 45


@given(st.lists(st.integers(0, LONG), min_size=1, max_size=4), st.integers(0, 2**127), st.booleans(), PLACES)
@settings(max_examples=60)
def test_pairs_are_exact_beyond_64_bits_whatever_was_counted_before(kernels, lengths, before, causal, place):
    quantity = Pairs(
        queries=Lengths(each=LONG, offsets=offsets(lengths, torch.int64)),
        keys=Lengths(each=LONG, offsets=offsets(lengths, torch.int64)),
        sequences=len(lengths),
        after=0 if causal else OPEN,
    )
    every = sum(length * length for length in lengths)
    within = sum(length * (length + 1) // 2 for length in lengths) if causal else every
    assert run(kernels, quantity, place, before) == [within, every - within]


@given(
    st.lists(st.integers(0, 40), max_size=8), st.integers(0, 60), PLACES, st.sampled_from([torch.int32, torch.int64])
)
@settings(max_examples=80)
def test_groups_take_what_lies_before_the_last_end(kernels, sizes, most, place, dtype):
    quantity = Steps(ends=torch.tensor(np.cumsum(sizes), dtype=dtype), most=most)
    expected = [min(sum(sizes), most)]
    assert run(kernels, quantity, place) == expected
    assert plain(quantity) == expected


SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 16), st.integers(1, 16))


@given(data=st.data(), sizes=SIZES, place=PLACES)
@settings(max_examples=80)
def test_block_masks_keep_the_scores_in_their_blocks(kernels, data, sizes, place):
    queries, keys, query_block, key_block = sizes
    rows, columns = -(-queries // query_block), -(-keys // key_block)
    numbers = st.lists(st.integers(0, columns), min_size=2 * rows, max_size=2 * rows)
    full = data.draw(st.none() | numbers)
    drawn = data.draw(numbers)
    partial = [min(number, columns - other) for number, other in zip(drawn, full or [0] * len(drawn), strict=True)]
    times = data.draw(st.integers(1, 5))
    quantity = Blocks(
        partial=torch.tensor(partial, dtype=torch.int32).view(1, 2, rows),
        full=None if full is None else torch.tensor(full, dtype=torch.int32).view(1, 2, rows),
        query_block=query_block,
        key_block=key_block,
        queries=queries,
        keys=keys,
        times=times,
    )
    kept = 0
    for at, number in enumerate(partial):  # blocks of one row, from the first column on, element by element
        mask = np.zeros((rows * query_block, columns * key_block), dtype=bool)
        row = at % rows
        mask[row * query_block : (row + 1) * query_block, : (number + (full[at] if full else 0)) * key_block] = True
        kept += int(mask[:queries, :keys].sum())
    expected = [times * kept, times * (2 * queries * keys - kept)]
    assert run(kernels, quantity, place) == expected
    assert plain(quantity) == expected


@given(st.integers(0, 2**127), st.lists(st.integers(0, 2**64 - 1), max_size=5))
def test_numbers_are_added_with_their_carries(kernels, before, numbers):
    table = Table(before)
    for number in numbers:
        kernels.run("add_number", table.address(0), number, grid=2, block=3)
    assert table.amounts == [before + sum(numbers)]


def test_adding_from_many_threads_at_once_loses_nothing(kernels):
    """Each addition carries: half of 2^64 and one more, from as many threads as there are."""
    table, number, rounds = Table(0), 2**63 + 1, 20_000

    def add():
        for _ in range(rounds):
            kernels.run("add_number", table.address(0), number)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert table.amounts == [4 * rounds * number]


@given(st.lists(st.integers(0, 2**128 - 1), min_size=1, max_size=9), PLACES)
def test_a_copy_is_what_stood_there(kernels, amounts, place):
    table, copy = Table(*amounts), Table(*[0] * len(amounts))
    kernels.run("copy_amounts", table.address(0), copy.address(0), len(amounts), grid=place[0], block=place[1])
    assert copy.amounts == table.amounts == amounts


def test_lengths_of_another_kind_are_refused():
    for ends in (torch.tensor([1.0]), torch.arange(4)[::2]):
        with pytest.raises(ValueError, match="lengths must lie behind one another"):
            Steps(ends=ends, most=4).words()
