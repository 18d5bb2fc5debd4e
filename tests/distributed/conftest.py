"""Real processes that train together, under audit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from auditor.formulas import TABLE, Pricer
from auditor.ledger import Reading, Recount, read_ledger

_LAUNCHERS_OWN = ("RANK", "WORLD_SIZE", "LOCAL_", "MASTER_", "SLURM_", "OMPI_", "PMI_", "TORCHELASTIC_", "AUDITOR_RUN")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d")
AUDITOR_RUN = (sys.executable, "-m", "auditor", "run")
TRAIN = """
import os, signal, sys, time
import torch, torch.distributed as dist
model = torch.nn.Linear(8, 8, bias=False)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
def train(steps):
    for _ in range(steps):
        model(torch.ones(4, 8)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
"""
STEP_PRODUCTS = 2 * (2 * 4 * 8 * 8)  # the input wants no gradient


def user_environment(**more: str) -> dict[str, str]:
    """The environment of a user whom nobody launched."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", *_LAUNCHERS_OWN))}
    return kept | {"OMP_NUM_THREADS": "1", "AUDITOR_SECOND_OPINION": "false"} | more


@pytest.fixture
def run(tmp_path: Path):
    """Run a command where a script of this text is ``train.py``."""

    def run(script: str, *command: object, **environment: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "train.py").write_text(TRAIN + script, encoding="utf-8")
        return subprocess.run(
            list(map(str, command)),
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=user_environment(**environment),
            timeout=200,
        )

    return run


@pytest.fixture
def read():
    """Read a ledger with every total recounted."""

    def reading(directory: Path) -> Reading:
        return read_ledger(directory, recount=Recount(price=Pricer().price, digest=TABLE.digest))

    return reading
