"""Who a process is and which job it is of, read from what launchers put into the environment."""

from __future__ import annotations

import os
import sys
from importlib.machinery import ModuleSpec
from types import SimpleNamespace

import pytest

from auditor.distributed import find_job, find_place

TORCHRUN = {
    "RANK": "1",
    "LOCAL_RANK": "1",
    "WORLD_SIZE": "8",
    "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "node-0",
    "MASTER_PORT": "29500",
    "TORCHELASTIC_RUN_ID": "none",
}
SRUN = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "4"}


def place(environment):
    found = find_place(environment=environment)
    return found.role, found.rank, found.expected_ranks


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ("rank", 0, 1)),
        (TORCHRUN, ("rank", 1, 8)),
        (SRUN, ("rank", 3, 4)),
        (SRUN | TORCHRUN, ("rank", 1, 8)),  # torchrun on each node
        ({"SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, ("rank", 0, 1)),  # the batch script
        ({"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "4"}, ("rank", 2, 4)),
        ({"PMI_RANK": "2", "PMI_SIZE": "4"}, ("rank", 2, 4)),
        ({"RANK": "one", "WORLD_SIZE": "2"}, ("rank", 0, 1)),
        (TORCHRUN | {"AUDITOR_RANK_PID": "1 1 8"}, ("process", 1, 8)),  # a data loader of the rank
        (TORCHRUN | {"AUDITOR_RANK_PID": "1"}, ("rank", 1, 8)),  # what a script that was told nothing has launched
        (TORCHRUN | {"AUDITOR_RANK_PID": "1 0 2"}, ("rank", 1, 8)),  # and one that is a rank of something else
        ({"AUDITOR_RANK_PID": "1"}, ("process", 0, 1)),
        ({"AUDITOR_RANK_PID": str(os.getpid())}, ("rank", 0, 1)),
        ({"AUDITOR_LAUNCHER_PID": "1"}, ("rank", 0, 1)),  # below a shell
    ],
)
def test_place(environment, expected):
    assert place(environment) == expected


@pytest.mark.parametrize(
    "begun",
    ["torch.distributed.run", "accelerate.commands.launch", "/bin/torchrun", "/bin/accelerate", "/bin/deepspeed"],
)
def test_a_launchers_own_process_is_no_rank(monkeypatch, begun):
    if begun.startswith("/"):
        monkeypatch.setattr(sys, "argv", [begun, "train.py"])
    else:
        spec = ModuleSpec(begun, None)
        monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__spec__=spec))
    assert place({}) == ("process", 0, 1)
    assert place(SRUN) == ("process", 3, 4)
    assert place(TORCHRUN) == ("rank", 1, 8)


def test_who_imports_torchrun_may_be_a_rank(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.distributed.run", SimpleNamespace())
    assert place({}) == ("rank", 0, 1)


@pytest.mark.parametrize("environment", [{}, {"RANK": "0", "WORLD_SIZE": "1"}, {"SLURM_JOB_ID": "7"}])
def test_alone_is_no_job(environment):
    assert find_job(environment) is None


@pytest.mark.parametrize(
    ("base", "same"),
    [
        (TORCHRUN, [{"RANK": "2", "LOCAL_RANK": "0"}, {"RANK": "0", "TORCHELASTIC_RESTART_COUNT": "1"}]),
        (SRUN, [{"SLURM_PROCID": "0"}, {"SLURM_NODEID": "2", "SLURM_RESTART_COUNT": "1"}]),
        (
            TORCHRUN | {"TORCHELASTIC_RUN_ID": "mine"},  # after a restart torchrun's ranks meet at another port
            [{"MASTER_PORT": "40001", "RANK": "0"}, {"MASTER_ADDR": "node-1", "WORLD_SIZE": "4"}],
        ),
    ],
)
def test_every_rank_and_restart_of_a_job_finds_the_same(base, same):
    job = find_job(base)
    assert job is not None
    assert {find_job(base | other) for other in same} == {job}
    assert job.digest("a") != job.digest("b") != job.digest()


@pytest.mark.parametrize(
    ("base", "other"),
    [
        (TORCHRUN, {"MASTER_PORT": "29501"}),
        (TORCHRUN, {"TORCHELASTIC_RUN_ID": "mine"}),
        (TORCHRUN | SRUN, {"SLURM_JOB_ID": "8"}),
        (SRUN, {"SLURM_JOB_ID": "8"}),
        (SRUN, {"SLURM_STEP_ID": "1"}),
        (SRUN, {"SLURM_CLUSTER_NAME": "elsewhere"}),
    ],
)
def test_another_job_is_another(base, other):
    one, two = find_job(base), find_job(base | other)
    assert one is not None
    assert two is not None
    assert one.digest() != two.digest()


def test_what_nothing_tells_from_an_earlier_job_needs_a_directory(monkeypatch):
    from auditor.errors import UsageError
    from auditor.integrations.naming import new_directory

    for name in (*TORCHRUN, *SRUN):
        monkeypatch.delenv(name, raising=False)
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="nothing tells their job from an earlier one"):
        new_directory()
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "cf9cb7ce-d183-4d9d-8480-58581510e8d1")  # torchrun --standalone
    assert new_directory().name.startswith("job-")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert new_directory() == new_directory()
    assert new_directory().name.startswith("slurm-7-")
