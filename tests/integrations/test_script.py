"""`auditor run` with real processes: the training behaves as it does alone, and what it did is in the ledger."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

TRAIN = """
import sys, torch
torch.manual_seed(0)
model = torch.nn.Linear(8, 8)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
def train(steps):
    for _ in range(steps):
        model(torch.ones(4, 8)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
"""
BROKEN_FORMULA = """
import torch, auditor
@auditor.formula("mylib::op", family=auditor.Family.OTHER, source="a test")
def broken(x): raise ZeroDivisionError("of course")
library = torch.library.Library("mylib", "DEF")
library.define("op(Tensor x) -> Tensor")
library.impl("op", lambda x: x.clone(), "CPU")
torch.ops.mylib.op(torch.ones(3))
"""
FORWARD = 2 * 4 * 8 * 8
STEP_PRODUCTS = 2 * FORWARD  # the input wants no gradient


def products(reading) -> int:
    return reading.operations.by_family["matmul"]


def bare(script, *arguments, **options):
    return subprocess.run([sys.executable, script, *arguments], capture_output=True, timeout=120, **options)


def test_a_script_is_counted_and_nothing_else_changes(write_script, audited, read):
    script = write_script(TRAIN + "train(5)\nprint(sys.argv[1:], __name__, sys.stdin.read())\n")
    alone = bare(script, "a", "--b c", input=b"")
    done, directory = audited(sys.executable, script, "a", "--b c")
    assert done.returncode == 0
    assert done.stdout == alone.stdout
    assert done.stderr.count(b"auditor:") == len(done.stderr.splitlines()) == 2
    reading = read(directory)
    assert reading.verdict == "UNANCHORED"
    assert reading.steps == 5
    assert products(reading) == 5 * STEP_PRODUCTS


@pytest.mark.parametrize(
    "ending",
    [
        "raise ValueError('no')",
        "sys.stdout.buffer.write(bytes(range(256))); sys.exit(7)",
        "import os; os._exit(9)",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "raise KeyboardInterrupt",
    ],
)
def test_however_it_ends_the_code_and_the_output_are_its_own(write_script, audited, ending):
    script = write_script(TRAIN + "train(1)\n" + ending + "\n")
    alone = bare(script)
    done, _ = audited(sys.executable, script)
    assert done.returncode == (alone.returncode if alone.returncode >= 0 else 128 - alone.returncode)
    assert done.stdout == alone.stdout
    own_words = [line for line in done.stderr.splitlines() if not line.startswith(b"auditor:")]
    assert own_words == alone.stderr.splitlines()


def test_signals_reach_the_child_once(write_script, audited, tmp_path, read):
    script = write_script(
        TRAIN
        + """
import signal, time
seen = []
signal.signal(signal.SIGUSR1, lambda *_: seen.append("usr1"))
signal.signal(signal.SIGINT, lambda *_: seen.append("int"))
train(3)
print("ready", flush=True)
while len(seen) < 2: time.sleep(0.01)
time.sleep(0.3)
print(seen)
sys.exit(3)
"""
    )
    directory = tmp_path / "run"
    command = [sys.executable, "-m", "auditor", "run", "--out", directory, "--", sys.executable, script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGUSR1)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert out == "['usr1', 'int']\n"
    assert process.returncode == 3
    assert read(directory).steps == 3


def test_what_a_script_forks_and_spawns_is_counted_too(write_script, audited, read):
    script = write_script(
        TRAIN
        + """
import multiprocessing, os
def work(_):
    train(2)
if __name__ == "__main__":
    train(1)
    for method in ("fork", "spawn"):
        process = multiprocessing.get_context(method).Process(target=work, args=(0,))
        process.start(); process.join()
        assert process.exitcode == 0
    pid = os.fork()
    if pid == 0:
        train(1)
        sys.exit(0)
    assert os.waitpid(pid, 0)[1] == 0
"""
    )
    done, directory = audited(sys.executable, script, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr.decode()
    reading = read(directory)
    assert products(reading) == (1 + 2 + 2 + 1) * STEP_PRODUCTS
    roles = sorted(segment.genesis.role for segment in reading.segments)
    assert roles == ["launcher", "process", "process", "process", "rank"]
    assert reading.verdict == "UNANCHORED"


def test_what_an_audited_process_runs_under_audit_is_a_run_of_its_own(write_script, audited, read, tmp_path):
    """A notebook that is counted starts a run of its own; what that run starts is a rank of it, not a process below."""
    write_script(TRAIN + "train(2)\n", "inner.py")
    outer = write_script(
        TRAIN
        + """
import subprocess
train(1)
subprocess.run([sys.executable, "-m", "auditor", "run", "--out", "inner", "--", sys.executable, "inner.py"], check=True)
"""
    )
    done, directory = audited(sys.executable, outer)
    assert done.returncode == 0, done.stderr.decode()
    for path, steps in ((directory, 1), (tmp_path / "inner", 2)):
        reading = read(path)
        assert (reading.steps, reading.verdict) == (steps, "UNANCHORED"), reading.reasons


def test_data_loader_workers_do_not_disturb(write_script, audited, read):
    script = write_script(
        TRAIN
        + """
from torch.utils.data import DataLoader, Dataset
class Numbers(Dataset):
    def __len__(self): return 8
    def __getitem__(self, index): return torch.ones(8) * index
if __name__ == "__main__":
    for batch in DataLoader(Numbers(), batch_size=4, num_workers=2):
        model(batch).sum().backward()
        optimizer.step()
    print("done")
"""
    )
    done, directory = audited(sys.executable, script)
    assert (done.returncode, done.stdout) == (0, b"done\n"), done.stderr.decode()
    assert products(read(directory)) == 2 * STEP_PRODUCTS


def test_a_module_and_a_bare_script_name_run_too(write_script, tmp_path, read):
    write_script(TRAIN + "train(2)\nprint(__name__)\n", "trained.py")
    for number, words in enumerate((["-m", "trained"], ["trained.py"])):
        directory = tmp_path / f"run{number}"
        done = subprocess.run(
            [sys.executable, "-m", "auditor", "run", "--out", directory, *words],
            capture_output=True,
            cwd=tmp_path,
            timeout=120,
        )
        assert (done.returncode, done.stdout) == (0, b"__main__\n"), done.stderr.decode()
        reading = read(directory)
        assert reading.steps == 2
        assert reading.model == "trained"


def test_a_command_without_torch_runs_as_it_is(audited):
    done, _ = audited("sh", "-c", "echo out; echo err >&2; exit 5")
    assert done.returncode == 5
    assert done.stdout == b"out\n"
    assert b"ended with 5 before torch was imported in any process: nothing was counted" in done.stderr


def test_a_command_that_does_not_exist(audited):
    done, _ = audited("no-such-command-here")
    assert done.returncode == 127
    assert b"no-such-command-here" in done.stderr


def test_a_sitecustomize_of_ones_own_still_runs(write_script, audited, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "sitecustomize.py").write_text("mine = 'kept'\n")
    script = write_script("import sitecustomize\nprint(sitecustomize.mine)\n")
    done, _ = audited(sys.executable, script, PYTHONPATH=str(other))
    assert done.stdout == b"kept\n"


def test_looking_for_torch_before_importing_it_changes_nothing(write_script, audited, read):
    script = write_script("import importlib.util\nimportlib.util.find_spec('torch')\n" + TRAIN + "train(2)\n")
    _, directory = audited(sys.executable, script)
    assert products(read(directory)) == 2 * STEP_PRODUCTS


def test_a_forked_child_that_ends_without_a_word_is_missed(write_script, audited, read):
    script = write_script(
        TRAIN
        + """
import os
train(1)
pid = os.fork()
if pid == 0:
    train(3)
    os._exit(0)
os.waitpid(pid, 0)
"""
    )
    _, directory = audited(sys.executable, script, OMP_NUM_THREADS="1")
    reading = read(directory)
    assert reading.verdict == "INCOMPLETE"
    assert STEP_PRODUCTS <= products(reading) <= 4 * STEP_PRODUCTS


def test_a_launcher_taken_away_shows(write_script, audited, read):
    _, directory = audited(sys.executable, write_script(TRAIN + "train(1)\n"))
    (directory / "segments" / "launcher.attempt-000.jsonl").unlink()
    assert read(directory).verdict == "INCOMPLETE"


def test_resuming_in_the_same_directory_adds_up(write_script, audited, read):
    script = write_script(TRAIN + "train(int(sys.argv[1]))\n")
    first, _ = audited(sys.executable, script, "3")
    assert b"continues" not in first.stderr
    done, directory = audited(sys.executable, script, "4")
    assert done.returncode == 0
    assert b"continues the run" in done.stderr
    assert b"began with another command" in done.stderr
    reading = read(directory)
    assert reading.steps == 7
    assert products(reading) == 7 * STEP_PRODUCTS
    assert len({segment.genesis.run_id for segment in reading.segments}) == 1


def test_kills_lose_nothing_that_was_acknowledged(write_script, tmp_path, read):
    """SIGKILL at six moments: every step before the last acknowledged record is in the ledger, and it adds up."""
    script = write_script(TRAIN + "print('ready', flush=True)\nwhile True: train(1)\n")
    directory = tmp_path / "run"
    steps = 0
    for number in range(6):
        command = [sys.executable, "-m", "auditor", "run", "--out", directory, "--no-second-opinion", "--"]
        with subprocess.Popen(
            [*command, sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            process.stdout.readline()
            while len(list((directory / "segments").glob("rank-*"))) <= number:
                time.sleep(0.02)
            time.sleep(number * 0.5)
            (child,) = _children(process.pid)
            os.kill(child, signal.SIGKILL)
            assert process.wait(timeout=60) == 128 + 9
        reading = read(directory)
        assert reading.verdict == "INCOMPLETE"
        assert reading.steps >= steps
        # An interval may end inside a step: at most one step per process more than those that have ended.
        begun = len(reading.segments)
        assert reading.steps * STEP_PRODUCTS <= products(reading) <= (reading.steps + begun) * STEP_PRODUCTS
        steps = reading.steps
    ranks = [segment for segment in reading.segments if segment.genesis.role == "rank"]
    files = list((directory / "segments").glob("rank-*"))
    assert len(files) == 6
    assert len(ranks) >= 5  # a kill may come before a segment's first record
    assert sum(segment.steps for segment in ranks) == steps > 0


def _children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(child) for child in file.read().split()]


def test_an_unwritable_directory_does_not_stop_the_training(write_script, tmp_path):
    script = write_script(TRAIN + "train(1)\nsys.exit(4)\n")
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    for options, code in (([], 4), (["--strict"], 1)):
        done = subprocess.run(
            [sys.executable, "-m", "auditor", "run", "--out", blocker / "run", *options, "--", sys.executable, script],
            capture_output=True,
            timeout=120,
        )
        assert done.returncode == code
        assert b"the ledger cannot be begun" in done.stderr
        assert len(done.stderr.splitlines()) <= 2


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB."""
    directory = tmp_path / "disk"
    directory.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", directory]).returncode:
        pytest.skip("a small tmpfs cannot be mounted here")
    yield directory
    subprocess.run(["umount", "-l", directory], check=True)


def test_a_full_disk_does_not_stop_the_training(write_script, small_disk):
    script = write_script(
        TRAIN
        + """
with open(sys.argv[1], "wb", buffering=0) as file:
    train(1)
    import time; time.sleep(1.5)
    train(1)
    try:
        while True: file.write(bytes(4096))
    except OSError: pass
    for size in range(1, 200):
        torch.ones(size, 8) @ torch.ones(8, size)
        time.sleep(0.02)
    train(1)
sys.exit(6)
"""
    )
    for options, code in (([], 6), (["--strict"], 1)):
        directory = small_disk / "run"
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "auditor",
                "run",
                "--out",
                directory,
                *options,
                "--no-second-opinion",
                "--",
                sys.executable,
                script,
                small_disk / "filler",
            ],
            capture_output=True,
            timeout=120,
        )
        assert done.returncode == code, done.stderr.decode()
        assert b"nothing more is recorded" in done.stderr
        (small_disk / "filler").unlink()


