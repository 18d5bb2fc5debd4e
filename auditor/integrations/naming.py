"""What a run is called: its directory and its id."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path

from auditor.distributed import find_job
from auditor.errors import UsageError
from auditor.ledger import run_id_of


def new_directory() -> Path:
    """A name for a run's directory below the working directory: ``audits/<UTC time>-<random>``.

    A rank of a job takes what all of the job's ranks come to: ``audits/<job>-<digest>``.
    Raises: UsageError: nothing tells the job from an earlier one that met at the same address.
    """
    job = find_job()
    if job is not None and job.singular:
        return Path("audits") / f"{job.name}-{job.digest()[:8]}"
    if job is not None:
        raise UsageError(
            "this is one of several ranks, and nothing tells their job from an earlier one",
            remedy="Give --out (or AUDITOR_OUT): a directory that all ranks of this run share, and no other run.",
        )
    return Path("audits") / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def new_run_id(directory: Path) -> str:
    """The id of the run whose ledger is in the directory already, else a new one, the same in every rank of a job."""
    job = find_job()
    return run_id_of(directory) or (job.digest(directory.name) if job is not None else secrets.token_hex(16))
