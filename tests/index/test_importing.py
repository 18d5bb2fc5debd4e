"""What becomes of a ledger that is imported, in either database."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from auditor.errors import IndexUnusable
from auditor.index import Access, add, entry, importing, open_index
from auditor.ledger.places import ledgers_below

SIZE_4 = 96 * 4 * 6


def test_the_same_ledger_twice_changes_nothing(office):
    office.run("one")
    office.run("two")
    assert office.add() == {"one": "added", "two": "added"}
    before = office.content()
    assert office.add() == {"one": "unchanged", "two": "unchanged"}
    assert office.add(office.directory / "two", office.directory / "two") == {"two": "unchanged"}
    assert office.content() == before
    assert office.amounts() == {"one": SIZE_4, "two": SIZE_4}


def test_what_is_kept_is_what_the_ledger_says(office):
    run = office.run("one", host={"hostname": "node-7", "pid": "1"}, model="large", purpose="fine-tuning")
    run.launcher()
    office.add()
    reading, kept = run.read(), office.show("one")
    one = kept["run"]
    assert int(kept["operations"]) == reading.operations.total
    assert (one["model"], one["purpose"], one["verdict"]) == ("large", "fine-tuning", "UNANCHORED")
    assert (one["head"], one["reasons"]) == (reading.head, list(reading.reasons))
    assert (one["hosts"], one["steps"], one["started"]) == (["node-7"], "6", reading.started)
    assert one["devices"] == [{"chip": None, "name": "a processor", "kind": "cpu", "number": "1"}]
    genesis = reading.segments[0].genesis
    assert {part["name"]: (part["size"], part["root"]) for part in kept["held"]} == {
        segment.name: (str(segment.head.size), segment.head.root) for segment in reading.segments
    }
    assert {part["signer"] for part in kept["held"]} == {genesis.public_key}
    assert {part["formulas"] for part in kept["held"]} == {genesis.digests["formulas"]} == {one["formulas"]}


def test_a_ledger_that_has_gone_on_replaces_what_was_known(office):
    run = office.run("one", seal=False)
    assert office.add() == {"one": "added"}
    assert office.list()["groups"][0]["complete"] is False
    run.segment(1, attempt=1)
    assert office.add() == {"one": "grown"}
    assert office.amounts() == {"one": SIZE_4 * 3 // 2}


def test_a_segment_that_has_gone_on(office):
    run = office.run("one")
    book = run.book(attempt=1)
    run.interval(book, 0)
    office.add()
    run.interval(book, 1)
    book.seal("finished")
    assert office.add() == {"one": "grown"}
    assert office.amounts() == {"one": 2 * SIZE_4}


def test_a_ledger_that_was_moved(office):
    office.run("one")
    office.add()
    (office.directory / "one").rename(office.directory / "elsewhere")
    assert office.add() == {"one": "moved"}
    assert office.amounts() == {"one": SIZE_4}
    assert office.show("one")["run"]["path"] == str((office.directory / "elsewhere").resolve())


def test_an_older_copy_changes_nothing(office, tmp_path):
    run = office.run("one")
    shutil.copytree(run.directory, tmp_path / "copy")
    run.segment(1, attempt=1)
    office.add()
    before = office.content()
    assert office.add(tmp_path / "copy") == {"one": "older"}
    assert "an older copy of what is known from" in office.told
    assert office.content() == before


def test_copies_in_one_import_are_one_run(office):
    office.run("one")
    shutil.copytree(office.directory / "one", office.directory / "two")
    assert office.add() == {"one": "moved"}
    assert office.amounts() == {"one": SIZE_4}


def test_a_ledger_that_was_cut_has_diverged_and_is_not_summed(office):
    run = office.run("one")
    office.run("two")
    office.add()
    lines = run.path().read_bytes().splitlines(keepends=True)
    run.path().write_bytes(b"".join(lines[:6]))
    assert office.add(code=4) == {"one": "DIVERGED", "two": "unchanged"}
    assert "it ends after" in office.told
    (group,) = office.list("--by", "model")["groups"]
    assert (group["runs"], group["left_out"], group["operations"]) == (2, 1, str(SIZE_4))
    assert office.list("--verdict", "DIVERGED")["groups"][0]["key"] == "one"
    assert "not summed" in office.index("list")


def test_what_has_diverged_once_stays_so_until_the_index_is_made_anew(office, tmp_path):
    run = office.run("one")
    office.add()
    shutil.copytree(run.directory, tmp_path / "kept")
    nonce = run.read().segments[0].genesis.nonce
    run.path().unlink()
    run.segment(nonce=nonce, size=2)
    assert office.add(code=4) == {"one": "DIVERGED"}
    assert "are not those of the head that is held elsewhere" in office.told
    assert office.add(tmp_path / "kept", code=4) == {"one": "DIVERGED"}
    assert office.amounts() == {"one": 0}
    shutil.rmtree(run.directory)
    out = json.loads(office.index("rebuild", "--json"))
    assert [one["outcome"] for one in out["imported"]] == ["added"]
    assert office.amounts() == {"one": SIZE_4}


def test_an_invalid_ledger_is_listed_and_never_summed(office):
    run = office.run("one")
    office.run("two")
    whole = run.path().read_bytes()
    office.add()
    damaged = bytearray(whole)
    damaged[len(damaged) // 2] ^= 1
    run.path().write_bytes(damaged)
    assert office.add(code=4) == {"one": "INVALID", "two": "unchanged"}
    assert office.amounts("--by", "model") == {"tiny": SIZE_4}
    assert office.amounts() == {"one": 0, "two": SIZE_4}
    assert office.show("one")["run"]["verdict"] == "INVALID"
    run.path().write_bytes(whole)  # the copy that was kept elsewhere
    assert office.add() == {"one": "unchanged", "two": "unchanged"}
    assert office.amounts("--by", "model") == {"tiny": 2 * SIZE_4}


def test_a_damaged_copy_changes_nothing_in_either_order(office):
    run = office.run("b-sound")
    for name in ("a-damaged", "c-damaged"):
        shutil.copytree(run.directory, office.directory / name)
        path = office.directory / name / "segments" / run.path().name
        path.write_bytes(path.read_bytes().replace(b"aten::mm", b"aten::mv", 1))
    assert office.add(code=4) == {"b-sound": "INVALID"}  # what was told last
    assert "What is known from" in office.told
    kept = office.show("b-sound")
    assert (kept["run"]["verdict"], kept["run"]["path"]) == ("UNANCHORED", str(run.directory.resolve()))
    assert office.amounts() == {"b-sound": SIZE_4}


def test_a_ledger_of_which_nothing_can_be_read(office):
    run = office.run("one")
    whole = run.path().read_bytes()
    run.path().write_bytes(b"x" + whole)
    (path,) = office.add(code=4)
    assert path == f"unreadable:{run.directory.resolve()}"
    assert office.list()["groups"][0]["run"]["verdict"] == "INVALID"
    run.path().write_bytes(whole)
    assert office.add() == {"one": "added"}
    assert office.amounts() == {"one": SIZE_4}
    run.path().write_bytes(b"x" + whole)
    assert office.add(code=4) == {"one": "INVALID"}
    assert office.amounts() == {"one": 0}
    assert office.show("one")["run"]["model"] == "tiny"


def test_what_is_no_ledger_is_told_and_the_others_are_imported(office, tmp_path):
    office.run("one")
    (tmp_path / "empty").mkdir()
    found = office.add(tmp_path / "empty", tmp_path / "nowhere", office.directory, code=2)
    assert found == {str(tmp_path / "empty"): "refused", str(tmp_path / "nowhere"): "refused", "one": "added"}
    assert office.told.count("not a ledger") == 2


def test_a_ledger_of_a_newer_auditor_is_told(office):
    run = office.run("one")
    path = run.path()
    path.write_bytes(path.read_bytes().replace(b'"auditor.ledger/3"', b'"auditor.ledger/4"', 1))
    assert set(office.add(code=2).values()) == {"refused"}
    assert "Install the version" in office.told


def test_names_that_no_database_holds(office):
    office.run("one", model="nul \0 and half \ud83d of a character")
    office.add()
    assert office.show("one")["run"]["model"] == "nul \ufffd and half \ufffd of a character"


def test_ledgers_are_found_below_a_directory(tmp_path):
    for name in ("b/segments", "a/deep/segments", "a/deep/segments/segments", "c/nothing"):
        (tmp_path / name).mkdir(parents=True)
    assert list(ledgers_below(tmp_path)) == [tmp_path / "a" / "deep", tmp_path / "b"]
    assert list(ledgers_below(tmp_path / "c")) == [tmp_path / "c"]


def test_what_cannot_be_looked_into_is_told(office, monkeypatch):
    """Whoever runs the tests as root may look into everything."""
    office.run("one")
    (office.directory / "closed").mkdir()
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = office.add(code=2)
    assert found == {"one": "added", str((office.directory / "closed").resolve()): "refused"}


def test_a_ledger_that_vanishes_while_it_is_read(office, monkeypatch):
    office.run("one")

    def gone(*arguments, **named):
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(entry, "read_ledger", gone)
    assert list(office.add(code=2).values()) == ["refused"]
    assert "No such file or directory" in office.told


def test_a_process_that_is_killed_while_it_verifies(office, place, monkeypatch):
    monkeypatch.setattr(importing, "_BATCH", 1)
    office.run("one")
    many = [office.directory / "one"] * 2000
    with open_index(place, Access.MAKE) as database:
        coming = add(database, many, processes=2)
        assert next(coming).outcome == "added"
        for child in multiprocessing.active_children():
            os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(IndexUnusable, match="was killed"):
            list(coming)
    assert office.amounts() == {"one": SIZE_4}


def start(office, *directories):
    """An import in a process of its own."""
    command = [sys.executable, "-m", "auditor", "index", "add", *map(str, directories), "--to", office.place]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err.decode()
    return out.decode()


def test_several_processes_verify_what_one_does(office, tmp_path):
    for number in range(70):  # more than are verified in one process
        office.run(f"run-{number:02}", intervals=1)
    assert "70 added" in finish(start(office, office.directory))
    of_many = office.content()
    assert len(of_many["auditor_runs"]) == 70
    office.place = office.place.replace("index.sqlite3", "other.sqlite3")
    for first in (60, 30, 0):
        found = office.add(*(office.directory / f"run-{number:02}" for number in range(first, min(first + 30, 70))))
        assert set(found.values()) <= {"added", "unchanged"}
    assert office.content() == of_many


def test_two_imports_at_once(office):
    for number in range(12):
        office.run(f"run-{number:02}", intervals=1)
    both = [start(office, office.directory) for _ in range(2)]
    told = [finish(process) for process in both]
    assert sorted("added" in one for one in told) != [False, False]
    content = office.content()
    office.index("rebuild")
    assert office.content() == content
    assert len(content["auditor_runs"]) == 12


ONE_BY_ONE = """
import sys
from auditor.cli.main import main
from auditor.index import importing
importing._BATCH = 1
main(["index", "add", *sys.argv[1:]])
"""


@pytest.mark.parametrize("stored", [1, 3, 6])
def test_an_import_that_is_killed_leaves_an_index_that_the_next_completes(office, stored):
    """Each ledger is a batch of its own; the import is killed at some moment after so many."""
    for number in range(8):
        office.run(f"run-{number:02}", intervals=1)
    office.add(office.directory / "run-00")
    command = [sys.executable, "-c", ONE_BY_ONE, str(office.directory), "--to", office.place]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(office.content()["auditor_runs"]) < stored and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(60)
    kept = office.content()
    ids = {row[0] for row in kept["auditor_runs"]}
    assert stored <= len(ids) <= 8
    for table in ("auditor_segments", "auditor_buckets", "auditor_devices"):
        assert {row[0] for row in kept[table]} == ids, table
    office.add()
    content = office.content()
    office.index("rebuild")
    assert office.content() == content
    assert len(content["auditor_runs"]) == 8
