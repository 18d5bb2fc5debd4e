"""`auditor lineage`."""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path

from auditor.cli.reading import read_directory, verdict_code
from auditor.errors import UsageError
from auditor.ledger.effort import Effort
from auditor.ledger.places import ledgers_below
from auditor.ledger.workers import usable_cores
from auditor.lineage import declared, plain
from auditor.lineage.gather import lineage_of
from auditor.lineage.graph import Lineage
from auditor.relations import Relation
from auditor.report.words import clean


def run(options: argparse.Namespace) -> int:
    """Show models, what they were made from, and what that took."""
    paths = [path for directory in options.directories for path in ledgers_below(Path(directory))]
    effort = Effort(workers=usable_cores(), course=False)
    readings = [read_directory(path, effort=effort) for path in dict.fromkeys(paths)]
    said = declared.read(Path(options.declared)) if options.declared else declared.NOTHING
    lineage = lineage_of(readings, said)
    names = list(lineage.models) if options.model is None else [_known(options.model, lineage)]
    relations = tuple(map(_relation, options.relation or Relation))
    if options.json:
        sys.stdout.write(plain.to_json(lineage, names, relations))
    else:
        sys.stdout.write("\n".join(map(clean, plain.told(lineage, names, relations))) + "\n")
    return max(int(verdict_code(reading.verdict, None)) for reading in readings)


def _known(name: str, lineage: Lineage) -> str:
    if name not in lineage.models:
        near = difflib.get_close_matches(name, lineage.models, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(lineage.models)}"
        raise UsageError(f"--model: there is no model {name!r}; {hint}", remedy="Name one of the models.")
    return name


def _relation(name: str) -> Relation:
    try:
        return Relation(name)
    except ValueError as error:
        raise UsageError(f"--relation: expected one of {', '.join(Relation)}, got {name!r}") from error
