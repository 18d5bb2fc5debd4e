"""Verification in several processes, and one that goes on where another was interrupted: always the same verdict."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from auditor.cli.main import main
from auditor.errors import LedgerUnwritable
from auditor.formulas import TABLE, Pricer
from auditor.ledger import Recount, read_ledger
from auditor.ledger.earlier import open_earlier
from auditor.ledger.effort import Effort
from auditor.records import Alert, Recovered, Resumed, SecondOpinion, Updates, Weights
from tests.ledger.conftest import Run

RECOUNT = Recount(price=Pricer().price, digest=TABLE.digest)
SLIM = Effort(course=False)


@pytest.fixture
def many(run, monkeypatch):
    """Segments of every kind of content, some of them torn, damaged or killed."""
    monkeypatch.setattr("auditor.ledger.effort._WORTH_A_PROCESS_BYTES", 0)
    for rank in range(5):
        book = run.book(rank=rank, expected_ranks=6)
        run.interval(book, 0, size=4 + rank)
        book.hardware("observed", "GPU-1", {"energy_mj": "5"})
        book.gap("thread", "a thread", lower_bound=True)
        book.append(Recovered(segment="x", kept_as="cut/x", cut_bytes=5, sha256="0" * 64))
        book.append(OPINION)
        book.append(ALERT)
        book.updates(UPDATES)
        book.weights(WEIGHTS)
        book.resumed(Resumed(run_id="another", segment="x", step=3, operations="8", note=""))
        run.interval(book, 1, size=4 + rank)
        book.seal("finished") if rank else book.close()
    damaged = run.path("rank-00003.attempt-000.jsonl")
    damaged.write_bytes(damaged.read_bytes().replace(b'"interval",[4,', b'"interval",[5,'))
    run.launcher(5)
    return run


WEIGHTS = Weights(
    event="saved", name="m", form="other", step=1, digest="a" * 64, tensors="", size_bytes=8,
    files=(("a" * 64, 8, ""),), missed="",
)  # fmt: skip
ALERT = Alert(name="executed@8", level="8", rule="", at="8", counted="9", told="")
UPDATES = Updates(number=0, optimizer="SGD", step=1, operations="", parts=(("DTensor", 2, "a", 1, 8, "b"),))
OPINION = SecondOpinion(
    counter="fvcore", model="Tiny", inputs="[]", ours="8", theirs="8", unavailable="",
    explained=({"operator": "aten::mm"},), modules=(("", "Tiny", "8"),),
)  # fmt: skip


def slim(reading):
    """The reading without its course."""
    bare = tuple(dataclasses.replace(segment, points=(), hardware=()) for segment in reading.segments)
    return dataclasses.replace(reading, segments=bare, hardware=())


def test_without_the_course_the_rest_is_the_same(many):
    assert read_ledger(many.directory, recount=RECOUNT, effort=SLIM) == slim(
        read_ledger(many.directory, recount=RECOUNT)
    )


@pytest.mark.parametrize("course", [True, False])
def test_several_processes_find_what_one_does(many, course):
    alone = read_ledger(many.directory, recount=RECOUNT, effort=Effort(course=course))
    assert read_ledger(many.directory, recount=RECOUNT, effort=Effort(course=course, workers=3)) == alone


@pytest.mark.parametrize("course", [True, False])
def test_what_was_read_before_is_as_it_was_read(many, tmp_path, course, monkeypatch):
    alone = read_ledger(many.directory, recount=RECOUNT, effort=Effort(course=course))
    for known in (0, 6):
        with open_earlier(tmp_path / "state", TABLE.digest) as earlier:
            assert len(earlier) == known
            effort = Effort(course=course, workers=2, earlier=earlier)
            assert read_ledger(many.directory, recount=RECOUNT, effort=effort) == alone
        monkeypatch.setattr("auditor.ledger.effort.read_segment", _read_again)


def _read_again(*_, **__):
    raise AssertionError("a segment is read again")


def test_what_was_read_without_the_course_is_read_again_for_it(many, tmp_path):
    for course, known in ((False, 0), (True, 6), (True, 12), (False, 12)):
        with open_earlier(tmp_path / "state", TABLE.digest) as earlier:
            assert len(earlier) == known
            found = read_ledger(many.directory, recount=RECOUNT, effort=Effort(course=course, earlier=earlier))
        assert any(segment.points and segment.hardware for segment in found.segments) is course


def test_a_segment_that_changed_since_is_read_again(many, tmp_path):
    for touched in (False, True):
        if touched:
            path = many.path("rank-00001.attempt-000.jsonl")
            data = path.read_bytes()
            path.write_bytes(data.replace(b'"interval",[4,', b'"interval",[5,'))
        with open_earlier(tmp_path / "state", TABLE.digest) as earlier:
            found = read_ledger(many.directory, recount=RECOUNT, effort=Effort(course=False, earlier=earlier))
        broken = [segment.name for segment in found.segments if segment.broken]
        assert ("rank-00001.attempt-000.jsonl" in broken) is touched


def test_other_formulas_and_other_files_begin_anew(many, tmp_path):
    state = tmp_path / "state"
    with open_earlier(state, TABLE.digest) as earlier:
        read_ledger(many.directory, recount=RECOUNT, effort=Effort(course=False, earlier=earlier))
    for formulas, known in ((TABLE.digest, 6), ("0" * 64, 0), (TABLE.digest, 0)):
        with open_earlier(state, formulas) as earlier:
            assert len(earlier) == known
    for begun in (b"", state.read_bytes()[:5], b'{"formulas":"0","schema":"auditor.verifying/0"}\nolder\n'):
        state.write_bytes(begun)
        with open_earlier(state, TABLE.digest) as earlier:
            assert len(earlier) == 0
    with pytest.raises(LedgerUnwritable, match="cannot be used"), open_earlier(tmp_path, TABLE.digest):
        pass


def test_a_report_goes_on_too(run, tmp_path, capsys):
    for rank in range(3):
        run.segment(rank=rank, expected_ranks=3)
    arguments = ["report", str(run.directory), "--format", "json", "--jobs", "2"]
    assert main(arguments) == 0
    alone = json.loads(capsys.readouterr().out)
    for known in (0, 3):
        assert main([*arguments, "--resume", str(tmp_path / "state")]) == 0
        shown = capsys.readouterr()
        assert bool(known) is (f"{known} segments were read before" in shown.err)
        found = json.loads(shown.out)
        for changing in ("generated", "warning"):
            found.pop(changing, None)
            alone.pop(changing, None)
        assert found == alone


@pytest.mark.parametrize("place", ["a note", "a segment", "half a line", "a list"])
def test_what_is_something_else_is_left_as_it_is(many, tmp_path, capsys, place):
    path = many.path("rank-00001.attempt-000.jsonl") if place == "a segment" else tmp_path / "notes"
    if place != "a segment":
        path.write_text({"a note": "of mine\n", "half a line": "{", "a list": "[]\n[]\n"}[place] * 2)
    before = path.read_bytes()
    assert main(["verify", str(many.directory), "--resume", str(path)]) == 2
    assert "holds something else" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_a_pipe_is_not_waited_for(many, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    assert main(["verify", str(many.directory), "--resume", str(tmp_path / "pipe")]) == 1
    assert "not a regular file" in capsys.readouterr().err


FALSE = [{"records": None}, {"steps": "9"}, {"sealed": "no"}, {"genesis": '[0,"synced",{"bytes":1}]'}, None]
FALSE += [{"gaps": [["a", "b", True, "1"]]}, {"keys": []}, {"noted": [["a", 1]]}, {"started": "then"}, {"head": [1, 2]}]


@pytest.mark.parametrize("change", FALSE)
def test_lines_of_another_form_are_read_again(many, tmp_path, change):
    state = tmp_path / "state"
    with open_earlier(state, TABLE.digest) as earlier:
        found = read_ledger(many.directory, recount=RECOUNT, effort=Effort(course=False, earlier=earlier))
    header, *lines = state.read_text().splitlines()
    plains = [json.loads(line) for line in lines]
    changed = [json.dumps(plain | {"reading": plain["reading"] | (change or {})}) for plain in plains]
    state.write_text("\n".join([header, *(changed if change else ["[" * 100_000]), ""]))
    with open_earlier(state, TABLE.digest) as earlier:
        assert len(earlier) == 0
        effort = Effort(course=False, earlier=earlier)
        assert read_ledger(many.directory, recount=RECOUNT, effort=effort) == found


@pytest.mark.parametrize("change", [{"mark": [[1]]}, {"mark": "x"}, {"file": ["a"]}, {"detail": "ab"}, {"detail": [1]}])
def test_lines_that_name_no_file_are_none(many, tmp_path, change):
    state = tmp_path / "state"
    with open_earlier(state, TABLE.digest) as earlier:
        read_ledger(many.directory, recount=RECOUNT, effort=Effort(course=False, earlier=earlier))
    header, *lines = state.read_text().splitlines()
    state.write_text("\n".join([header, *(json.dumps(json.loads(line) | change) for line in lines), ""]))
    with open_earlier(state, TABLE.digest) as earlier:
        assert len(earlier) == 0


def test_half_a_line_and_nonsense_are_read_again(many, tmp_path):
    state = tmp_path / "state"
    with open_earlier(state, TABLE.digest) as earlier:
        read_ledger(many.directory, recount=RECOUNT, effort=Effort(course=False, earlier=earlier))
    lines = state.read_bytes().splitlines(keepends=True)
    broken = json.loads(lines[1])
    del broken["reading"]["genesis"]
    state.write_bytes(lines[0] + json.dumps(broken).encode() + b"\n" + b"".join(lines[2:4]) + lines[4][:50])
    with open_earlier(state, TABLE.digest) as earlier:
        assert len(earlier) == 2
        read_ledger(many.directory, recount=RECOUNT, effort=Effort(course=False, earlier=earlier))
    with open_earlier(state, TABLE.digest) as earlier:
        assert len(earlier) == 6


def test_a_verification_that_was_killed_goes_on(tmp_path, capsys):
    run = Run(tmp_path / "ledger", load(tmp_path))
    for rank in range(6):
        run.segment(rank=rank, expected_ranks=6)
    state = tmp_path / "state"
    slow = subprocess.Popen([sys.executable, "-c", SLOW_VERIFY, str(run.directory), "--resume", str(state)])
    until = time.monotonic() + 60
    while not (state.exists() and state.read_bytes().count(b"\n") > 2) and time.monotonic() < until:
        time.sleep(0.01)
    slow.send_signal(signal.SIGKILL)
    slow.wait()
    read_before = state.read_bytes().count(b"\n") - 1
    assert 2 <= read_before < 6
    assert main(["verify", str(run.directory), "--resume", str(state)]) == 0
    shown = capsys.readouterr()
    assert f"{read_before} segments were read before" in shown.err
    assert "UNANCHORED" in shown.out
    assert state.read_bytes().count(b"\n") == 7


# `auditor verify` in two processes, whose segments take their time.
SLOW_VERIFY = """
import sys, time
from auditor.ledger import effort
from auditor.cli.main import main
effort._WORTH_A_PROCESS_BYTES = 0
read = effort.read_segment
def slowly(*given, **named):
    time.sleep(0.3)
    return read(*given, **named)
effort.read_segment = slowly
main(["verify", *sys.argv[1:], "--jobs", "2"])
"""


def load(tmp_path):
    from auditor.ledger.keys import load_or_create

    return load_or_create(tmp_path / "key.pem")
