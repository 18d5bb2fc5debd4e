"""Ranks that no launcher told of their rank: they learn it, after they have computed, when they join a process group.

So do Lightning's ddp, which starts its own script again, whatever spawns or forks its ranks, and Ray's workers.
"""

from __future__ import annotations

import sys

import pytest

from tests.distributed.conftest import AUDITOR_RUN, STEP_PRODUCTS

JOIN = """
import subprocess
def join(rank):
    dist.init_process_group("gloo", init_method=f"file://{os.getcwd()}/meeting", rank=rank, world_size=2)
def work(rank):
    join(rank)
    train(3)
    dist.barrier()
"""
AGAIN = """
rank = int(os.environ.get("MINE", "0"))
if rank == 0:
    other = subprocess.Popen([sys.executable, *sys.argv], env=os.environ | {"MINE": "1"} | {MORE})
train(2)
work(rank)
{THEN}
if rank == 0: other.wait()
"""
FORKS = """
import multiprocessing
if __name__ == "__main__":
    train(1)
    others = [multiprocessing.get_context(METHOD).Process(target=work, args=(rank,)) for rank in range(2)]
    for other in others: other.start()
    for other in others: other.join()
    sys.exit(max(other.exitcode for other in others))
"""


def again(*, environment="{}", then="") -> str:
    return JOIN + AGAIN.replace("{MORE}", environment).replace("{THEN}", then)


def ranks_of(reading):
    return sorted(
        (segment.genesis.rank, segment.genesis.expected_ranks, segment.steps)
        for segment in reading.segments
        if segment.genesis.role == "rank"
    )


def products(reading) -> int:
    return reading.operations.by_family["matmul"]


@pytest.mark.parametrize("counter", ["native", "dispatch"])
def test_a_script_that_starts_itself_again(run, read, tmp_path, counter):
    done = run(again(), *AUDITOR_RUN, "--counter", counter, "--out", "run", "--", "train.py")
    assert done.returncode == 0, done.stderr
    reading = read(tmp_path / "run")
    assert reading.verdict == "UNANCHORED", reading.reasons
    assert ranks_of(reading) == [(0, 1, 2), (0, 2, 3), (1, 2, 3)]
    assert [segment.steps for segment in reading.segments if segment.genesis.role == "process"] == [2]
    assert reading.ranks_seen == reading.ranks_expected == 2
    assert products(reading) == 10 * STEP_PRODUCTS
    assert reading.steps == 5


def test_a_rank_that_is_not_audited_is_missing(run, read, tmp_path):
    """The other process was started with an environment of its own, without what attaches the auditor."""
    done = run(again(environment="{'PYTHONPATH': ''}"), *AUDITOR_RUN, "--out", "run", "--", "train.py")
    assert done.returncode == 0, done.stderr
    reading = read(tmp_path / "run")
    assert reading.verdict == "INCOMPLETE"
    assert "1 of 2 ranks left no segment: 1" in reading.reasons[0]
    assert products(reading) == 5 * STEP_PRODUCTS


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_ranks_that_a_script_forks_or_spawns(run, read, tmp_path, method):
    done = run(JOIN + FORKS.replace("METHOD", repr(method)), *AUDITOR_RUN, "--out", "run", "--", "train.py")
    assert done.returncode == 0, done.stderr
    reading = read(tmp_path / "run")
    assert reading.verdict == "UNANCHORED", reading.reasons
    assert ranks_of(reading) == [(0, 1, 1), (0, 2, 3), (1, 2, 3)]
    assert products(reading) == 7 * STEP_PRODUCTS


def test_a_rank_that_is_killed_after_it_has_left_its_group_is_whole(run, read, tmp_path):
    """Ray kills its workers when the training is over; what they did is in the ledger, and each segment is closed."""
    then = "dist.destroy_process_group()\nif rank == 1: os.kill(os.getpid(), signal.SIGKILL)"
    done = run(again(then=then), *AUDITOR_RUN, "--out", "run", "--", "train.py")
    assert done.returncode == 0, done.stderr
    reading = read(tmp_path / "run")
    assert reading.verdict == "UNANCHORED", reading.reasons
    assert ranks_of(reading) == [(0, 1, 2), (0, 2, 3), (1, 2, 3)]
    assert products(reading) == 10 * STEP_PRODUCTS


def test_scripts_below_a_shell_are_attempts_of_one_rank(run, read, tmp_path):
    done = run(
        "train(2)\n",
        *AUDITOR_RUN,
        "--out",
        "run",
        "--",
        "sh",
        "-c",
        f"{sys.executable} train.py; {sys.executable} train.py; true",
    )
    assert done.returncode == 0, done.stderr
    reading = read(tmp_path / "run")
    assert reading.verdict == "UNANCHORED", reading.reasons
    assert ranks_of(reading) == [(0, 1, 2), (0, 1, 2)]
    assert reading.steps == 4
