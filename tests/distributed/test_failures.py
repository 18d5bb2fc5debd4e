"""What goes wrong with ranks, really done to them: the total is a floor, and the verdict says whose and since when."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from torch.distributed import TCPStore

from auditor.units import scientific
from tests.distributed.conftest import AUDITOR_RUN, STEP_PRODUCTS, TRAIN, user_environment

WITHIN_S = 200
RECORDED = """
rank = int(os.environ["RANK"])
def recorded(times, attempt=0):
    own = f"run/segments/rank-{rank:05}.attempt-{attempt:03}.jsonl"
    return os.path.exists(own) and open(own).read().count('"interval"') >= times
def say_ready():
    open(f"ready-{rank}.tmp", "w").write(str(os.getpid()))
    os.rename(f"ready-{rank}.tmp", f"ready-{rank}")
"""
MEET = (
    RECORDED
    + """
dist.init_process_group("gloo")
model = torch.nn.parallel.DistributedDataParallel(model)
"""
)


def wait_for(condition: Callable[[], object], *processes: subprocess.Popen[str]) -> None:
    """Until the condition holds, while the processes live."""
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        for process in processes:
            assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start commands where a script of this text is ``train.py``; none outlives the test."""
    with ExitStack() as stack:

        def start(script: str, *command: object, **environment: str) -> subprocess.Popen[str]:
            (tmp_path / "train.py").write_text(TRAIN + script, encoding="utf-8")
            process = subprocess.Popen(
                list(map(str, command)),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=tmp_path,
                env=user_environment(**environment),
                start_new_session=True,
            )
            stack.callback(process.communicate)
            stack.callback(process.kill)
            return process

        yield start


def pid_of(tmp_path: Path, rank: int) -> int:
    return int((tmp_path / f"ready-{rank}").read_text())


def by_place(reading):
    return {(s.genesis.rank, s.genesis.attempt): s for s in reading.segments if s.genesis.role == "rank"}


def products(reading) -> int:
    return reading.operations.by_family["matmul"]


def told(tmp_path: Path, verb: str) -> str:
    command = [sys.executable, "-m", "auditor", verb, "run"]
    done = subprocess.run(command, cwd=tmp_path, env=user_environment(), capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout


SHRINKS = (
    MEET
    + """
import auditor
if dist.get_world_size() == 2:
    train(3)
    torch.save({"auditor": auditor.state_dict()}, f"state-{rank}.pt")
    dist.barrier()
    while not recorded(3): train(1)
    say_ready()
    while True: train(1)
auditor.load_state_dict(torch.load(f"state-{rank}.pt", weights_only=False)["auditor"])
train(5)
"""
)


def test_a_node_goes_and_the_job_goes_on_without_it(start, read, tmp_path):
    """torchrun from one to two nodes: one is lost with all on it, the other goes on alone, from a checkpoint."""
    meeting_place = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)  # goes with neither of them
    endpoint = f"localhost:{meeting_place.port}"
    rendezvous = ("--rdzv-backend", "c10d", "--rdzv-id", "shrinks", "--rdzv-endpoint", endpoint)
    patience = ("--rdzv-conf", "is_host=0,last_call_timeout=20,keep_alive_interval=1,keep_alive_max_attempt=5")
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--nnodes", "1:2", "--max-restarts", "3")
    run = (*torchrun, *rendezvous, *patience, "-m", "auditor", "run", "--out", "run", "train.py")
    nodes = [start(SHRINKS, *run) for _ in range(2)]
    wait_for(lambda: all((tmp_path / f"ready-{rank}").exists() for rank in range(2)), *nodes)
    kept, lost = _nodes_of(nodes, pid_of(tmp_path, 1))
    for pid in (lost.pid, pid_of(tmp_path, 1)):
        os.kill(pid, signal.SIGKILL)
    _, errors = kept.communicate(timeout=WITHIN_S)
    assert kept.returncode == 0, errors
    reading = read(tmp_path / "run")
    ranks = by_place(reading)
    assert sorted(ranks) == [(0, 0), (0, 1), (1, 0)]
    assert [place for place, segment in ranks.items() if not segment.sealed] == [(1, 0)]
    assert [segment.genesis.expected_ranks for segment in ranks.values()] == [2, 1, 2]
    assert reading.verdict == "INCOMPLETE"
    assert any("rank-00001.attempt-000.jsonl was never closed" in reason for reason in reading.reasons)
    assert any(f"after {ranks[1, 0].ended} is not counted" in reason for reason in reading.reasons)
    assert reading.abandoned_steps == ranks[0, 0].steps - 3
    assert ranks[0, 1].steps == 5
    assert products(reading) == sum(s.operations.by_family["matmul"] for s in ranks.values())
    assert products(reading) >= sum(s.steps for s in ranks.values()) * STEP_PRODUCTS
    status = told(tmp_path, "status")
    assert "ranks       2 of 2 seen: 1 ended, 1 killed" in status
    assert status.splitlines()[-2].split()[:3] == ["1", "0", "killed"]


