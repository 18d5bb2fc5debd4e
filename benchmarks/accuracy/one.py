"""One row of the survey as JSON will hold it.

Each column is measured for itself: what fails is said in its place, ``{"unavailable": why}``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch

from auditor.formulas import Pricer
from auditor.operations import MATRIX_FAMILIES
from auditor.units import OPS_PER_MULTIPLY_ADD, wire
from benchmarks.accuracy import explain, figures, peers
from benchmarks.accuracy.steps import COUNTERS, counted, step_of, subject_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from auditor.operations import Operations
    from auditor.tally import Tally
    from benchmarks.accuracy.catalogue import Model

Row = dict[str, Any]
_LONGEST_REASON = 300
_MODULE_DEPTH = 2


def row(model: Model) -> Row:
    """Every column but the compiled one."""
    subject = subject_of(model)
    parameters = sum(parameter.numel() for parameter in subject.module.parameters())
    tallies: dict[str, Tally] = {}
    counts = {counter: _column(partial(_counted, model, counter, tallies)) for counter in COUNTERS}
    return {
        "name": model.name,
        "library": model.library,
        "what": model.what,
        "parameters": wire(parameters),
        **counts,
        "native_differs": _apart(tallies),
        "flop_counter": _column(lambda: _flop_counter(model, tallies["dispatch"])),
        "fvcore": _column(lambda: _fvcore(model)),
        "figures": _column(lambda: _figures(model)),
    }


def compiled_row(model: Model) -> Row:
    """The column under torch.compile: matrix work by family, which fusion leaves as it is."""
    return {"name": model.name, "compiled": _column(lambda: _compiled(model))}


def _column(measure: Callable[[], Any]) -> Any:
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            return measure()
    except Exception as error:  # noqa: BLE001 - a library of somebody else's may raise anything
        message = " ".join(f"{type(error).__name__}: {error}".split())
        return {"unavailable": message[:_LONGEST_REASON]}


def _counted(model: Model, counter: str, tallies: dict[str, Tally]) -> Row:
    step = step_of(subject_of(model))
    with counted(counter) as count:
        step()
    tallies[counter] = count.tally
    return _amounts(count.operations)


def _amounts(operations: Operations) -> Row:
    return {
        "phases": {phase: wire(ops) for phase, ops in operations.by_phase.items()},
        "families": {family: wire(ops) for family, ops in operations.by_family.items()},
        "unpriced": dict(operations.unpriced),
    }


def _apart(tallies: dict[str, Tally]) -> list[Row] | None:
    """Signatures that both counters of the auditor have not equally often; None where one of them is missing."""
    if len(tallies) < len(COUNTERS):
        return None
    native, dispatch = (tallies[counter] for counter in COUNTERS)
    entries = sorted(entry for entry in {*native, *dispatch} if native.get(entry) != dispatch.get(entry))
    return [
        {
            "operator": entry.signature.op,
            "arguments": entry.signature.arguments,
            "phase": entry.phase,
            "native": native.get(entry, 0),
            "dispatch": dispatch.get(entry, 0),
        }
        for entry in entries
    ]


def _flop_counter(model: Model, tally: Tally) -> Row:
    comparison = explain.against_flop_counter(tally, peers.flop_counter(model))
    return {
        "ours": wire(comparison.ours_ops),
        "theirs": wire(comparison.theirs_ops),
        "differences": [
            {
                "operator": each.operator,
                "calls": each.calls,
                "ours": wire(each.ours_ops),
                "theirs": wire(each.theirs_ops),
                "why": each.why,
            }
            for each in comparison.differences
        ],
        "unexplained": wire(comparison.unexplained_ops),
    }


def _fvcore(model: Model) -> Row:
    opinion = peers.fvcore(model)
    unexplained = [row for row in opinion.explained if row["note"].startswith("unexplained")]
    return {
        "counter": opinion.counter,
        "ours": opinion.ours,
        "theirs": opinion.theirs,
        "differences": list(opinion.explained),
        "unexplained": wire(sum(abs(int(row["ours"]) - int(row["theirs"])) for row in unexplained)),
        "modules": [
            {"path": path, "class": kind, "ops": ops}
            for path, kind, ops in opinion.modules
            if path.count(".") < _MODULE_DEPTH
        ],
    }


def _figures(model: Model) -> list[Row]:
    """The figures there are: one worked out by hand for the call of the survey, and those published."""
    found: list[Row] = []
    if model.by_hand is not None:
        subject = subject_of(model)
        with counted() as count:
            subject.call()
        ours = Pricer().price(count.tally).select(families=MATRIX_FAMILIES).executed_ops
        found.append(_figure("by hand", ours, model.by_hand, [], model.by_hand - ours))
    if model.published is not None:
        found += _published(model)
    return found


def _published(model: Model) -> list[Row]:
    known = figures.published(model.name)
    if not known or model.published is None:
        return []
    module, image = model.published()
    ours, beside = peers.forward_macs(module, image), peers.work_beside(module, image)
    rows = []
    for side, figure in known:
        if side != image.shape[-1]:
            raise ValueError(f"published for images of {side}, built for {image.shape[-1]}")
        steps, rest = figures.way_to(figure, ours, beside)
        named = [{"why": step.name, "ops": wire(OPS_PER_MULTIPLY_ADD * step.macs)} for step in steps]
        ops = [OPS_PER_MULTIPLY_ADD * macs for macs in (sum(ours.values()), figure.macs, rest)]
        rows.append(_figure(f"{figure.gmac} GMAC, {figure.source}", ops[0], ops[1], named, ops[2]))
    return rows


def _figure(source: str, ours_ops: int, theirs_ops: int, named: list[Row], unexplained_ops: int) -> Row:
    return {
        "source": source,
        "ours": wire(ours_ops),
        "theirs": wire(theirs_ops),
        "differences": named,
        "unexplained": wire(abs(unexplained_ops)),
    }


def _compiled(model: Model) -> Row:
    step = step_of(subject_of(model))
    with counted() as count:
        step()
    eager = count.operations
    subject = subject_of(model)
    compiled = cast("nn.Module", torch.compile(subject.module))
    step = step_of(dataclasses.replace(subject, module=compiled))
    with counted():  # a graph is described when it is compiled
        step()
    if not torch._dynamo.utils.counters["stats"]["unique_graphs"]:  # noqa: SLF001 - the only way to ask
        raise RuntimeError("torch.compile compiled nothing of it")
    with counted() as count:
        step()
    families = [str(family) for family in sorted(MATRIX_FAMILIES)]
    sides = {"eager": eager, "compiled": count.operations}
    return {
        **{name: {family: wire(side.by_family[family]) for family in families} for name, side in sides.items()},
        "unpriced": dict(count.unpriced),
    }
