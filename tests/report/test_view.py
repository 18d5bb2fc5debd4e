from __future__ import annotations

import subprocess
import sys
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from auditor.rules import pack
from auditor.tally import Phase, Tally

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from auditor.report.view import View

MM = 2 * 64 * 32 * 16  # operations of one product of the fixtures
FORWARD, BACKWARD, RECOMPUTED, INFERENCE = 2 * 6 * MM, 4 * 6 * MM, 6 * MM, 3 * MM


def test_totals_are_those_of_the_products(make_view: Callable[..., View]) -> None:
    view = make_view()
    assert view.operations.total == FORWARD + BACKWARD + RECOMPUTED + INFERENCE
    assert view.operations.by_phase == {
        "forward": FORWARD,
        "backward": BACKWARD,
        "recompute": RECOMPUTED,
        "optimizer": 0,
        "inference": INFERENCE,
    }
    assert view.complete
    assert view.run.steps == 6
    assert view.run.exit_code == 0


def test_each_rule_counts_its_own_part(make_view: Callable[..., View]) -> None:
    findings = {finding.id: finding for finding in make_view().rules}
    assert findings["nowhere_weights"].counted_ops == FORWARD + BACKWARD
    assert findings["nowhere_weights"].fraction == Decimal(FORWARD + BACKWARD) / 10**26
    assert findings["nowhere_small"].counted_ops == FORWARD + BACKWARD + RECOMPUTED + INFERENCE


def test_reached_lines_and_the_next_one_are_kept_apart(make_view: Callable[..., View]) -> None:
    view = make_view()
    assert [finding.id for finding in view.reached] == ["nowhere_small"]
    assert view.nearest is not None
    assert view.nearest.id == "nowhere_weights"
    assert view.names == {
        "nowhere_weights": "Nowhere Weights Act",
        "nowhere_small": "Nowhere Small Models Act",
    }


def test_a_line_is_named_first_by_the_rule_on_whose_verdict_most_others_hang(make_view: Callable[..., View]) -> None:
    view = make_view(law=pack.load())
    assert list(view.lines) == sorted({finding.threshold_ops for finding in view.rules})
    assert sorted(rule for rules in view.lines.values() for rule in rules) == sorted(one.id for one in view.rules)
    assert view.lines[10**26][0] == "us_ear_4e091_2025"
    assert view.lines[10**26][-1] == "kr_ai_basic_act_decree", "nothing hangs on it"


def test_a_rules_past_is_told_up_to_the_day_of_the_report(make_view: Callable[..., View]) -> None:
    events = make_view().histories["nowhere_weights"]
    assert [(event.since, event.standing) for event in events] == [
        (date(2025, 1, 1), "in_force"),
        (date(2025, 5, 13), "codified_not_enforced"),
    ]


def test_an_operator_without_a_price_makes_every_verdict_below_a_line_undetermined(
    make_view: Callable[..., View], tally_of: Callable[..., Tally]
) -> None:
    unknown = tally_of({("2x3x4", Phase.FORWARD): 5}, op="mylib::unheard_of")
    view = make_view(intervals=((1, unknown, 3),))
    assert view.unpriced == (("mylib::unheard_of", 15),)
    assert not view.complete
    assert {finding.verdict for finding in view.rules} == {"undetermined"}
    assert view.operations.total == 0


def test_a_missing_rank_makes_the_count_a_floor(make_view: Callable[..., View]) -> None:
    view = make_view(ranks=2, written_ranks=1)
    assert (view.ledger.verdict, view.ledger.ranks_seen, view.ledger.ranks_expected) == ("INCOMPLETE", 1, 2)
    assert not view.complete
    assert all(finding.lower_bound for finding in view.rules)


def test_several_ranks_add_up(make_view: Callable[..., View]) -> None:
    view = make_view(ranks=3, written_ranks=3)
    assert view.operations.total == 3 * (FORWARD + BACKWARD + RECOMPUTED + INFERENCE)
    assert view.run.steps == 6
    assert [device.rank for device in view.hardware] == [0, 1, 2]
    assert [group.ranks for group in view.hardware_groups] == [(0, 1, 2)]


def test_a_machine_without_a_gpu_is_not_judged(make_view: Callable[..., View]) -> None:
    (device,) = make_view().hardware
    assert (device.kind, device.chip, device.tpp, device.eccn) == ("cpu", None, None, None)
    assert "no accelerator seen" in device.basis


def test_a_known_chip_is_rated_and_classed(make_view: Callable[..., View], h200: dict[str, str]) -> None:
    (device,) = make_view(devices=(h200,)).hardware
    assert device.chip is not None
    assert device.tpp is not None
    assert device.tpp > 4800
    assert device.eccn == "3A090.a"


def test_like_gaps_and_like_opinions_are_told_once(make_view: Callable[..., View], opinion: Callable[..., Any]) -> None:
    view = make_view(
        ranks=2,
        written_ranks=2,
        gaps=(("hardware", "no NVML device", False), ("hardware", "no NVML device", False)),
        opinions=(opinion(), opinion(inputs="other", theirs="131000")),
    )
    assert [(gap.message, gap.times) for gap in view.gaps] == [("no NVML device", 4)]
    assert view.second_opinion is not None
    assert (view.second_opinion.ours_ops, view.second_opinion.theirs_ops) == (262144, 262072)
    assert view.second_opinion.difference_ops == -72


def test_an_opinion_that_could_not_be_had_is_no_zero(
    make_view: Callable[..., View], opinion: Callable[..., Any]
) -> None:
    view = make_view(opinions=(opinion(unavailable="the model does not trace", ours="0", theirs="0"),))
    assert view.second_opinion is not None
    assert view.second_opinion.ours_ops is None
    assert view.second_opinion.difference_ops is None


def test_the_shipped_law_has_its_first_line_at_ten_to_the_26(make_view: Callable[..., View]) -> None:
    findings = {finding.id: finding for finding in make_view(law=pack.load()).rules}
    diffusion = findings["us_ear_4e091_2025"]
    assert diffusion.threshold_ops == 10**26
    assert diffusion.counted_ops == FORWARD + BACKWARD
    assert diffusion.status == "codified_not_enforced"
    assert diffusion.verdict == "not reached"
    assert {"eu_ai_act_art51", "us_ca_sb53"} <= findings.keys()


@pytest.mark.parametrize(
    ("module", "blocked", "remedy"),
    [("page", "jinja2", "auditor[html]"), ("colour", "rich", "auditor[terminal]")],
)
def test_a_missing_extra_is_named_with_what_installs_it(module: str, blocked: str, remedy: str) -> None:
    script = f"""
import sys
sys.modules[{blocked!r}] = None
from auditor.errors import MissingExtra
try:
    import auditor.report.{module}
except MissingExtra as error:
    print(error, error.remedy)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert blocked in done.stdout
    assert remedy in done.stdout


def test_reading_and_showing_a_ledger_needs_neither_torch_nor_extras(tmp_path: Path) -> None:
    script = """
import sys
import auditor.report.html, auditor.report.json_text, auditor.report.terminal, auditor.report.view
print(sorted({"torch", "fvcore", "pynvml", "jinja2", "rich", "numpy"} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
