"""Ranks under torchrun: one directory, one run, a segment for each rank, whichever stands first on the command line."""

from __future__ import annotations

from tests.distributed.conftest import AUDITOR_RUN, STEP_PRODUCTS, TORCHRUN


def of(reading, role):
    return [segment for segment in reading.segments if segment.genesis.role == role]


def products(reading) -> int:
    return reading.operations.by_family["matmul"]


def test_each_rank_audits_itself_below_torchrun(run, read, tmp_path):
    """Nobody stands above the ranks: nothing is agreed between them, and yet they write one run."""
    done = run("train(1 + int(os.environ['RANK']))\n", *TORCHRUN, "-m", "auditor", "run", "train.py")
    assert done.returncode == 0, done.stderr
    (directory,) = (tmp_path / "audits").iterdir()
    reading = read(directory)
    assert reading.verdict == "UNANCHORED", reading.reasons
    assert [segment.genesis.rank for segment in reading.segments] == [0, 1]
    assert len(of(reading, "rank")) == reading.ranks_expected == 2
    assert [segment.steps for segment in reading.segments] == [1, 2]
    assert {segment.genesis.host["job"] for segment in reading.segments} == {directory.name}
    assert products(reading) == 3 * STEP_PRODUCTS
    assert reading.model == "train"
    assert done.stderr.count("auditor:") == 1  # of rank 0


def test_a_rank_killed_and_started_again_by_torchrun(run, read, tmp_path):
    """The first attempt of rank 1 is killed: what it had acknowledged counts, and the verdict names it and when."""
    script = """
if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
    own = f"run/segments/rank-{int(os.environ['RANK']):05}.attempt-000.jsonl"
    while not os.path.exists(own) or '"interval"' not in open(own).read():
        train(1)
        time.sleep(0.01)
    if os.environ["RANK"] == "1": os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(100)
train(5)
"""
    command = (*AUDITOR_RUN, "--out", "run", "--", *TORCHRUN, "--max-restarts", "1", "train.py")
    done = run(script, *command)
    assert done.returncode == 0, done.stderr
    reading = read(tmp_path / "run")
    ranks = {(s.genesis.rank, s.genesis.attempt): s for s in of(reading, "rank")}
    assert sorted(ranks) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [place for place, segment in ranks.items() if not segment.sealed] == [(1, 0)]
    assert reading.verdict == "INCOMPLETE"
    assert "rank-00001.attempt-000.jsonl was never closed" in reading.reasons[0]
    assert ranks[1, 0].ended in reading.reasons[0]
    assert [segment.steps for place, segment in ranks.items() if place[1] == 1] == [5, 5]
    assert ranks[1, 0].operations.total > 0
    assert sum(s.operations.by_family["matmul"] for s in ranks.values()) == products(reading)
    assert [segment.genesis.host["restart"] for segment in ranks.values()] == ["0", "1", "0", "1"]
    assert not of(reading, "process")  # torchrun itself computes nothing, and is no rank
    assert reading.model == "train"


SRUN = """
for task in 0 1; do SLURM_PROCID=$task SLURM_LOCALID=$task "$@" & done
wait
"""


def test_tasks_of_srun_without_torchrun(run, read, tmp_path):
    """Two tasks with what srun tells each: they work out one directory and one run, with nothing else to go by."""
    told = {"SLURM_JOB_ID": "4711", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_CLUSTER_NAME": "c"}
    done = run("train(3)\n", "sh", "-c", SRUN, "sh", *AUDITOR_RUN, "train.py", **told)
    assert done.returncode == 0, done.stderr
    (directory,) = (tmp_path / "audits").iterdir()
    assert directory.name.startswith("slurm-4711-")
    reading = read(directory)
    assert reading.verdict == "UNANCHORED", reading.reasons
    assert [segment.genesis.rank for segment in of(reading, "rank")] == [0, 1]
    assert len({segment.genesis.run_id for segment in reading.segments}) == 1
    assert products(reading) == 2 * 3 * STEP_PRODUCTS
