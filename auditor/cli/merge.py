"""`auditor merge`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from auditor.errors import ExitCode
from auditor.ledger import Verdict
from auditor.ledger.merging import merge
from auditor.ledger.workers import usable_cores
from auditor.report import merged
from auditor.report.words import clean


def run(options: argparse.Namespace) -> int:
    """Say what the segments of one or several directories come to by their signed seals."""
    directories = [Path(directory) for directory in options.directories]
    found = merge(directories, workers=options.jobs or usable_cores())
    if options.format == "json":
        sys.stdout.write(merged.to_json(found, directories))
    else:
        sys.stdout.write("\n".join(map(clean, merged.lines(found, directories))) + "\n")
    return int(ExitCode.INVALID if found.verdict is Verdict.INVALID else ExitCode.PASS)
