"""The ways to run a step: bare, under the auditor, under other counters. Each needs a process of its own.

The native counter leaves its wrappers behind when it is detached, DeepSpeed's profiler patches torch, and CodeCarbon
keeps a thread: after any of them, a process is no longer bare.
"""

from __future__ import annotations

import importlib
import os
import select
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

import auditor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from subjects import Subject

    Step = Callable[[], object]
    Around = Callable[[Subject, Path], AbstractContextManager[Step]]

BARE = "bare"
BARE_AGAIN = "bare again"
NATIVE = "auditor.count(), native"
DETACHED = "native, detached"
DISPATCH = "auditor.count(), dispatch"
AUDITOR = "Auditor, native, ledger on"
FLOP_COUNTER = "torch FlopCounterMode"

_STEPS_WATCHED = 5  # after the first, a second opinion is asked for during three
_LONGEST_OPINION_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A way to run steps.

    around: attaches, gives the step to be timed, and detaches at the end of the process. needs: the package it is of.
    """

    name: str
    around: Around
    needs: str | None = None


class NotInstalledError(Exception):
    """The package of a variant is not there."""


def find_variant(name: str) -> Variant:
    """The variant of this name.

    Raises: NotInstalledError: its package is not installed; KeyError: there is none of this name.
    """
    variant = next((variant for variant in VARIANTS if variant.name == name), None)
    if variant is None:
        raise KeyError(name)
    if variant.needs and importlib.util.find_spec(variant.needs) is None:
        raise NotInstalledError(variant.needs)
    return variant


@contextmanager
def _bare(subject: Subject, _scratch: Path) -> Iterator[Step]:
    yield subject.step


def _counted(counter: str) -> Around:
    @contextmanager
    def around(subject: Subject, _scratch: Path) -> Iterator[Step]:
        with auditor.count(counter=counter):
            yield subject.step

    return around


@contextmanager
def _detached(subject: Subject, _scratch: Path) -> Iterator[Step]:
    """What the native counter leaves behind: its wrappers, which pass every call on."""
    with auditor.count(counter="native"):
        subject.step()
    yield subject.step


@contextmanager
def _audited(subject: Subject, scratch: Path, coverage_every: str = "0") -> Iterator[Step]:
    """All of the auditor; the second opinion at the beginning of a run has been given when the first step is timed."""
    source, sink = os.pipe()  # the copy of this process that works it out holds the other end until it is done
    key = str(scratch / "key.pem")
    with auditor.Auditor(scratch / "ledger", counter="native", key=key, coverage_every=coverage_every):
        for _ in range(_STEPS_WATCHED):
            subject.step()
        os.close(sink)
        select.select([source], [], [], _LONGEST_OPINION_S)
        os.close(source)
        yield subject.step


@contextmanager
def _flop_counter(subject: Subject, _scratch: Path) -> Iterator[Step]:
    with FlopCounterMode(display=False):
        yield subject.step


@contextmanager
def _profiler(subject: Subject, _scratch: Path) -> Iterator[Step]:
    """A profile for each step, added up: one over all steps would keep every event of the run."""

    def step() -> int:
        with profile(activities=[ProfilerActivity.CPU], record_shapes=True, with_flops=True) as profiler:
            subject.step()
        return sum(event.flops or 0 for event in profiler.events() or ())

    yield step


@contextmanager
def _deepspeed(subject: Subject, _scratch: Path) -> Iterator[Step]:
    """Started once; its counts of the forward pass go on adding up."""
    profiler = importlib.import_module("deepspeed.profiling.flops_profiler").FlopsProfiler(subject.model)
    profiler.start_profile()
    yield subject.step
    profiler.end_profile()


@contextmanager
def _fvcore(subject: Subject, _scratch: Path) -> Iterator[Step]:
    """The forward pass is traced and counted again after each step, as a model that changes would need it."""
    analysis = importlib.import_module("fvcore.nn").FlopCountAnalysis

    def step() -> float:
        subject.step()
        count = analysis(subject.model, (subject.example,))
        count.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        return float(count.total())

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield step


@contextmanager
def _codecarbon(subject: Subject, _scratch: Path) -> Iterator[Step]:
    """Energy, not operations: a thread that reads the machine's power every 15 seconds."""
    tracker = importlib.import_module("codecarbon").OfflineEmissionsTracker(
        country_iso_code="USA", save_to_file=False, log_level="error", allow_multiple_runs=True
    )
    tracker.start()
    yield subject.step
    tracker.stop()


# In the order of the report; all are compared with the first.
VARIANTS = (
    Variant(name=BARE, around=_bare),
    Variant(name=BARE_AGAIN, around=_bare),
    Variant(name=NATIVE, around=_counted("native")),
    Variant(name=DETACHED, around=_detached),
    Variant(name=AUDITOR, around=_audited),
    Variant(name="Auditor, coverage every 10 steps", around=partial(_audited, coverage_every="10")),
    Variant(name=DISPATCH, around=_counted("dispatch")),
    Variant(name=FLOP_COUNTER, around=_flop_counter),
    Variant(name="torch.profiler, FLOPs, each step", around=_profiler),
    Variant(name="DeepSpeed profiler, forward only", around=_deepspeed, needs="deepspeed"),
    Variant(name="fvcore, again each step, forward only", around=_fvcore, needs="fvcore"),
    Variant(name="CodeCarbon, energy", around=_codecarbon, needs="codecarbon"),
)
