"""What a run is called: its directory and its id."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path

from auditor.ledger import run_id_of


def new_directory() -> Path:
    """A name for a run's directory: ``audits/<UTC time>-<random>`` below the working directory."""
    return Path("audits") / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def new_run_id(directory: Path) -> str:
    """The id of the run whose ledger is in the directory already, else a new one."""
    return run_id_of(directory) or secrets.token_hex(16)
