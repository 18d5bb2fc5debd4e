"""`auditor merge`: sums from the signed ends of segments; equal to reading all of it, wherever that finds it sound."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditor.cli.main import main
from auditor.errors import AuditorError, NotALedger
from auditor.ledger import read_ledger
from auditor.ledger.book import TOTALS_EVERY
from auditor.ledger.ends import SEAL, TOTALS, WHOLE, read_sum
from auditor.ledger.keys import load_or_create
from auditor.ledger.log import Draft
from auditor.ledger.merging import merge
from auditor.ledger.merkle import Frontier
from auditor.ledger.notes import Signer
from auditor.ledger.rotation import make_rotation
from auditor.ledger.workers import spread
from auditor.lines import write_record
from auditor.records import Seal
from auditor.resources import tree
from tests.ledger.conftest import Run, add_placed, records_of


def agrees(run):
    """The sum, which is that of reading everything."""
    merged = merge([run.directory])
    reading = read_ledger(run.directory, recount=None)
    assert merged.operations == reading.operations
    assert (merged.runs[0].steps, merged.runs[0].ended) == (reading.steps, reading.ended)
    return merged


def test_sealed_segments_are_summed_by_their_seals(run):
    for rank in range(3):
        run.segment(TOTALS_EVERY + 3, rank=rank, expected_ranks=3, size=4 + rank)
    run.launcher(3)
    merged = agrees(run)
    assert merged.verdict is None
    assert merged.runs[0].sources == {SEAL: 3, TOTALS: 0, WHOLE: 1}
    assert merged.operations.total == sum(96 * (4 + rank) * 3 * (TOTALS_EVERY + 3) for rank in range(3))


def test_what_was_never_sealed_is_summed_by_its_last_totals_and_what_follows(run):
    book = run.book()
    for number in range(2 * TOTALS_EVERY + 7):
        run.interval(book, number)
        if number > 2 * TOTALS_EVERY:
            book.gap("thread", f"thread {number}", lower_bound=True)
    run.interval(book, 2 * TOTALS_EVERY + 7, size=9)  # a tally that stands behind the totals
    book.close()
    merged = agrees(run)
    assert merged.runs[0].sources == {SEAL: 0, TOTALS: 1, WHOLE: 0}
    assert merged.verdict == "INCOMPLETE"
    assert "never closed" in merged.findings[0].text
    assert any("note 6 gaps" in finding.text for finding in merged.findings)


def test_a_tally_that_stands_further_before_has_the_segment_read_whole(run):
    book = run.book()
    run.interval(book, 0, size=9)
    for number in range(1, 2 * TOTALS_EVERY + 2):
        run.interval(book, number)
    run.interval(book, 2 * TOTALS_EVERY + 2, size=9)
    book.close()
    assert agrees(run).runs[0].sources == {SEAL: 0, TOTALS: 0, WHOLE: 1}


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(min_value=0, max_value=2000), zeros=st.integers(min_value=0, max_value=40))
def test_whatever_a_crash_leaves_comes_to_the_same_as_reading_all_of_it(short_totals, cut, zeros):
    run, whole = short_totals
    run.path().write_bytes(whole[: len(whole) - cut] + b"\0" * zeros)
    agrees(run)


@pytest.fixture
def short_totals(run, monkeypatch):
    monkeypatch.setattr("auditor.ledger.book.TOTALS_EVERY", 3)
    book = run.book()
    for number in range(20):
        run.interval(book, number, size=4 + number % 2)
        book.hardware("observed", "GPU-1", {"energy_mj": str(number)})
    book.close()
    return run, run.path().read_bytes()


@pytest.mark.parametrize("at", [-1, -40, -200, -400])
def test_an_end_that_was_changed_is_found_by_reading_all_of_it(run, at):
    run.segment(TOTALS_EVERY + 1)
    data = bytearray(run.path().read_bytes())
    data[at] ^= 1
    run.path().write_bytes(data)
    merged = merge([run.directory])
    assert merged.verdict == "INVALID"
    assert merged.runs[0].sources[WHOLE] == 1


def test_another_first_record_is_found(run):
    run.segment(TOTALS_EVERY + 1)
    data = run.path().read_bytes()
    run.path().write_bytes(data.replace(b'"model":"tiny"', b'"model":"Tiny"', 1))
    with pytest.raises(AuditorError):
        merge([run.directory])


def test_a_middle_that_was_changed_shows_only_to_verify(run):
    """What merge says that it does not check."""
    run.segment(TOTALS_EVERY + 1)
    data = run.path().read_bytes()
    at = data.index(b'"interval",[400,')
    run.path().write_bytes(data[: at - 3] + bytes([data[at - 3] ^ 1]) + data[at - 2 :])
    assert merge([run.directory]).verdict is None
    assert run.judge() == "INVALID"


def test_a_seal_of_another_amount_under_its_own_signature_shows_only_to_verify(run):
    run.segment(2)
    records = records_of(run.path())
    draft = Draft(Frontier(), Signer.of(records[0].body), run.key)
    for record in records:
        body = record.body
        if isinstance(body, Seal):
            rows = tuple((*row[:4], "7", "0", "0") for row in body.operations)
            record = replace(record, body=replace(body, operations=rows))
        add_placed(draft, write_record(record))
        draft.sign()
    run.path().write_bytes(bytes(draft.data))
    assert merge([run.directory]).operations.total == 14
    assert run.judge() == "INVALID"


def test_a_seal_of_a_segment_is_no_seal_of_another(run):
    """The end of one rank's segment, put behind the beginning of another's."""
    for rank in range(2):
        run.segment(TOTALS_EVERY + 1 + rank, rank=rank, expected_ranks=2)
    first, second = (run.path(f"rank-0000{rank}.attempt-000.jsonl").read_bytes() for rank in range(2))
    end = first.rindex(b"\n", 0, first.rindex(b'"seal",{'))
    other = second.rindex(b"\n", 0, second.rindex(b'"seal",{'))
    run.path("rank-00000.attempt-000.jsonl").write_bytes(first[:end] + second[other:])
    assert merge([run.directory]).verdict == "INVALID"


def test_a_key_that_followed_another_vouches_for_the_end(run, tmp_path):
    following = load_or_create(tmp_path / "next.pem")
    book = run.book()
    run.interval(book, 0)
    book.rotate(make_rotation(run.key, following.public_hex, number=1, made_us=1), following)
    run.interval(book, 1)
    book.seal("finished")
    merged = agrees(run)
    assert merged.runs[0].sources[SEAL] == 1
    assert merged.keys == (following.public_hex,)


# Several directories, and what is wrong with them.


@pytest.fixture
def parts(tmp_path):
    """A run whose ranks wrote into two directories."""
    key = load_or_create(tmp_path / "key.pem")
    both = [Run(tmp_path / name, key) for name in ("a", "b")]
    for rank in range(4):
        both[rank // 2].segment(rank=rank, expected_ranks=4)
    return both


def test_parts_of_a_run_in_several_directories_are_one(parts):
    merged = merge([part.directory for part in parts])
    assert len(merged.runs) == 1
    assert (merged.runs[0].ranks_seen, merged.verdict) == (4, None)
    assert merged.operations.total == 4 * 96 * 4 * 3 * 2


def test_several_runs_are_told_apart_and_added_up(parts, tmp_path):
    other = Run(tmp_path / "c", parts[0].key, run_id="run-2")
    other.segment(size=5)
    merged = merge([*(part.directory for part in parts), other.directory])
    assert [run.run_id for run in merged.runs] == ["run-1", "run-2"]
    assert merged.operations.total == 4 * 96 * 4 * 6 + 96 * 5 * 6


def test_a_directory_that_cannot_be_read_is_named_and_the_rest_adds_up(parts, tmp_path, capsys):
    assert main(["merge", str(parts[0].directory), str(tmp_path / "gone"), str(parts[1].directory)]) == 0
    shown = capsys.readouterr().out
    assert "INCOMPLETE" in shown
    assert f"{tmp_path / 'gone'}: not a ledger" in shown
    assert f"{4 * 96 * 4 * 6:,}" in shown


def test_where_none_can_be_read_there_is_no_sum(tmp_path, capsys):
    with pytest.raises(NotALedger):
        merge([tmp_path / "gone"])
    assert main(["merge", str(tmp_path / "gone")]) == 2


def test_a_copy_is_counted_once(parts, tmp_path):
    merged = merge([parts[0].directory, parts[0].directory, shutil.copytree(parts[0].directory, tmp_path / "copy")])
    assert merged.operations.total == 2 * 96 * 4 * 6
    assert any("is a copy of" in finding.text for finding in merged.findings)


def test_one_rank_twice_is_named_and_counted_as_often(parts):
    parts[1].segment(rank=0, expected_ranks=4)
    merged = merge([part.directory for part in parts])
    assert merged.verdict == "INVALID"
    assert "two different segments for the same attempt" in merged.findings[0].text
    assert merged.operations.total == 5 * 96 * 4 * 6


def test_a_segment_of_another_job_is_named_and_the_rest_adds_up(parts):
    Run(parts[0].directory, parts[0].key, run_id="another").segment(rank=7, expected_ranks=8)
    merged = merge([part.directory for part in parts])
    assert merged.verdict == "INVALID"
    assert "belongs to another run, another" in merged.findings[0].text
    assert merged.operations.total == 4 * 96 * 4 * 6


def test_other_tables_of_formulas_and_versions_are_named(run):
    run.segment(rank=0, expected_ranks=2)
    run.segment(rank=1, expected_ranks=2, digests={"formulas": "0" * 64}, versions={"auditor": "0.0.9"})
    texts = " ".join(finding.text for finding in agrees(run).findings)
    assert "2 tables of formulas" in texts
    assert "000000000000: 1" in texts
    assert "0.0.9: 1" in texts


def test_missing_ranks_and_attempts_are_named(run):
    for rank, attempt in ((0, 0), (0, 2), (2, 0)):
        run.segment(rank=rank, attempt=attempt, expected_ranks=3)
    texts = " ".join(finding.text for finding in merge([run.directory]).findings)
    assert "1 of 3 ranks left no segment: 1." in texts
    assert "Of 3 attempts of rank 0, 1 left no segment" in texts
    assert "So the total is a floor" in texts


def test_what_is_no_segment_by_its_name_is_not_passed_over(run):
    run.segment()
    run.segment(attempt=1)
    run.path("rank-00000.attempt-001.jsonl").rename(run.path("rank-00000.attempt-001.jsonl.gz"))
    merged = merge([run.directory])
    assert merged.verdict == "INCOMPLETE"
    assert "rank-00000.attempt-001.jsonl.gz is not a segment's name" in merged.findings[0].text


def test_as_json(parts, capsys):
    assert main(["merge", *(str(part.directory) for part in parts), "--format", "json", "--jobs", "1"]) == 0
    plain = json.loads(capsys.readouterr().out)
    schema = json.loads((tree("configs") / "schema" / "merge.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(plain)
    assert plain["schema"] == "auditor.merge/1"
    assert plain["recounted"] is False
    assert plain["operations"]["total"] == str(4 * 96 * 4 * 6)
    assert plain["runs"][0]["segments"] == {
        "all": 4,
        "lines": plain["runs"][0]["segments"]["lines"],
        SEAL: 4,
        TOTALS: 0,
        WHOLE: 0,
    }


# Work in several processes.


def _alone(script: str) -> str:
    """What a process that runs no other threads says; work is spread from such ones only."""
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=100).stdout


def test_what_comes_back_stands_in_order():
    said = _alone("""
