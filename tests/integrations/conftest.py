from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from auditor.formulas import TABLE, Pricer
from auditor.ledger import Reading, Recount, read_ledger


def auditor_environment(**more: str) -> dict[str, str]:
    """The environment of a user: nothing of the test run's own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    return kept | more


@pytest.fixture
def write_script(tmp_path: Path):
    """Write a script and give its path."""

    def write(text: str, name: str = "script.py") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def audited(tmp_path: Path):
    """Run a command under the auditor: (completed process, directory of the ledger)."""

    def run(*words: object, options: tuple[str, ...] = (), **environment: str):
        directory = tmp_path / "run"
        command = [sys.executable, "-m", "auditor", "run", "--out", str(directory), *options, "--"]
        done = subprocess.run(
            [*command, *map(str, words)],
            capture_output=True,
            env=auditor_environment(**environment),
            cwd=tmp_path,
            timeout=240,
        )
        return done, directory

    return run


@pytest.fixture
def read():
    """Read a ledger with every total recounted."""

    def reading(directory: Path) -> Reading:
        return read_ledger(directory, recount=Recount(price=Pricer().price, digest=TABLE.digest))

    return reading