def test_a_formula_that_raises_is_named_and_the_run_goes_on(write_script, audited, read):
    script = write_script(
        BROKEN_FORMULA
        + TRAIN
        + "train(2)\nimport time; time.sleep(1.2); train(1); time.sleep(0.5); train(1)\nprint('end')\n"
    )
    done, directory = audited(sys.executable, script)
    assert (done.returncode, done.stdout) == (0, b"end\n"), done.stderr.decode()
    assert b"ZeroDivisionError" in done.stderr
    reading = read(directory)
    assert reading.verdict == "INCOMPLETE"
    assert reading.operations.unpriced == {"mylib::op": 1}
    assert products(reading) == 4 * STEP_PRODUCTS


def test_strict_stops_at_a_formula_that_raises(write_script, audited):
    script = write_script(
        BROKEN_FORMULA + TRAIN + "import time\nfor _ in range(100): train(1); time.sleep(0.1)\nprint('end')\n"
    )
    done, _ = audited(sys.executable, script, options=("--strict",))
    assert done.returncode == 1
    assert b"end" not in done.stdout
    assert b"CountingError" in done.stderr


def test_purposes_are_kept_apart(write_script, tmp_path, read):
    script = write_script(
        TRAIN
        + """
import auditor
with auditor.Auditor(sys.argv[1], model="m", purpose="fine-tuning") as audit:
    train(2)
    with audit.purpose("evaluation"), torch.no_grad():
        model(torch.ones(4, 8))
    train(1)
"""
    )
    done = bare(script, tmp_path / "run")
    assert done.returncode == 0, done.stderr.decode()
    reading = read(tmp_path / "run")
    assert reading.steps == 3
    evaluation = reading.operations.select(purposes=["evaluation"], families=["matmul"]).executed_ops
    tuning = reading.operations.select(purposes=["fine-tuning"], families=["matmul"]).executed_ops
    assert (evaluation, tuning) == (FORWARD, 3 * STEP_PRODUCTS)