from auditor.ledger.workers import spread
import os
def work(number):
    return number, os.getpid()
found = list(spread(work, range(50), workers=3, each=4))
assert [number for number, _ in found] == list(range(50))
pids = {pid for _, pid in found}
assert os.getpid() not in pids
print(len(pids))
""")
    assert int(said) <= 3


def test_what_goes_wrong_in_a_process_is_told_here():
    said = _alone("""
import os
from auditor.errors import AuditorError, NotALedger
from auditor.ledger.workers import spread
def fail(number):
    if number == 7:
        raise NotALedger("number 7", remedy="take another")
def die(number):
    if number == 7:
        os._exit(1)
for work in fail, die:
    try:
        list(spread(work, range(20), workers=2))
    except AuditorError as error:
        print(type(error).__name__, error, error.remedy)
""")
    wrong, ended = said.splitlines()
    assert wrong == "NotALedger number 7 take another"
    assert ended.startswith("LedgerError a process that read segments was ended before it was done")


def test_beside_other_threads_work_stays_here():
    """A fork would inherit the locks that they hold."""
    done = threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()
    try:
        assert set(spread(lambda _: os.getpid(), range(9), workers=3)) == {os.getpid()}
    finally:
        done.set()
        other.join()


def test_whoever_is_killed_leaves_nobody_behind():
    """The processes that read end with the one that asked them."""
    slow = subprocess.Popen([sys.executable, "-c", SLOW], stdout=subprocess.PIPE, text=True)
    pids = [int(slow.stdout.readline()) for _ in range(2)]
    slow.kill()
    slow.wait()
    until = time.monotonic() + 30
    while any(map(_runs, pids)) and time.monotonic() < until:
        time.sleep(0.02)
    assert not any(map(_runs, pids))
    slow.stdout.close()


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


SLOW = """
import os, time
from auditor.ledger.workers import spread
def work(number):
    if number < 2:
        print(os.getpid(), flush=True)
    time.sleep(0.2)
