"""A run that is written is followed to the operation, over all its processes; levels are found by their sum."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from auditor.errors import RuleError
from auditor.levels import parse_levels
from auditor.records import Alert
from auditor.rules import pack
from auditor.rules.cases import Subject
from auditor.tally import Phase
from auditor.warning.following import Following
from auditor.warning.lookout import Lookout
from auditor.warning.passing import check_rules, marks
from tests.warning.conftest import Course, read

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from auditor.rules.model import RuleSet
    from auditor.warning.passing import Mark

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
STEADY = [(1, 10, 10**21)] * 8


@pytest.fixture(autouse=True)
def _packs_are_read_once(shipped: RuleSet, monkeypatch: pytest.MonkeyPatch) -> None:
    load = pack.load
    monkeypatch.setattr("auditor.rules.load", lambda paths: shipped if paths == pack.shipped() else load(paths))


def lookout(directory: Path, levels: str, answers: Path | None = None) -> Lookout:
    return Lookout(directory, "run-1", parse_levels(levels), (), answers)


def test_following_comes_to_what_reading_comes_to_after_every_interval(write: Any) -> None:
    following = Following(write.directory, "run-1")
    following.look()
    assert following.operations.total == 0
    for attempt, rank in ((0, 0), (0, 1), (1, 0), (1, 1)):
        courses = [Course(hours=STEADY[: 3 + rank], rank=rank, attempt=attempt, expected_ranks=2)]
        write.write(courses, live=attempt == 1)
        following.look()
        assert following.operations == read(write.directory).operations
    assert following.ranks == (2, 2)
    before = following.operations
    following.look()
    assert following.operations == before


def test_following_reads_only_what_is_vouched_for_and_stops_at_what_is_false(write: Any) -> None:
    write.write([Course(hours=STEADY)])
    (path,) = (write.directory / "segments").iterdir()
    whole = path.read_bytes()
    following = Following(write.directory, "run-1")
    for end in range(0, len(whole), 997):  # it may see a line before it is whole
        path.write_bytes(whole[:end])
        following.look()
    path.write_bytes(whole)
    following.look()
    assert following.operations.total == 8 * 10**21
    path.write_bytes(whole.replace(str(10**21).encode(), str(10**22).encode(), 1))
    again = Following(write.directory, "run-1")
    again.look()
    assert again.operations.total == 0


def test_another_run_in_the_directory_is_not_counted(write: Any) -> None:
    write.write([Course(hours=STEADY)])
    following = Following(write.directory, "another")
    following.look()
    assert following.operations.total == 0


def test_the_sum_over_the_ranks_passes_a_level_that_none_passes_alone(write: Any) -> None:
    write.write([Course(hours=STEADY, expected_ranks=3)])
    found = lookout(write.directory, "1e22 eu_ai_act_art51=0.1%")
    assert found.look(NOW) == []
    write.write([Course(hours=STEADY, rank=1, expected_ranks=3)])
    passed = found.look(NOW)
    assert [one.mark.name for one in passed] == [f"executed@{10**22}", f"eu_ai_act_art51@{10**22}"]
    body = json.loads(passed[1].body)
    assert (body["ranks_seen"], body["ranks_expected"], body["counted"]) == (2, 3, str(16 * 10**21))
    assert body["title"].startswith("EU AI Act article 51(2)")
    assert "by 2 of 3 ranks" in passed[0].words
    assert found.look(NOW) == []  # each once
    assert len(found.passed) == 2


def test_whoever_was_told_before_a_restart_is_not_told_again_and_the_id_is_the_same(write: Any) -> None:
    write.write([Course(hours=STEADY)], live=True)
    first = lookout(write.directory, "1e21").look(NOW)
    again = lookout(write.directory, "1e21").look(NOW)
    assert first[0].body == again[0].body  # nothing was written of it yet
    write.left_open[0].append(first[0].record(["webhook"]))
    assert lookout(write.directory, "1e21").look(NOW) == []
    (alert,) = read(write.directory).segments[0].alerts
    assert alert == Alert(
        name=f"executed@{10**21}",
        level="1e21",
        rule="",
        at=str(10**21),
        counted=str(8 * 10**21),
        told="webhook",
    )


def test_earlier_training_counts_towards_a_level(write: Any, tmp_path: Path) -> None:
    write.write([Course(hours=STEADY)])
    answers = tmp_path / "answers.yaml"
    answers.write_text("schema: auditor.answers/1\nanswers:\n  prior_ops: 9e24\n")
    (passed,) = lookout(write.directory, "eu_ai_act_art51=90%", answers).look(NOW)
    assert passed.mark.counted_ops == 9 * 10**24 + 8 * 10**21


def test_each_law_has_its_own_count(write: Any) -> None:
    """Recomputing is left out by 4E091 and counted by California."""
    write.write([Course(hours=STEADY, phase=Phase.RECOMPUTE)])
    (passed,) = lookout(write.directory, "us_ear_4e091_2025=1e21 us_ca_sb53=1e21").look(NOW)
    assert passed.mark.rule == "us_ca_sb53"


def test_a_share_without_a_rule_is_of_every_line_that_binds(write: Any, shipped: RuleSet) -> None:
    def of(levels: str, day: str) -> list[Mark]:
        reading = read(write.directory)
        subject = Subject(
            ruleset=shipped,
            operations=reading.operations,
            as_of=datetime.fromisoformat(day).date(),
            answers={},
        )
        judged = [subject.judge(rule) for rule in shipped.rules if rule.threshold is not None]
        return marks(parse_levels(levels), judged, reading.operations.total, floor=False)

    write.write([Course(hours=STEADY)])
    assert "us_ny_raise_2026" not in {mark.rule for mark in of("80%", "2026-11-23")}
    assert "us_ny_raise_2026" in {mark.rule for mark in of("80%", "2027-01-01")}
    assert {mark.rule for mark in of("us_ny_raise_2026=80%", "2026-11-23")} == {"us_ny_raise_2026"}
    at, above = of("8000000000000000000000 8000000000000000000001", "2026-11-23")
    assert (at.passed, above.passed) == (True, False)
    assert len(of("80% us_ca_sb53=80% us_ca_sb53=8e25", "2026-11-23")) == len(of("80%", "2026-11-23"))


def test_a_level_of_a_rule_that_is_none_is_refused(shipped: RuleSet) -> None:
    with pytest.raises(RuleError, match="did you mean 'us_ca_sb53'"):
        check_rules(parse_levels("us_ca_sb35=80%"), shipped)


@pytest.fixture
def ask(write: Any, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    from auditor.cli.main import main

    write.write([Course(hours=[(1, 100, 10**21)] * 48)])

    def run(verb: str, *arguments: str) -> tuple[int, str]:
        code = main([verb, str(write.directory), "--as-of", "2026-11-23", *arguments])
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


def price(monkeypatch: pytest.MonkeyPatch) -> None:
    """The made-up operator has no formula: what was recorded stands."""
    monkeypatch.setattr("auditor.cli.reading.recount", lambda: None)


def test_check_and_report_say_it_and_end_with_3_where_a_level_is_passed(
    ask: Callable[..., tuple[int, str]],
    monkeypatch: pytest.MonkeyPatch,
    schema_of: Callable[[str], dict[str, Any]],
) -> None:
    from jsonschema import Draft202012Validator

    price(monkeypatch)
    assert ask("check")[0] == 0
    code, text = ask("check", "--plan", "end=2040-12-31", "--alert", "eu_ai_act_art51=0.4%", "--alert", "1e24")
    assert code == 3
    flat = " ".join(text.split())
    assert "Due on 2026-12-07: it is known that the line will be reached on 2026-11-23, and 14 days are given." in flat
    assert "2.778e17 operations per second over the whole time" in flat
    assert "eu_ai_act_art51 eu_ai_act_art51=0.4% 4.000e22 4.800e22 yes" in flat
    assert "all executed 1e24 1.000e24 4.800e22 no" in flat
    for verb, form in (("check", ("--json",)), ("report", ("--format", "json"))):
        code, text = ask(verb, "--plan", "end=2040-12-31", "--alert", "1%", *form)
        assert code == 3
        found = json.loads(text)
        Draft202012Validator(schema_of(verb)).validate(found)
        line = next(one for one in found["warning"]["lines"] if one["rule"] == "eu_ai_act_art51")
        assert line["met"] is True
        assert line["rates"]["mean"] == "2500000000000000000/9"
        assert [duty["due"] for duty in line["duties"]] == ["2026-12-07", "2026-11-01", "2027-08-02"]
    assert ask("report", "--alert", "1e24")[0] == 0


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ((), "not projected: the run has ended, and no plan says that it goes on."),
        (("--plan", "end=2040-12-31"), "its line is reached on 2028-01-"),
        (("--plan", "end=2040-12-31"), "; that is within the plan (until the end of 2040-12-31 (UTC))."),
        (("--plan", "operations=5e24"), "; the plan (5,000,000,000,000,000,000,000,000 operations) ends before that."),
    ],
)
def test_an_explanation_says_when_the_line_is_reached(
    ask: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch, plan: tuple[str, ...], words: str
) -> None:
    price(monkeypatch)
    _, text = ask("check", "--explain", "eu_ai_act_art51", *plan)
    assert words in " ".join(text.partition("authority")[0].split())
    assert "10^25" not in text.partition("authority")[0]
    _, other = ask("check", "--explain", "us_ear_country_cap_2025", *plan)
    assert "is reached" not in other.partition("authority")[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["end=tomorrow"], "expected a date such as 2025-05-15"),
        (["step=1e6"], "did you mean 'steps'"),
        (["steps=1e6", "end=2027-01-01"], "expected one of end, steps, tokens, operations"),
        (["tokens=1e13"], "expected tokens_per_step beside tokens"),
        (["steps=0"], "expected a whole number above 0"),
        (["steps=1.5"], "expected a whole number, such as 1.5e13"),
        (["steps"], "expected NAME=VALUE"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(ask: Callable[..., tuple[int, str]], words: list[str], said: str) -> None:
    code, text = ask("check", *(part for word in words for part in ("--plan", word)))
    assert code == 2
    assert said in text


def test_a_plan_in_the_answers_names_its_line(
    ask: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    price(monkeypatch)
    answers = tmp_path / "answers.yaml"
    answers.write_text(
        "schema: auditor.answers/1\nplan:\n  tokens: 1e13\n  tokens_per_step: 4e6\n  source: the board\n"
    )
    code, text = ask("check", "--answers", str(answers))
    assert code == 0
    flat = " ".join(text.split())
    assert "10,000,000,000,000 tokens at 4,000,000 a step, which are 2,500,000 steps; answers.yaml, line 3" in flat
    assert ": the board; done on" in flat
