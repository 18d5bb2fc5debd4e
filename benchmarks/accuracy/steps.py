"""One training step of a model, again and again the same: every counter is given the same work."""

from __future__ import annotations

import inspect
import random
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch

import auditor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.accuracy.catalogue import Model, Subject

COUNTERS = ("native", "dispatch")


def subject_of(model: Model) -> Subject:
    """The model as it is before every count: the same weights, the same batch, in training mode."""
    _seed(0)
    subject = model.build()
    subject.module.train()
    _seed(1)
    return subject


def step_of(subject: Subject) -> Callable[[], object]:
    """The subject's training step, after a first one that has set up what optimizers set up."""
    step = subject.step or plain_step(subject)
    step()
    _seed(2)
    return step


def plain_step(subject: Subject) -> Callable[[], object]:
    """Forward, backward, AdamW."""
    learning = [parameter for parameter in subject.module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-4)

    def step() -> None:
        optimizer.zero_grad()
        subject.loss(subject.call()).backward()
        optimizer.step()

    return step


def counted(counter: str | None = None) -> AbstractContextManager[Any]:
    """The auditor's count of a block, by one of its counters or by the one it takes itself.

    Raises: LookupError: this build has no such counter.
    """
    selectable = "counter" in inspect.signature(auditor.count).parameters
    if counter is None or (counter == "dispatch" and not selectable):
        return auditor.count()
    if not selectable:
        raise LookupError(f"this build has no {counter} counter")
    options: Mapping[str, Any] = {"counter": counter}
    return auditor.count(**options)


def _seed(number: int) -> None:
    random.seed(number)
    torch.manual_seed(number)
