"""The probe's kernels, on the host: they execute as many multiply-adds as they say, and read what they should."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.device.rates import KERNELS


@pytest.fixture(scope="module")
def kernels(on_cpu):
    return on_cpu("probe.cu")


def _at(array: np.ndarray) -> int:
    return array.ctypes.data


@pytest.mark.parametrize("name", ["fma_fp64", "fma_fp32", "fma_fp16"])
@pytest.mark.parametrize(("grid", "block", "rounds"), [(1, 1, 1), (3, 32, 5), (2, 64, 20)])
def test_with_operands_of_one_the_results_add_up_to_the_multiply_adds(kernels, name, grid, block, rounds):
    one = next(kernel.one for kernel in KERNELS if kernel.name == name)
    results, macs = np.zeros(grid * block), np.zeros(1, dtype=np.uint64)
    kernels.run(name, _at(results), _at(macs), rounds, one, grid=grid, block=block)
    assert results.sum() == int(macs[0]) * grid > 0
    assert len(set(results)) == 1


@pytest.mark.parametrize("name", [kernel.name for kernel in KERNELS if kernel.name.startswith("mma")])
def test_an_architecture_without_the_instruction_says_that_it_executes_none(kernels, name):
    results, macs = np.ones(32), np.ones(1, dtype=np.uint64)
    kernels.run(name, _at(results), _at(macs), 9, 1, grid=1, block=32)
    assert macs[0] == 0
    assert not results.any()


@settings(max_examples=30)
@given(st.integers(0, 200), st.integers(1, 3), st.integers(1, 7))
def test_reading_and_copying_touch_each_piece_once(kernels, number, grid, block):
    pieces = np.random.default_rng(number).integers(0, 2**31, (number, 4), dtype=np.uint32)
    copied = np.zeros((number + 1, 4), dtype=np.uint32)
    seen = np.zeros(grid * block, dtype=np.uint64)
    kernels.run("read_all", _at(seen), _at(pieces), number, grid=grid, block=block)
    kernels.run("copy_all", _at(copied), _at(pieces), number, grid=grid, block=block)
    assert int(seen.sum()) % 2**32 == int(np.bitwise_xor.reduce(pieces, axis=1).sum()) % 2**32 if number else True
    assert (copied[:number] == pieces).all()
    assert not copied[number:].any()


def test_a_chase_stays_within_its_lines_and_takes_its_time(kernels):
    lines, steps = 3, 1000
    zeros = np.zeros(lines * 32 + 32, dtype=np.uint32)
    zeros[lines * 32 :] = 1  # behind the last line: a read there would change the way
    taken, again = np.zeros(2, dtype=np.uint64), np.zeros(2, dtype=np.uint64)
    kernels.run("chase", _at(taken), _at(zeros), lines, steps)
    kernels.run("chase", _at(again), _at(zeros[: lines * 32].copy()), lines, steps)
    assert taken[1] == again[1]  # the same way
    assert taken[0] == 100  # the host's clock goes on at each look, and there are two


@pytest.mark.parametrize(("grid", "expected"), [(3, [1, 1, 1, 0, 0]), (12, [3, 3, 2, 2, 2])])
def test_each_block_notes_where_it_is(kernels, grid, expected):
    blocks = np.zeros(6, dtype=np.uint64)
    kernels.run("reside", _at(blocks), 5, 10_000, grid=grid, block=2)
    assert blocks.tolist() == [*expected, 0]


def test_a_multiprocessor_past_the_table_is_not_noted(kernels):
    blocks = np.zeros(6, dtype=np.uint64)
    kernels.run("reside", _at(blocks), 2, 10_000, grid=5, block=1)
    assert blocks.tolist() == [1, 1, 0, 0, 0, 0]


def test_words_are_of_64_bits():
    assert ctypes.sizeof(ctypes.c_ulonglong) == 8
