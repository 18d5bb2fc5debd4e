"""Real trainings under `auditor run` that save, are killed, resume from older checkpoints, and build on one another."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys

import pytest

from auditor.cli.main import main

STEP_PRODUCTS = 2 * 2 * 4 * 8 * 8
TRAIN = """
import os, signal, sys, time
from pathlib import Path
import torch, auditor
torch.manual_seed(0)
model = torch.nn.Linear(8, 8)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
def train(steps):
    for _ in range(steps):
        model(torch.ones(4, 8)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
"""
KEEPING = (
    TRAIN
    + """
place, *marks = Path(sys.argv[1]), *map(int, sys.argv[2:4])
dies_at = int(sys.argv[4]) if len(sys.argv) > 4 else 0
first = 0
if len(sys.argv) > 5:
    kept = torch.load(place / sys.argv[5])
    model.load_state_dict(kept["model"])
    first = kept["step"]
    auditor.load_state_dict(kept["auditor"])
for step in range(first + 1, marks[-1] + 1):
    train(1)
    if step % marks[0] == 0:
        kept = {"model": model.state_dict(), "step": step, "auditor": auditor.state_dict()}
        torch.save(kept, place / "passing")
        os.rename(place / "passing", place / f"{step}.pt")
    if step == dies_at:
        *_, own = sorted(Path("run/segments").glob("rank-*"))
        while own.read_text().count('"event":"saved"') < (step // marks[0]) - (first // marks[0]):
            time.sleep(0.05)  # digests are taken by another thread
        os.kill(os.getpid(), signal.SIGKILL)
print(model.weight.sum().item())
"""
)


@pytest.fixture(autouse=True)
def _no_second_opinion(monkeypatch):
    """It takes most of the time of so short a run, and has no part in this."""
    monkeypatch.setenv("AUDITOR_SECOND_OPINION", "false")


@pytest.fixture
def place(tmp_path):
    """Where trainings keep their checkpoints."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    return folder


def sha256(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def products(operations) -> int:
    return operations.by_family["matmul"]


def test_what_is_abandoned_stays_in_the_total_and_is_no_progress(write_script, audited, read, place, capsys):
    script = write_script(KEEPING)
    done, _ = audited(sys.executable, script, place, 2, 9, 9)  # dies with checkpoints of 2, 4, 6 and 8
    assert done.returncode == 128 + 9
    done, directory = audited(sys.executable, script, place, 2, 9, 0, "4.pt")
    assert done.returncode == 0, done.stderr
    reading = read(directory)
    assert reading.verdict == "INCOMPLETE"  # the killed one has no seal
    assert (reading.steps, reading.abandoned_steps) == (9, 4)
    assert products(reading.operations) == 13 * STEP_PRODUCTS
    # What began of the step after the last checkpoint is recorded or not, as the kill left it.
    assert products(reading.abandoned) == 4 * STEP_PRODUCTS
    (loaded,) = (one for one in reading.weights if one.event == "loaded")
    assert (loaded.name, loaded.digest) == ("4.pt", sha256(place / "4.pt"))
    assert ("saved", loaded.digest) in [(one.event, one.digest) for one in reading.weights]
    assert main(["verify", str(directory)]) == 0
    assert "abandoned   " in capsys.readouterr().out


def test_a_run_that_resumes_a_later_checkpoint_after_all_has_abandoned_the_other_branch(
    write_script, audited, read, place
):
    script = write_script(KEEPING)
    audited(sys.executable, script, place, 2, 9, 9)
    shutil.copy(place / "8.pt", place / "later.pt")
    audited(sys.executable, script, place, 2, 7, 7, "4.pt")  # 5 to 6 once more are recorded
    _, directory = audited(sys.executable, script, place, 5, 9, 0, "later.pt")
    reading = read(directory)
    by_attempt = [one.abandoned_steps for one in reading.segments if one.genesis.role == "rank"]
    assert by_attempt == [0, 2, 0]
    assert (reading.steps, reading.abandoned_steps) == (9, 2)


def test_a_training_that_rolls_itself_back_has_abandoned_the_steps_between(write_script, audited, read, place):
    script = write_script(
        TRAIN
        + """
train(3)
kept = auditor.state_dict()
train(4)
auditor.load_state_dict(kept)
train(2)
"""
    )
    _, directory = audited(sys.executable, script)
    reading = read(directory)
    assert reading.verdict == "UNANCHORED", reading.reasons
    assert (reading.steps, reading.abandoned_steps) == (5, 4)
    assert products(reading.operations) == 9 * STEP_PRODUCTS
    assert products(reading.abandoned) == 4 * STEP_PRODUCTS


def test_a_record_cut_below_the_head_that_a_checkpoint_kept_has_diverged(write_script, audited, read, place):
    """The head came back from the training's own checkpoint, so an honest-looking, shorter segment contradicts it."""
    script = write_script(KEEPING)
    _, directory = audited(sys.executable, script, place, 2, 5, 5)
    segment = directory / "segments" / "rank-00000.attempt-000.jsonl"
    lines = segment.read_bytes().splitlines(keepends=True)
    ends = [index for index, line in enumerate(lines) if b',"checkpoint",' in line]
    segment.write_bytes(b"".join(lines[: ends[1] + 1]))
    audited(sys.executable, script, place, 2, 9, 0, "4.pt")
    reading = read(directory)
    assert reading.verdict == "DIVERGED"
    assert "a checkpoint of the training kept its head" in reading.reasons[0]


def test_lineage_is_proven_by_digests_and_counts_an_ancestor_once(write_script, audited, read, tmp_path, capsys):
    runs = {}

    def run(name: str, text: str) -> None:
        done, directory = audited(sys.executable, write_script(TRAIN + text), options=("--model", name))
        assert done.returncode == 0, done.stderr
        runs[name] = str(directory.rename(tmp_path / name))

    save = "train({}); torch.save(model.state_dict(), '{}.pt')\n"
    load = "model.load_state_dict(torch.load('{}.pt'))\n"
    run("base", save.format(5, "base"))
    run("left", load.format("base") + save.format(2, "left"))
    run("right", load.format("base") + save.format(3, "right"))
    run("merged", load.format("left") + load.format("right") + save.format(1, "merged"))
    assert main(["lineage", "show", "--json", *reversed(runs.values())]) == 0
    shown = {one["model"]: one for one in json.loads(capsys.readouterr().out)["models"]}
    totals = {name: read(tmp_path / name).operations.total for name in runs}
    assert shown["merged"]["ancestors"] == ["base", "left", "right"]
    assert int(shown["merged"]["total"]) == sum(totals.values())
    assert int(shown["left"]["total"]) == totals["base"] + totals["left"]
    assert not any(one["lower_bound"] for one in shown.values())
    assert {one["proof"] for one in shown["merged"]["parents"]} == {"proven"}

    # Without the ledger that proves where it came from, the total is a floor, and the headline says so.
    assert main(["lineage", "show", runs["right"]]) == 0
    assert "right: at least " in (text := capsys.readouterr().out)
    assert "base.pt (SHA-256" in text
    assert main(["report", runs["right"]]) in (0, 3)
    text = " ".join(capsys.readouterr().out.split())
    assert "Model right: at least " in text
    assert "For the model this is a lower bound: right was made from base.pt" in text


def test_training_and_checkpoints_are_the_same_with_and_without_the_auditor(write_script, audited, place):
    script = write_script(
        TRAIN
        + """
place = Path(sys.argv[1])
train(2)
torch.save(model.state_dict(), place / "path.pt")
with open(place / "object.pt", "wb") as file:
    torch.save(model.state_dict(), file)
    file.flush()
print(torch.load(place / "path.pt")["weight"].sum(), torch.save.__name__, torch.load.__module__)
try:
    torch.load(place / "missing.pt")
except FileNotFoundError as error:
    print(error)
"""
    )
    alone = subprocess.run([sys.executable, script, place], capture_output=True, timeout=120)
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    done, _ = audited(sys.executable, script, place)
    assert (done.returncode, done.stdout) == (0, alone.stdout), done.stderr
    assert {path.name: path.read_bytes() for path in place.iterdir()} == before


def test_a_file_object_a_folder_of_shards_and_distributed_checkpoints_are_recorded(write_script, audited, read, place):
    pytest.importorskip("safetensors")
    script = write_script(
        TRAIN
        + """
import safetensors.torch, tempfile
import torch.distributed.checkpoint as dcp
place = Path(sys.argv[1])
train(1)
with open(place / "object.pt", "wb") as file:
    torch.save(model.state_dict(), file)
    time.sleep(0.2)
torch.save({"lr": 0.1}, place / "no-tensors.pt")
(place / "shards").mkdir()
for number, (name, tensor) in enumerate(model.state_dict().items()):
    safetensors.torch.save_file({name: tensor}, place / "shards" / f"{number}.safetensors")
auditor.saved(place / "shards")
safetensors.torch.save_file(model.state_dict(), place / "whole.safetensors")
safetensors.torch.load_file(place / "whole.safetensors")
with safetensors.safe_open(place / "shards" / "0.safetensors", framework="pt") as file:
    list(file.keys())
dcp.save(model.state_dict(), checkpoint_id=place / "dcp")
dcp.load(model.state_dict(), checkpoint_id=place / "dcp")
auditor.loaded(place / "not-there.bin")
"""
    )
    done, directory = audited(sys.executable, script, place)
    assert done.returncode == 0, done.stderr
    reading = read(directory)
    saved = {one.name: one for one in reading.weights if one.event == "saved"}
    assert saved.keys() == {
        "object.pt", "0.safetensors", "1.safetensors", "shards", "whole.safetensors", "dcp",
    }  # fmt: skip
    assert saved["object.pt"].digest == sha256(place / "object.pt")
    assert saved["shards"].tensors == saved["whole.safetensors"].tensors != ""
    assert (saved["shards"].form, saved["dcp"].form, saved["object.pt"].step) == ("safetensors", "distributed", 1)
    loaded = {one.name: one for one in reading.weights if one.event == "loaded"}
    assert loaded.keys() == {"whole.safetensors", "0.safetensors", "dcp", "not-there.bin"}
    assert loaded["dcp"].digest == saved["dcp"].digest
    assert loaded["not-there.bin"].missed
    assert [gap.message for gap in reading.gaps if gap.cause == "weights"] == [
        "not-there.bin was loaded and has no digest: it could not be opened: No such file or directory"
    ]


def test_a_checkpoint_that_cannot_be_read_whole_is_a_gap(write_script, audited, read, place):
    script = write_script(
        TRAIN
        + """
place = Path(sys.argv[1])
train(1)
file = open(place / "changed.pt", "wb")
torch.save(model.state_dict(), file)
file.flush()
torch.save(model.state_dict(), place / "removed.pt")
os.remove(place / "removed.pt")
(place / "folder").mkdir()
auditor.saved(place / "folder")
"""
    )
    done, directory = audited(sys.executable, script, place)
    assert done.returncode == 0, done.stderr
    reading = read(directory)
    found = {one.name: (bool(one.digest), one.missed) for one in reading.weights}
    assert found["removed.pt"] == (True, "")  # it was held open, so its bytes could still be read
    assert found["changed.pt"] == (False, "the file that it was saved to was not closed")
    assert found["folder"] == (False, "folder holds no files")
    assert reading.verdict == "UNANCHORED"


RANKS = """
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
dist.init_process_group("gloo")
rank, place = dist.get_rank(), Path(sys.argv[1])
def state():
    kept = [auditor.state_dict()]
    dist.broadcast_object_list(kept)
    return kept[0]
"""


def test_ranks_record_a_checkpoint_once_and_go_back_together(write_script, audited, read, place):
    script = write_script(
        TRAIN
        + RANKS
        + """
if not (place / "kept.pt").exists():
    train(2)
    kept = state()
    dcp.save(model.state_dict(), checkpoint_id=place / "dcp")
    if rank == 0:
        torch.save(kept, place / "kept.pt")
    train(3)
else:
    dcp.load(model.state_dict(), checkpoint_id=place / "dcp")
    auditor.load_state_dict(torch.load(place / "kept.pt"))
    train(1)
dist.destroy_process_group()
"""
    )
    for _ in range(2):
        done, directory = audited(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", script, place)
        assert done.returncode == 0, done.stderr
    reading = read(directory)
    assert reading.verdict == "UNANCHORED", reading.reasons
    assert (reading.steps, reading.abandoned_steps) == (3, 3)
    assert products(reading.abandoned) == 2 * 3 * STEP_PRODUCTS
    folders = [(one.event, one.digest) for one in reading.weights if one.name == "dcp"]
    assert [event for event, _ in folders] == ["saved", "loaded"]
    assert folders[0][1] == folders[1][1] != ""


def test_forked_children_and_asynchronous_saving(write_script, audited, read, place):
    script = write_script(
        TRAIN
        + """
import multiprocessing
import torch.distributed.checkpoint as dcp
place = Path(sys.argv[1])
def work(name):
    train(1)
    torch.save(model.state_dict(), place / name)
if __name__ == "__main__":
    work("parent.pt")
    process = multiprocessing.get_context("fork").Process(target=work, args=("child.pt",))
    process.start(); process.join()
    assert process.exitcode == 0
    dcp.async_save(model.state_dict(), checkpoint_id=place / "later").result()
"""
    )
    done, directory = audited(sys.executable, script, place)
    assert done.returncode == 0, done.stderr
    reading = read(directory)
    assert reading.verdict == "UNANCHORED", reading.reasons
    seen = {one.name: (segment.genesis.role, one.digest) for segment in reading.segments for one in segment.weights}
    assert {name: role for name, (role, _) in seen.items()} == {
        "parent.pt": "rank",
        "child.pt": "process",
        "later": "rank",
    }
    assert seen["child.pt"][1] == sha256(place / "child.pt")


def test_a_strange_state_is_told_and_the_training_goes_on(write_script, audited, read):
    script = write_script(TRAIN + "train(1)\nauditor.load_state_dict({'schema': 'other'})\ntrain(1)\n")
    done, directory = audited(sys.executable, script)
    assert done.returncode == 0
    assert b"expected what `state_dict()` of an auditor gave" in done.stderr
    reading = read(directory)
    assert (reading.steps, reading.verdict) == (2, "UNANCHORED")


def test_without_an_auditor_the_functions_do_nothing(write_script):
    script = write_script(
        "import auditor\nprint(auditor.state_dict())\nauditor.load_state_dict({'a': 1})\nauditor.saved('x')\n"
    )
    alone = subprocess.run([sys.executable, script], capture_output=True, timeout=120)
    assert (alone.returncode, alone.stdout, alone.stderr) == (0, b"{}\n", b"")
