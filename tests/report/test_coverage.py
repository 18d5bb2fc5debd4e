"""Profiled steps in the report: what was accounted for, what was not, in each of its forms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from auditor.hardware.coverage import EVENT, KERNELS, OPERATORS, Coverage
from auditor.records import Hardware
from auditor.report import html, json_text, terminal
from auditor.report.coverage import gather, sentence

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditor.report.view import View


def record(coverage: Coverage, device: str = "GPU-1") -> Hardware:
    return Hardware(event=EVENT, device=device, values=coverage.to_mapping())


GOOD = Coverage.of(101, KERNELS, 970_000, {"triton_mine": 30_000})
BAD = Coverage.of(201, KERNELS, 500_000, {"triton_mine": 400_000, "theirs (in mylib::op)": 100_000})


def test_steps_and_ranks_are_added_up_and_the_worst_is_named():
    (found,) = gather([record(GOOD), record(BAD, "GPU-2")])
    assert (found.samples, found.busy_ns, found.explained_ns) == (2, 2_000_000, 1_470_000)
    assert found.unexplained_ns == (("triton_mine", 430_000), ("theirs (in mylib::op)", 100_000))
    assert found.suspect
    assert sentence(found) == (
        "In 2 profiled steps, counted operators account for 73.50% of the time of all kernels, in step 201 for 50.00%. "
        "Operations may be missing from the count."
    )


def test_a_step_that_is_accounted_for_raises_no_doubt():
    (found,) = gather([record(GOOD)])
    assert not found.suspect
    assert sentence(found) == "In 1 profiled step, counted operators account for 97.00% of the time of all kernels."


def test_kernels_and_operators_are_kept_apart_and_what_cannot_be_read_is_left_out():
    broken = Hardware(event=EVENT, device="GPU-1", values={"step": "many"})
    other = Hardware(event="measured", device="GPU-1", values={})
    idle = Coverage.of(3, OPERATORS, 0, {})
    found = gather([record(idle, ""), broken, other, record(GOOD)])
    assert [each.what for each in found] == [KERNELS, OPERATORS]
    assert sentence(found[1]) == "In 1 profiled step, no operators ran."
    assert not found[1].suspect


@pytest.fixture
def view(make_view: Callable[..., View], hostile: str) -> View:
    hostile_one = Coverage.of(301, KERNELS, 10, {hostile: 5})
    return make_view(observed=(record(GOOD), record(BAD), record(hostile_one)))


def test_the_terminal_shows_it(view: View):
    text = terminal.render(view)
    assert "Coverage" in text
    assert "triton_mine" in text
    assert "430.0 us" in text
    assert "\x1b" not in text


def test_the_json_holds_it_and_fits_its_schema(view: View, schema: dict[str, Any]):
    document = json.loads(json_text.to_json(view))
    Draft202012Validator(schema).validate(document)
    (found,) = document["coverage"]
    assert (found["samples"], found["lowest_share"], found["lowest_step"]) == (3, "0.5000", 201)
    assert found["unexplained"][0] == {"name": "triton_mine", "time_ns": "430000"}


def test_the_page_shows_it_and_believes_no_name(view: View, tmp_path: Path):
    page = html.render(view)
    assert "Coverage: kernels" in page
    assert "73.4" in page
    assert "<script>" not in page


def test_without_profiled_steps_nothing_is_said(make_view: Callable[..., View]):
    view = make_view()
    assert "Coverage" not in terminal.render(view)
    assert "Coverage" not in html.render(view)
    assert json.loads(json_text.to_json(view))["coverage"] == []
