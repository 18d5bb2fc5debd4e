"""Small ledgers with weights in them, written by the ledger's own writer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from auditor.records import Weights
from tests.ledger import conftest as ledgers
from tests.ledger.conftest import Run

if TYPE_CHECKING:
    from collections.abc import Callable

key, run, new_run = ledgers.key, ledgers.run, ledgers.new_run


def weights(event: str, digest: str, *, name: str = "m.pt", files: tuple[str, ...] = (), tensors: str = "") -> Weights:
    """A checkpoint whose digests are a digit over and over."""
    return replace(
        ledgers.WEIGHTS,
        event=event,
        name=name,
        step=3,
        digest=digest * 64,
        tensors=tensors * 64,
        size_bytes=8,
        files=tuple((file * 64, 8, file) for file in files or (digest,)),
    )


@pytest.fixture
def write(new_run: Callable[[], Run]) -> Callable[..., Run]:
    """A run of this model, of so many intervals, with these checkpoints."""

    def make(model: str, *seen: Weights, intervals: int = 1) -> Run:
        made = new_run()
        book = made.book(model=model)
        for one in seen:
            book.weights(one)
        for number in range(intervals):
            made.interval(book, number)
        book.seal("finished")
        return made

    return make
