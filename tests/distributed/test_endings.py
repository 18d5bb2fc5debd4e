"""A signal that ends a rank: it dies as it would have, and what it had counted is sealed first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.distributed.conftest import AUDITOR_RUN, STEP_PRODUCTS, TRAIN, user_environment

FOREVER = "\ntrain(1)\nprint(os.getpid(), flush=True)\nwhile True: train(1)\n"


def products(reading) -> int:
    return reading.operations.by_family["matmul"]


@pytest.fixture
def ended(tmp_path):
    """Run a script under audit, signal it once it says its process's number, and give its end and what it said."""

    def run(script: str, *numbers: int, wait_s: float = 0.0, to_launcher: bool = False, options=(), arguments=()):
        (tmp_path / "train.py").write_text(TRAIN + script, encoding="utf-8")
        with subprocess.Popen(
            [*AUDITOR_RUN, "--out", "run", *options, "train.py", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=user_environment(),
        ) as process:
            pid = int(process.stdout.readline())
            deadline = time.monotonic() + 30
            while not list(tmp_path.glob("run/segments/rank-*")) and time.monotonic() < deadline:
                time.sleep(0.02)
            time.sleep(wait_s)
            for number in numbers:
                subprocess.run(["kill", f"-{number}", str(process.pid if to_launcher else pid)], check=True)
            try:
                out, errors = process.communicate(timeout=120)
            except subprocess.TimeoutExpired:
                os.kill(pid, signal.SIGKILL)
                raise
        assert "Traceback" not in errors, errors
        return process.returncode, out

    return run


@pytest.mark.parametrize("counter", ["native", "dispatch"])
def test_preempted_in_the_middle_of_a_step(ended, read, tmp_path, counter):
    """Every operator that had returned is in the total, to the operation, although nothing was due to be written."""
    code, _ = ended(FOREVER, signal.SIGTERM, wait_s=1.0, to_launcher=True, options=("--counter", counter))
    assert code == 128 + signal.SIGTERM
    reading = read(tmp_path / "run")
    (rank,) = (segment for segment in reading.segments if segment.genesis.role == "rank")
    assert rank.sealed
    assert reading.verdict == "UNANCHORED", reading.reasons
    assert any("SIGTERM ended the process" in gap.message and not gap.lower_bound for gap in reading.gaps)
    assert reading.exit.signal == signal.SIGTERM
    matmul = products(reading)
    half = STEP_PRODUCTS // 2
    assert matmul - rank.steps * STEP_PRODUCTS in (0, half, 2 * half)  # the step under way


def test_ended_while_it_waits(ended, read, tmp_path):
    """Nothing is under way, as in a rank that waits for another, and so nothing is missing."""
    waiting = "\ntrain(3)\nprint(os.getpid(), flush=True)\ntime.sleep(100)\n"
    code, _ = ended(waiting, signal.SIGTERM, signal.SIGTERM)  # to the group, and passed on by a launcher
    assert code == 128 + signal.SIGTERM
    reading = read(tmp_path / "run")
    assert reading.steps == 3
    assert products(reading) == 3 * STEP_PRODUCTS
    assert reading.verdict == "UNANCHORED", reading.reasons


def test_ended_inside_of_an_operator(ended, read, tmp_path):
    """What was under way is not counted, and the verdict says so."""
    long = """
train(3)
big = torch.ones(6000, 6000)
while not os.path.exists("run/segments/rank-00000.attempt-000.jsonl"): time.sleep(0.1)
print(os.getpid(), flush=True)
big @ big
time.sleep(100)
"""
    code, _ = ended(long, signal.SIGTERM)
    assert code == 128 + signal.SIGTERM
    reading = read(tmp_path / "run")
    assert products(reading) == 3 * STEP_PRODUCTS
    assert reading.verdict == "INCOMPLETE"
    assert "SIGTERM ended the process; an operator that was under way is not counted" in reading.reasons[0]


RECORDED = """
own = "run/segments/rank-00000.attempt-000.jsonl"
while not os.path.exists(own) or open(own).read().count('"interval"') < 3: train(1)
handler = ctypes.pythonapi.PyOS_getsig; handler.restype = ctypes.c_void_p
"""


@pytest.mark.parametrize(
    "holds",
    [
        "3 ** 10**10",
        "mutex = ctypes.create_string_buffer(64)\nfor _ in range(2): ctypes.PyDLL(None).pthread_mutex_lock(mutex)",
    ],
    ids=["a huge power", "an extension that never lets go"],
)
def test_ended_while_the_interpreter_is_held(ended, read, tmp_path, holds):
    """No thread of Python's can seal what was counted, and yet the process ends; the verdict says what is missing."""
    code, _ = ended("import ctypes\n" + RECORDED + "print(os.getpid(), flush=True)\n" + holds, signal.SIGTERM)
    assert code == 128 + signal.SIGTERM
    reading = read(tmp_path / "run")
    (rank,) = (segment for segment in reading.segments if segment.genesis.role == "rank")
    assert not rank.sealed
    assert rank.steps > 0
    assert products(reading) >= rank.steps * STEP_PRODUCTS
    assert reading.verdict == "INCOMPLETE"
    assert f"What it did after {rank.ended} is not counted" in reading.reasons[0]


@pytest.mark.parametrize("counter", ["native", "dispatch"])
def test_a_script_may_close_what_it_did_not_open(ended, read, tmp_path, counter):
    """The ledger has lost its file, and says so; a signal ends the process all the same."""
    closes = """
os.closerange(3, 256)
mine = [open(f"mine-{number}", "wb+", buffering=0) for number in range(64)]  # in the places of what was closed
until = time.monotonic() + 60
if sys.argv[1] == "dispatch":
    while handler(signal.SIGTERM): assert time.monotonic() < until; time.sleep(0.01)
until = time.monotonic() + 3
while time.monotonic() < until: train(1)
assert not any(os.fstat(file.fileno()).st_size for file in mine)
print(os.getpid(), flush=True)
while True: train(1)
"""
    script = "import ctypes\n" + RECORDED + closes
    code, _ = ended(script, signal.SIGTERM, options=("--counter", counter), arguments=(counter,))
    assert code == 128 + signal.SIGTERM
    reading = read(tmp_path / "run")
    assert reading.verdict == "INCOMPLETE"
    assert products(reading) > 0
    assert not any(path.stat().st_size for path in tmp_path.glob("mine-*"))


def test_a_child_that_c_forked_is_ended_alone(ended, read, tmp_path):
    """A child that Python never heard of has our handler: it dies by the signal, and its parent hears nothing of it."""
    script = """
until = time.monotonic() + 60
while not handler(signal.SIGTERM): assert time.monotonic() < until; time.sleep(0.01)
library = ctypes.PyDLL(None)
pid = library.fork()
while pid == 0: library.pause()
os.kill(pid, signal.SIGTERM)
assert os.waitpid(pid, 0)[1] == signal.SIGTERM
train(1)
print(os.getpid(), flush=True)
sys.exit(3)
"""
    code, _ = ended("import ctypes\n" + RECORDED + script)
    assert code == 3
    assert read(tmp_path / "run").verdict == "UNANCHORED"


def test_a_script_sees_its_own_handlers_only(ended, read, tmp_path):
    """`getsignal` says what it would say alone, and a handler of the script's is the one that runs."""
    script = """
train(2)
time.sleep(1.5)
print(os.getpid(), flush=True)
assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
caught = []
assert signal.signal(signal.SIGTERM, lambda number, frame: caught.append(number)) is signal.SIG_DFL
while not caught: train(1); time.sleep(0.01)
assert signal.signal(signal.SIGTERM, signal.SIG_DFL) is not signal.SIG_DFL
print("caught", caught, flush=True)
sys.exit(7)
"""
    code, out = ended(script, signal.SIGTERM, wait_s=0.5)
    assert (code, out) == (7, "caught [15]\n")
    reading = read(tmp_path / "run")
    assert reading.verdict == "UNANCHORED", reading.reasons
    assert not reading.gaps


def test_a_child_that_is_ended_does_not_end_its_parent(ended, read, tmp_path):
    """A forked child inherits handlers and pipes; a signal to it is its own."""
    script = """
train(2)
time.sleep(0.5)
pid = os.fork()
if pid == 0:
    train(3)
    time.sleep(100)
time.sleep(1.5)
os.kill(pid, signal.SIGTERM)
assert os.waitpid(pid, 0)[1] == signal.SIGTERM
train(1)
print(os.getpid(), flush=True)
sys.exit(3)
"""
    code, _ = ended(script)
    assert code == 3
    by_role = {segment.genesis.role: segment for segment in read(tmp_path / "run").segments}
    assert by_role["rank"].sealed
    assert by_role["rank"].steps == 3
    assert by_role["process"].sealed
    assert by_role["process"].operations.by_family["matmul"] == 3 * STEP_PRODUCTS


def test_after_a_session_signals_are_as_before(tmp_path):
    """In a process that goes on after its run has ended, a signal does what it did."""
    script = """
import auditor
handler = ctypes.pythonapi.PyOS_getsig; handler.restype = ctypes.c_void_p
before = handler(signal.SIGTERM)
for number in range(2):
    with auditor.Auditor(sys.argv[1], model="m"):
        train(1)
        until = time.monotonic() + 30
        while not (during := handler(signal.SIGTERM)) and time.monotonic() < until: time.sleep(0.01)
    assert (before, handler(signal.SIGTERM)) == (None, None), number
    assert during, number
"""
    (tmp_path / "train.py").write_text("import ctypes\n" + TRAIN + script, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "train.py", "run"], cwd=tmp_path, env=user_environment(), capture_output=True, timeout=100
    )
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("counter", ["native", "dispatch"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_that_a_script_blocks_stays_pending_for_it(ended, read, tmp_path, counter, number):
    """As where it saves a checkpoint, or a thread of its own waits for the signal; no thread of ours takes it."""
    blocks = f"""
train(3)
signal.pthread_sigmask(signal.SIG_BLOCK, [{int(number)}])
print(os.getpid(), flush=True)
until = time.monotonic() + 20
while not signal.sigpending() and time.monotonic() < until: train(1); time.sleep(0.05)
time.sleep(1)
print("waited for", int(signal.sigwait([{int(number)}])), flush=True)
"""
    code, out = ended(blocks, number, wait_s=1.0, options=("--counter", counter))
    assert code == 0
    assert f"waited for {int(number)}" in out
    assert read(tmp_path / "run").verdict == "UNANCHORED"