def _nodes_of(nodes: list[subprocess.Popen[str]], pid: int) -> list[subprocess.Popen[str]]:
    """The node that does not run the process, and the one that does."""
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return sorted(nodes, key=lambda node: node.pid == parent)


def test_a_job_is_preempted(start, read, tmp_path):
    """The scheduler's SIGTERM to torchrun, and 30 s: each rank is ended by torchrun, and has sealed what it counted."""
    script = MEET + "\nwhile not recorded(1): train(1)\nsay_ready()\nwhile True: train(1)\n"
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    job = start(script, *torchrun, "-m", "auditor", "run", "--out", "run", "train.py")
    wait_for(lambda: all((tmp_path / f"ready-{rank}").exists() for rank in range(2)), job)
    job.terminate()
    job.communicate(timeout=30)
    reading = read(tmp_path / "run")
    assert sorted(by_place(reading)) == [(0, 0), (1, 0)]
    assert all(segment.sealed for segment in reading.segments)
    assert {gap.message.partition(";")[0] for gap in reading.gaps} == {"SIGTERM ended the process"}
    # One of them may have been inside of an operator, as the other is waited for there: then that is said.
    assert reading.verdict == ("INCOMPLETE" if any(gap.lower_bound for gap in reading.gaps) else "UNANCHORED")
    assert products(reading) >= sum(segment.steps for segment in reading.segments) * STEP_PRODUCTS
    assert "2 of 2 seen: 2 ended" in told(tmp_path, "status")


