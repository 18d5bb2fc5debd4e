"""A report and a check from the signed ends of segments: the same sums and sentences, and never said to be more."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from auditor.cli.main import main
from auditor.errors import NotALedger, UsageError
from auditor.formulas.pricing import Pricer
from auditor.ledger import SegmentBook, SegmentWriter
from auditor.ledger.book import TOTALS_EVERY
from auditor.ledger.ends import SEAL, TOTALS, WHOLE
from auditor.ledger.keys import load_or_create
from auditor.ledger.merging import merge
from auditor.ledger.summed import read_ends
from auditor.records import Weights
from auditor.report import html, terminal
from auditor.report import view as views
from auditor.rules import pack
from auditor.tally import Phase
from tests.report.conftest import (
    AS_OF,
    CPU,
    EVALUATION,
    GENERATED,
    HERE,
    STEP,
    Writing,
    _genesis,
    calls_of,
    read,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from auditor.ledger import Reading
    from auditor.report.view import View
    from auditor.rules.model import RuleSet

LOADED = Weights(
    event="loaded",
    name="base.pt",
    form="torch",
    step=0,
    digest="b" * 64,
    tensors="",
    size_bytes=3,
    files=(("b" * 64, 3, ""),),
    missed="",
)
GAP = ("thread", "a thread was not seen", True)
WHOLE_RUNS = {
    "one rank": Writing(),
    "three ranks": Writing(ranks=3, written_ranks=3, devices=(CPU,)),
    "a rank missing": Writing(ranks=3, written_ranks=2),
    "never closed": Writing(sealed=False),
    "long": Writing(intervals=((2, STEP, 2),) * (TOTALS_EVERY + 5), sealed=False),
    "with gaps": Writing(gaps=(GAP, GAP, ("probe", "nothing was measured", False))),
    "without steps": Writing(intervals=((0, EVALUATION, 1),)),
    "unpriced": Writing(intervals=((1, calls_of({("2x3x4", Phase.FORWARD): 1}, op="aten::unheard_of"), 1),)),
}


@pytest.fixture(scope="module")
def shipped() -> RuleSet:
    return pack.load()


@pytest.fixture(autouse=True)
def _loaded_once(shipped: RuleSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auditor.rules.load", lambda _: shipped)


@pytest.fixture
def both(tmp_path: Path, h200: dict[str, str]) -> Callable[[Writing], tuple[Reading, Reading]]:
    """A ledger read whole, and by its ends."""

    def make(what: Writing) -> tuple[Reading, Reading]:
        directory = write(tmp_path / "ledger", dataclasses.replace(what, devices=(*what.devices, h200)))
        return read(directory), read_ends(directory)

    return make


def view_of(reading: Reading, law: Any, chips: Any) -> View:
    return views.build(reading, law, chips, as_of=AS_OF, generated=GENERATED)


@pytest.mark.parametrize("name", WHOLE_RUNS)
def test_sums_laws_and_hardware_are_those_of_reading_all_of_it(
    both: Any, chips: Any, shipped: Any, ruleset: Any, name: str
) -> None:
    whole, ends = both(WHOLE_RUNS[name])
    assert ends.operations == whole.operations
    for law in (ruleset, shipped) if name in ("three ranks", "with gaps") else (ruleset,):
        full, quick = view_of(whole, law, chips), view_of(ends, law, chips)
        assert quick.rules == full.rules
        assert quick.cases == full.cases
    for field in ("hardware", "hardware_groups", "machines", "unpriced", "reached", "nearest", "complete", "floor"):
        assert getattr(quick, field) == getattr(full, field), field
    assert quick.run == full.run
    assert quick.ledger.head == full.ledger.head
    assert quick.ledger.keys == full.ledger.keys


@pytest.mark.parametrize("name", WHOLE_RUNS)
def test_the_verdict_is_that_of_merging_and_never_one_of_a_record_that_was_read(both: Any, name: str) -> None:
    whole, ends = both(WHOLE_RUNS[name])
    merged = merge([ends.directory])
    assert ends.verdict == (merged.verdict or "SUMMED")
    assert [reason for reason in ends.reasons if "signed ends" not in reason] == [one.text for one in merged.findings]
    assert ends.ends == merged.runs[0].sources
    assert (whole.verdict == "INCOMPLETE") == (ends.verdict == "INCOMPLETE")


def test_what_the_middle_says_is_not_looked_at(both: Any, tmp_path: Path) -> None:
    _, before = both(Writing(intervals=((2, STEP, 2),) * (2 * TOTALS_EVERY)))
    (path,) = (tmp_path / "ledger" / "segments").glob("rank-*")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + b"\0" + data[len(data) // 2 + 1 :])
    assert read(tmp_path / "ledger").verdict == "INVALID"
    after = read_ends(tmp_path / "ledger")
    assert after == before
    assert after.ends == {SEAL: 1, TOTALS: 0, WHOLE: 1}


def test_weights_that_were_loaded_leave_every_law_of_the_model_open(both: Any, chips: Any, shipped: Any) -> None:
    whole, ends = both(Writing(weights=(LOADED,)))
    assert view_of(ends, shipped, chips).ancestry.unknown
    verdicts = {finding.id: finding.verdict for finding in view_of(ends, shipped, chips).rules}
    assert verdicts == {finding.id: finding.verdict for finding in view_of(whole, shipped, chips).rules}
    assert "undetermined" in verdicts.values()


@pytest.mark.parametrize(
    "what",
    [
        {"weights": (LOADED,)},
        {"rolled_back": True},
        {"gaps": (("weights", "checkpoints were not noticed", False),)},
        {"weights": (LOADED,), "sealed": False, "intervals": ((1, STEP, 1),) * (TOTALS_EVERY + 3)},
    ],
)
def test_no_law_is_better_off_by_the_ends_where_a_run_had_a_past(
    both: Any, chips: Any, shipped: Any, what: dict[str, Any]
) -> None:
    whole, ends = both(Writing(**what))
    open_by_ends = {one.id for one in view_of(ends, shipped, chips).rules if one.verdict == "undetermined"}
    open_by_all = {one.id for one in view_of(whole, shipped, chips).rules if one.verdict == "undetermined"}
    assert open_by_ends >= open_by_all
    assert any("weights or states were loaded" in gap.message for gap in view_of(ends, shipped, chips).gaps)


def test_totals_now_and_then_say_how_often_weights_were_loaded(tmp_path: Path) -> None:
    key = load_or_create(tmp_path / "key.pem")
    book = SegmentBook(SegmentWriter.create(tmp_path / "ledger", _genesis(Writing(), "rank", 0), key))
    book.weights(LOADED)
    for number in range(TOTALS_EVERY + 2):
        course = {"first_step": number + 1, "steps": 1, "elapsed_us": number}
        book.record_interval(**course, parts=[(STEP, 1)], price=Pricer().price)
    book.weights(LOADED)
    book.close()
    ends = read_ends(tmp_path / "ledger")
    assert ends.ends == {SEAL: 0, TOTALS: 1, WHOLE: 0}
    assert [(gap.cause, gap.times) for gap in ends.gaps] == [("weights", 2)]


def test_a_law_that_leaves_out_what_was_given_up_asks_for_all_of_it(both: Any, chips: Any, tmp_path: Path) -> None:
    own = tmp_path / "law.yaml"
    text = (HERE / "law.yaml").read_text(encoding="utf-8")
    own.write_text(text.replace("    builds_on_earlier: []\n", "    builds_on_earlier: []\n    abandoned: left_out\n"))
    law = pack.load([own])
    _, ends = both(Writing(rolled_back=True))
    with pytest.raises(UsageError, match="not all that was given up counts there"):
        view_of(ends, law, chips)


def test_nothing_that_only_the_middle_says_is_drawn_as_if_it_were_empty(
    both: Any, chips: Any, ruleset: Any, check: Any
) -> None:
    whole, ends = both(Writing())
    full, quick = view_of(whole, ruleset, chips), view_of(ends, ruleset, chips)
    pages = [(terminal.render(full), terminal.render(quick)), (html.render(full), html.render(quick))]
    for of_all, of_ends in pages:
        flat = re.sub(r"\s+", " ", of_ends)
        assert re.search(r"not recounted\.(</strong>)? Summed from the signed ends of segments", flat, re.IGNORECASE)
        assert "1 by their seals, 1 read whole" in flat
        assert "no pace" in flat
        assert "Second opinion" in of_all
        assert "Second opinion" not in of_ends
        assert not re.search(r"\b(verified|whole and signed|complete:|UNANCHORED|WITNESSED)", of_ends)
    assert "The total as it grew" in pages[1][0]
    assert "The total as it grew" not in pages[1][1]
    assert "Operations per step" not in pages[1][1]
    plain = check(quick)
    assert plain["ledger"]["recounted"] is False
    assert plain["ledger"]["ends"] == {"seal": 1, "totals": 0, "whole": 1}
    nothing = [plain["ledger"]["records"], plain["observed"], plain["coverage"], plain["ancestry"]["loaded"]]
    assert nothing == [None] * 4
    assert plain["warning"]["fault"].startswith("only the ends")
    assert check(full)["ledger"]["recounted"] is True


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return write(tmp_path / "ledger", Writing(ranks=2, written_ranks=2))


@pytest.mark.parametrize("verb", ["report", "check"])
def test_a_level_that_is_passed_ends_with_3_and_a_segment_of_another_run_with_4(
    ledger: Path, verb: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = [verb, str(ledger), "--from-ends", "--jobs", "2", "--as-of", "2026-11-22"]
    assert main(arguments) == 0
    assert "NOT RECOUNTED" in capsys.readouterr().out
    assert main([*arguments, "--alert", "1000"]) == 3
    foreign = dataclasses.replace(_genesis(Writing(), "rank", 7), run_id="another", nonce="x")
    SegmentBook(SegmentWriter.create(ledger, foreign, load_or_create(tmp_path / "key.pem"))).seal("finished")
    assert main([*arguments, "--alert", "1000"]) == 4
    assert "DO NOT RELY" in capsys.readouterr().out


def test_a_check_says_that_nothing_was_recounted_in_json_and_html(
    ledger: Path, root: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    page = tmp_path / "check.html"
    assert main(["check", str(ledger), "--from-ends", "--json", "--html", str(page)]) == 0
    plain = json.loads(capsys.readouterr().out)
    Draft202012Validator(json.loads((root / "configs/schema/check.schema.json").read_text())).validate(plain)
    assert (plain["ledger"], plain["recounted"]) == ("SUMMED", False)
    assert "NOT RECOUNTED" in page.read_text(encoding="utf-8")
    next((ledger / "segments").glob("rank-00001*")).unlink()
    assert main(["check", str(ledger), "--from-ends"]) == 0
    assert "1 of 2 ranks left no segment: 1." in capsys.readouterr().out


@pytest.mark.parametrize(
    "asked", [["--resume", "FILE"], ["--require", "INCOMPLETE"], ["--key", "0" * 64], ["--head", "f"]]
)
def test_what_only_all_of_a_ledger_shows_is_refused_beside_ends(
    ledger: Path, asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(ledger), "--from-ends", *asked]) == 2
    assert f"{asked[0]} with --from-ends" in capsys.readouterr().err


def test_the_runs_of_a_family_are_all_read_by_their_ends(
    ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = dataclasses.replace(_genesis(Writing(), "rank", 0), run_id="base", model="base", nonce="b")
    book = SegmentBook(SegmentWriter.create(tmp_path / "base", base, load_or_create(tmp_path / "key.pem")))
    book.seal("finished")
    assert main(["report", str(ledger), str(tmp_path / "base"), "--from-ends", "--format", "json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert [(one["run"], one["verdict"]) for one in plain["ancestry"]["ledgers"]] == [("base", "SUMMED")]


def test_where_there_is_no_ledger_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotALedger):
        read_ends(tmp_path)
