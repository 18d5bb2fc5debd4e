"""`auditor status`."""

from __future__ import annotations

import argparse
import datetime
import sys
from pathlib import Path

from auditor.errors import ExitCode
from auditor.ledger.merging import read_job
from auditor.ledger.workers import usable_cores
from auditor.report import status
from auditor.report.words import clean
from auditor.session.live import read_live


def run(options: argparse.Namespace) -> int:
    """Say where a job stands: ranks, their last records, who lags."""
    directory = Path(options.directory)
    job = read_job(directory, workers=usable_cores())
    told = status.lines(job, datetime.datetime.now(datetime.UTC), read_live(directory))
    sys.stdout.write("\n".join(map(clean, told)) + "\n")
    return int(ExitCode.PASS)