list(spread(work, range(1000), workers=2))
"""


def test_sums_are_the_same_in_several_processes(run):
    for rank in range(6):
        run.segment(rank=rank, expected_ranks=6)
    said = _alone(f"""
from pathlib import Path
from auditor.ledger.merging import merge
directories = [Path({str(run.directory)!r})]
print(merge(directories, workers=3) == merge(directories))
""")
    assert said == "True\n"


def test_an_empty_file_says_so_and_is_not_missed_as_well(run):
    run.segment()
    run.launcher(2)
    empty = run.path("rank-00001.attempt-000.jsonl")
    empty.write_bytes(b"")
    assert "no whole first record" in read_sum(empty).cause
    texts = [finding.text for finding in merge([run.directory]).findings]
    assert any("no whole first record" in text for text in texts)
    assert not any("missing here" in text for text in texts)


@pytest.mark.parametrize("role", ["launcher", "process"])
def test_of_as_many_segments_of_two_runs_the_one_is_taken_that_reading_takes(run, role):
    run.segment()
    other = Run(run.directory, run.key, run_id="another")
    other.launcher(1) if role == "launcher" else other.segment(role=role)
    assert agrees(run).runs[0].run_id == "run-1"


def test_a_run_is_named_as_its_own_processes_name_it(run):
    run.segment(role="process", model="distilled", purpose="fine-tuning")
    run.launcher(1)
    reading = read_ledger(run.directory, recount=None)
    assert (reading.model, reading.purpose) == ("distilled", "fine-tuning")
    assert (agrees(run).runs[0].model, agrees(run).runs[0].purpose) == (reading.model, reading.purpose)