HANGS = """
while not recorded(3): train(1)
say_ready()
while rank == 1: time.sleep(1)
while True: train(1)
"""
CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  const int failed = real(clock, now);
  if (clock == CLOCK_REALTIME) now->tv_sec += HOURS * 3600;
  return failed;
}
"""


def clock_apart(tmp_path: Path, hours: int) -> str:
    """A library that a process is loaded with, whose time of day is so many hours from that of its disk."""
    library = tmp_path / f"clock{hours}.so"
    command = ["gcc", "-shared", "-fPIC", f"-DHOURS=({hours})", "-x", "c", "-", "-o", library, "-ldl"]
    subprocess.run(command, input=CLOCK, text=True, check=True)
    return str(library)


def test_a_rank_hangs_another_never_began_and_clocks_are_apart(start, read, tmp_path):
    """Of three ranks one counts, by a clock three hours behind, one is silent, and one is not there."""
    for rank in range(2):
        start(
            RECORDED + HANGS,
            *(*AUDITOR_RUN, "--out", "run", "train.py"),
            RANK=str(rank),
            WORLD_SIZE="3",
            MASTER_PORT="1",
            AUDITOR_INTERVAL_S="1",
            **({"LD_PRELOAD": clock_apart(tmp_path, -3)} if rank == 0 else {}),
        )
    wait_for(lambda: all((tmp_path / f"ready-{rank}").exists() for rank in range(2)))
    wait_for(lambda: "2 of 3 seen: 1 counting, 1 silent" in told(tmp_path, "status"))
    status = told(tmp_path, "status").splitlines()
    assert "never began 2" in status
    assert [row.split()[:3] for row in status[-2:]] == [["1", "0", "silent"], ["0", "0", "counting"]]
    reading = read(tmp_path / "run")
    ranks = by_place(reading)
    assert (reading.verdict, sorted(ranks)) == ("INCOMPLETE", [(0, 0), (1, 0)])
    said = "\n".join(reading.reasons)
    since = ranks[1, 0].ended
    assert f"rank-00001.attempt-000.jsonl is still being written: what it has done since {since} is not" in said
    assert "1 of 3 ranks left no segment: 2." in said
    assert "3:00:00 h behind (rank 0)" in said
    assert f"at least {scientific(reading.operations.total)} operations" in said
    assert products(reading) == sum(s.operations.by_family["matmul"] for s in ranks.values())


FILLS = """
if rank == 1:
    while not recorded(3): train(1)
    with open("run/filler", "wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)): pass
        except OSError as error:
            print(error, flush=True)
    while "nothing more is recorded" not in open("errors").read(): train(1)
train(5)
"""
ON_A_SMALL_DISK = """
mount -t tmpfs -o size=1m tmpfs run || exit 77
for rank in 0 1; do
    RANK=$rank "$@" 2> errors || { cat errors >&2; exit 1; }
done
rm run/filler
cp -r run kept
umount run
"""


def test_a_disk_that_is_full(run, read, tmp_path):
    """Training goes on and ends with its own code; what was written until then counts, and the verdict says so."""
    (tmp_path / "run").mkdir()
    command = ("unshare", "-m", "sh", "-c", ON_A_SMALL_DISK, "sh", *AUDITOR_RUN, "--out", "run", "train.py")
    done = run(RECORDED + FILLS, *command, WORLD_SIZE="2", MASTER_PORT="1")
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip("this user may not mount file systems")
    assert done.returncode == 0, done.stderr
    assert "No space left on device" in done.stdout
    reading = read(tmp_path / "kept")
    ranks = by_place(reading)
    assert [place for place, segment in ranks.items() if segment.sealed] == [(0, 0)]
    assert reading.verdict == "INCOMPLETE"
    assert "rank-00001.attempt-000.jsonl was never closed" in "\n".join(reading.reasons)
    assert f"What it did after {ranks[1, 0].ended} is not counted." in "\n".join(reading.reasons)
    assert ranks[0, 0].operations.by_family["matmul"] == 5 * STEP_PRODUCTS
    assert products(reading) > 5 * STEP_PRODUCTS


TWICE = """
if sys.argv[1] == "first":
    while not recorded(1): train(1)
    say_ready()
    while not recorded(3, attempt=1): train(1)
else:
    while not recorded(3, attempt=1): train(1)
train(1)
"""


def test_one_rank_twice(start, read, tmp_path):
    """Two jobs that were given one directory: each has its own segments, and that is said, at once and always."""
    command = (*AUDITOR_RUN, "--out", "run", "train.py")
    ranks = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_PORT": "1"}
    first = start(RECORDED + TWICE, *command, "first", **ranks, SLURM_JOB_ID="1")
    wait_for((tmp_path / "ready-0").exists, first)
    second = start(RECORDED + TWICE, *command, "second", **ranks, SLURM_JOB_ID="2")
    for process in (first, second):
        _, errors = process.communicate(timeout=WITHIN_S)
        assert process.returncode == 0, errors
    assert "another process is rank 0 in this directory now and writes rank-00000.attempt-000.jsonl" in errors
    reading = read(tmp_path / "run")
    (said,) = (reason for reason in reading.reasons if "Two processes were rank 0 at one time" in reason)
    assert "rank-00000.attempt-000.jsonl of slurm-1-" in said
    assert "rank-00000.attempt-001.jsonl of slurm-2-" in said
    assert reading.verdict == "INCOMPLETE"
    assert "1 of 2 ranks left no segment: 1." in "\n".join(reading.reasons)
    assert products(reading) >= sum(segment.steps for segment in reading.segments) * STEP_PRODUCTS
