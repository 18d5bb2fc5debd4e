"""Torch's own sample calls of every operator: both counters give the same tally."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch

from auditor.counting.counter import open_counter
from auditor.tally import CounterKind, Tally

# Torch itself takes another way where a dispatch mode is there, as the portable counter is.
OTHERWISE_UNDER_A_MODE = {
    "cumprod": "its gradient is computed from products where nobody watches",
    "masked.cumprod": "the same",
    "prod": "the same",
    "max": "its gradient fills by a mask instead of multiplying",
    "min": "the same",
    "median": "the same",
    "nanmedian": "the same",
    "quantile": "the quantiles are checked where they can be read",
    "nanquantile": "the same",
    "__getitem__": "its gradient puts by index directly",
    "matrix_exp": "it writes into what it has instead of making new products",
    "norm": "singular values without the vectors",
    "linalg.svdvals": "the same",
    "linalg.cond": "the same",
    "linalg.eigvalsh": "eigenvalues without the vectors",
    "linalg.eigvals": "the same",
    "linalg.matrix_rank": "the same",
    "linalg.eig": "its gradient checks that it is defined",
}


def _tally(kind: CounterKind, program: Callable[[], None]) -> Tally:
    counter = open_counter(kind)
    torch.manual_seed(0)
    counter.attach()
    try:
        program()
    finally:
        counter.detach()
    return counter.take()


def _first_sample(op: Any) -> Callable[[], None]:
    def program() -> None:
        sample = next(iter(op.sample_inputs("cpu", torch.float32, requires_grad=True)))
        result = op(sample.input, *sample.args, **sample.kwargs)
        parts = result if isinstance(result, tuple | list) else [result]
        wanted = [part for part in parts if isinstance(part, torch.Tensor) and part.requires_grad]
        if wanted:
            sum(part.abs().sum() for part in wanted).backward()
        with torch.no_grad():
            op(sample.input, *sample.args, **sample.kwargs)

    return program


def test_both_counters_give_the_same_tally_but_where_torch_itself_does_otherwise(samples: list[Any]) -> None:
    tried, differing = set(), set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for op in samples:
            try:
                portable = _tally(CounterKind.DISPATCH, _first_sample(op))
            except (RuntimeError, TypeError, ValueError, NotImplementedError, AssertionError, StopIteration):
                continue  # samples of other types or devices; those that run are enough
            tried.add(op.name)
            if _tally(CounterKind.NATIVE, _first_sample(op)) != portable:
                differing.add(op.name)
    assert len(tried) > 400
    assert differing - OTHERWISE_UNDER_A_MODE.keys() == set()
