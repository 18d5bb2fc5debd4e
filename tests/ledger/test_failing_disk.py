"""A disk that fails, hangs or answers oddly: the ledger stops loudly, once, and what was acknowledged stays."""

from __future__ import annotations

import ast
import contextlib
import errno
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from auditor.errors import AuditorError, LedgerUnwritable
from auditor.ledger import SegmentBook, SegmentWriter, recover, segment
from auditor.session.recorder import Recorder
from tests.ledger.kills import leave_torn
from tests.ledger.model_disk import around_calls, taped

if TYPE_CHECKING:
    from collections.abc import Callable


def failing_at(number: int, calls: list[str]) -> Callable[[str, Callable[..., object]], Callable[..., object]]:
    """A wrapper of the disk's calls of which the so-manieth fails; ``calls`` gets the names of all."""

    def wrap(name: str, original: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            calls.append(name)
            if len(calls) == number:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return original(*arguments)

        return call

    return wrap


def write(run, acknowledged: list[int]) -> LedgerUnwritable | None:
    """A life of a process, a recovery, five intervals with a sync in the middle and a seal, and what ended it early."""
    try:
        tails = recover(run.directory)
        with contextlib.closing(SegmentWriter.create(run.directory, run.genesis(), run.key)) as writer:
            book = SegmentBook(writer, tails)
            for number in range(5):
                run.interval(book, number)
                acknowledged.append(number)
                if number == 2:
                    book.sync()
            book.seal("finished")
    except LedgerUnwritable as error:
        return error
    return None


def test_every_call_to_the_disk_may_fail(new_run) -> None:
    failures = 0
    while True:
        run, calls, acknowledged = new_run(), list[str](), list[int]()
        leave_torn(run)
        with around_calls(failing_at(failures + 1, calls)):
            failed = write(run, acknowledged)
        if failed is None:
            break
        assert "Input/output error" in str(failed)
        assert failed.remedy
        failures += 1
        assert len(calls) == failures, f"after {calls[failures - 1]} failed, {calls[failures:]} was tried"
        reading = run.read()
        assert reading.verdict == "INCOMPLETE"
        steps = {one.name: one.steps for one in reading.segments}
        assert steps["rank-00000.attempt-000.jsonl"] == 6
        assert steps.get("rank-00000.attempt-001.jsonl", 0) // 3 in {len(acknowledged), len(acknowledged) + 1}
    assert failures > 20
    assert len(acknowledged) == 5


class Stage:
    """A recorder with a book on the run's directory, and what it said."""

    def __init__(self, run, **settings: float) -> None:
        self.failures: list[AuditorError] = []
        self.recorder = Recorder(
            run.book,
            prepare=lambda: None,
            sync_every_s=settings.get("sync_every_s", 1.0),
            on_failure=self.failures.append,
            tick=lambda: None,
        )
        self.run, self.number = run, 0

    def interval(self) -> None:
        number, self.number = self.number, self.number + 1
        self.recorder.submit(lambda book: self.run.interval(book, number))


def syncs_of(run, sync_every_s: float) -> str:
    """Which calls five intervals and a seal come to: a for append, s for sync."""
    stage = Stage(run, sync_every_s=sync_every_s)
    with taped() as calls:
        for _ in range(5):
            stage.interval()
        stage.recorder.submit(lambda book: book.seal("finished"))
        assert stage.recorder.stop()
    assert stage.failures == []
    return "".join(call.name[0] for call in calls if call.name in {"append", "sync"})


def test_a_sync_interval_of_zero_syncs_every_record_before_the_next(run, new_run) -> None:
    assert syncs_of(run, 0) == "as" + 5 * "as" + "as"
    assert syncs_of(new_run(), 3600) == "as" + 5 * "a" + "as"


def test_what_waits_for_its_sync_is_synced_without_another_record(run) -> None:
    stage = Stage(run, sync_every_s=0.05)
    with taped() as calls:
        stage.interval()
        stage.recorder.start()
        until = time.monotonic() + 30
        names: list[str] = []
        while names[-1:] != ["sync"] or names.count("append") < 2:
            assert time.monotonic() < until, names
            time.sleep(0.01)
            names = [call.name for call in calls]
        stage.recorder.stop()
    assert names.count("append") == 2, "the first record and the interval, and no more"


def test_a_failed_sync_is_told_once_and_never_tried_again(run) -> None:
    tries = []

    def wrap(name: str, original: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            tries.append(name)
            if name == "sync" and tries.count("sync") == 3:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return original(*arguments)

        return call

    stage = Stage(run, sync_every_s=0)
    with around_calls(wrap):
        for _ in range(6):
            stage.interval()
        stage.recorder.submit(lambda book: book.seal("finished"))
        assert stage.recorder.stop()
    assert tries.count("sync") == 3
    assert tries[-1] == "sync", "nothing was written after it"
    (failure,) = stage.failures
    assert isinstance(failure, LedgerUnwritable)
    reading = run.read()
    assert (reading.verdict, reading.steps) == ("INCOMPLETE", 6)


def test_on_a_disk_that_hangs_the_training_thread_waits_for_nothing_and_the_end_takes_two_seconds(run) -> None:
    answer = threading.Event()

    def wrap(name: str, original: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            if name == "sync" and stage.number:
                answer.wait(60)
            return original(*arguments)

        return call

    stage, took_s = Stage(run, sync_every_s=0), []
    with around_calls(wrap):
        stage.recorder.open_now()
        stage.recorder.start()
        for _ in range(500):
            started = time.perf_counter()
            stage.interval()
            took_s.append(time.perf_counter() - started)
        started = time.monotonic()
        assert not stage.recorder.stop()
        assert time.monotonic() - started < 4, "two seconds, and what a busy machine adds"
        answer.set()
        stage.recorder._thread.join(60)
    assert statistics.median(took_s) < 50e-6


DEAD_DISK = """
import subprocess, sys, time
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from auditor.ledger import load_or_create
from auditor.session.recorder import Recorder
from tests.ledger.conftest import Run
disk = sys.argv[1]
run = Run(Path(disk) / "ledger", load_or_create(Path(sys.argv[2])))
recorder = Recorder(run.book, prepare=int, sync_every_s=0, on_failure=print, tick=int)
recorder.submit(lambda book: run.interval(book, 0))
recorder.start()
while recorder._done < 2:
    time.sleep(0.01)
subprocess.run(["fsfreeze", "-f", disk], check=True)
try:
    recorder.submit(lambda book: run.interval(book, 1))
    started = time.monotonic()
    stopped = recorder.stop()
    print(stopped, time.monotonic() - started)
finally:
    subprocess.run(["fsfreeze", "-u", disk], check=True)
"""


def test_a_real_file_system_that_answers_no_more_is_left_behind_within_two_seconds(run, tmp_path: Path) -> None:
    if not all(map(shutil.which, ("unshare", "mkfs.ext4", "fsfreeze"))):
        pytest.skip("needs a file system of its own that can be frozen")
    image, disk = tmp_path / "image", tmp_path / "disk"
    disk.mkdir()
    with image.open("wb") as file:
        file.truncate(16 * 2**20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    mounted = 'mount -o loop "$1" "$2" || exit 77; "$3" -c "$4" "$2" "$5" "$6"; umount "$2"'
    words = [image, disk, sys.executable, DEAD_DISK, tmp_path / "key.pem", Path(__file__).parents[2]]
    command = ["unshare", "-m", "sh", "-c", mounted, "sh", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip("this user may not mount file systems")
    assert done.returncode == 0, done.stderr
    stopped, took_s = done.stdout.split()
    assert stopped == "False"
    assert 1.9 < float(took_s) < 4


def test_a_clock_that_jumps_back_changes_nothing_that_counts(run, good: str, monkeypatch) -> None:
    plain = iter([2_000, 1_900, 1_000, 1_950, 5, 0, 3_000])
    monkeypatch.setattr(segment, "now_us", lambda: next(plain) * 10**12)
    run.segment(intervals=3)
    reading = run.read()
    assert str(reading.verdict) == good
    assert reading.steps == 9
    assert reading.segments[0].elapsed_us == 3000, "time is told by the clock that runs forward alone"


@pytest.mark.parametrize("answer", ["once", "twice"])
def test_a_rename_that_a_network_file_system_does_twice_is_done(run, monkeypatch, answer: str) -> None:
    run.segment(seal=False)
    torn = run.path().read_bytes()[:-50]
    run.path().write_bytes(torn)
    replace = Path.replace

    def answers_late(self: Path, target: Path) -> Path:
        replace(self, target)
        if answer == "twice":
            replace(self, target)  # the client did not hear, and asked again: there is no such file any more
        return target

    monkeypatch.setattr(Path, "replace", answers_late)
    (tail,) = recover(run.directory)
    assert torn.endswith((run.directory / tail.kept_as).read_bytes())


def test_a_rename_that_failed_is_not_taken_for_done(run, monkeypatch) -> None:
    run.segment(seal=False)
    torn = run.path().read_bytes()[:-50]
    run.path().write_bytes(torn)

    def gone(self: Path, target: Path) -> Path:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))

    monkeypatch.setattr(Path, "replace", gone)
    with pytest.raises(LedgerUnwritable, match="cannot be recovered"):
        recover(run.directory)
    assert run.path().read_bytes() == torn, "nothing is cut that is not kept"


def test_nothing_but_one_module_changes_what_is_on_the_disk() -> None:
    """The model disk, the kills and the failures above see every call: there is no other way to the disk."""
    folder = Path(segment.__file__).parent
    for name in ("segment", "recovery", "book", "log", "known"):
        nodes = [
            node for node in ast.walk(ast.parse((folder / f"{name}.py").read_text())) if isinstance(node, ast.Attribute)
        ]
        of_os = {node.attr for node in nodes if isinstance(node.value, ast.Name) and node.value.id == "os"}
        assert of_os <= {"close", "getpid", "register_at_fork", "SEEK_END"}
        assert not {"mkdir", "rename", "truncate", "write_bytes", "write_text", "fsync"} & {
            node.attr for node in nodes if not (isinstance(node.value, ast.Name) and node.value.id == "disk")
        }
