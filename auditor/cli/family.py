"""The ledgers that a command line names, and which of their models is judged."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from pathlib import Path

from auditor.cli import generators
from auditor.cli.reading import effort_of, outside, read_directory, verdict_code
from auditor.errors import ExitCode, UsageError
from auditor.ledger import Reading, read_public_key
from auditor.ledger.effort import Effort
from auditor.ledger.places import ledgers_below, real_path, segments_of
from auditor.ledger.summed import read_ends
from auditor.lineage import declared
from auditor.lineage.declared import Declared
from auditor.lineage.family import Family
from auditor.lineage.gather import lineage_of, model_of
from auditor.rules.answers_file import GeneratorLedger

_OF_THE_WHOLE = ("resume", "key", "require", "head", "witness_key", "quorum", "revocation")


def read(options: argparse.Namespace, ledgers: Sequence[GeneratorLedger] = ()) -> Family:
    """The run that is judged, held against what the command line brings along, with the others that it names.

    The first directory is the run's own; where it holds several, or a model is named, the latest run of that model.
    ``ledgers``: those that answers name for generators; they are read like the others.
    """
    _refuse_beside_ends(options)
    with effort_of(options, course=True) as effort:
        return _read(options, ledgers, effort)


def _read(options: argparse.Namespace, ledgers: Sequence[GeneratorLedger], effort: Effort) -> Family:
    first, *rest = map(Path, options.directories)
    said = declared.read(Path(options.declared)) if options.declared else declared.NOTHING
    theirs = generators.read(ledgers, said, lambda path: _other(options, effort, path))
    said = theirs.declared
    if segments_of(first).is_dir() and options.model is None:
        reading = _held(options, effort, first)
        others = _others(options, effort, [first, *theirs.directories], rest)
    else:
        found = _others(options, effort, theirs.directories, [first, *rest])
        reading = _latest([one for one in found if one.run_id not in theirs.data], options.model, said)
        others = [one for one in found if one is not reading]
        reading = _held(options, effort, reading.directory)
    theirs.refuse(reading)
    return Family.of(reading, [*others, *theirs.readings], said, theirs.data)


def code_of(family: Family, require: str | None) -> ExitCode:
    """4 where any of the ledgers is false, 5 where the judged one is worth less than required, else 0."""
    return max(verdict_code(family.reading.verdict, require), *_codes(family.others), key=_WORST.index)


_WORST = (ExitCode.PASS, ExitCode.INCOMPLETE, ExitCode.INVALID)


def _codes(readings: Sequence[Reading]) -> list[ExitCode]:
    return [ExitCode.PASS, *(verdict_code(one.verdict, None) for one in readings)]


def _held(options: argparse.Namespace, effort: Effort, directory: Path) -> Reading:
    if options.from_ends:
        return _other(options, effort, directory)
    trusted = read_public_key(options.key) if options.key else None
    return read_directory(directory, trusted, outside(options, directory), effort)


def _refuse_beside_ends(options: argparse.Namespace) -> None:
    """What is asked of all of a ledger its ends do not answer."""
    asked = [name for name in _OF_THE_WHOLE if getattr(options, name)]
    if options.from_ends and asked:
        name = f"--{asked[0].replace('_', '-')}"
        raise UsageError(
            f"{name} with --from-ends: it is for reading all of a ledger, of which the ends are a part",
            remedy=f"Leave --from-ends out, or {name}.",
        )


def _others(
    options: argparse.Namespace, effort: Effort, known: Sequence[Path], directories: Sequence[Path]
) -> list[Reading]:
    """The ledgers in and below the directories, each once, without those that are known."""
    paths = {real_path(path): path for directory in directories for path in ledgers_below(directory)}
    for path in known:
        paths.pop(real_path(path), None)
    return [_other(options, effort, path) for path in paths.values()]


def _other(options: argparse.Namespace, effort: Effort, directory: Path) -> Reading:
    if options.from_ends:
        return read_ends(directory, workers=effort.workers)
    return read_directory(directory, effort=effort)


def _latest(readings: Sequence[Reading], model: str | None, said: Declared) -> Reading:
    """The run that began last of the model that is named, else of the one that no other is made from."""
    models = {one.directory: model_of(one, said) for one in readings}
    names = sorted(set(models.values()))
    parents = {edge.parent for edge in lineage_of(readings, said).edges}
    name = _named(model, names) if model is not None else _last(names, parents)
    of_it = [one for one in readings if models[one.directory] == name]
    return max(of_it, key=lambda one: (one.started, one.run_id))


def _named(model: str, names: Sequence[str]) -> str:
    if model not in names:
        near = difflib.get_close_matches(model, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are runs of {', '.join(names)}"
        raise UsageError(f"--model: no run here is of the model {model!r}; {hint}", remedy="Name one of the models.")
    return model


def _last(names: Sequence[str], parents: set[str]) -> str:
    last = [name for name in names if name not in parents]
    if len(last) != 1:
        raise UsageError(
            f"these are runs of several models, none made from the others: {', '.join(last)}",
            remedy="Name one with --model, or its run's directory first.",
        )
    return last[0]
