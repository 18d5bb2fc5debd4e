"""The table of other frameworks: what the documents say is what the program wrote, of every case that there is."""

from __future__ import annotations

import re
import sys
from collections import Counter
from importlib import import_module

import pytest


@pytest.fixture
def frameworks(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    yield import_module("frameworks")
    for name in ("frameworks", "framework_cases"):
        sys.modules.pop(name, None)


def rows(text):
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]


def test_the_document_holds_what_was_written(root, frameworks):
    document = (root / "docs" / "frameworks.md").read_text(encoding="utf-8")
    written = document.partition(frameworks.BEGIN + "\n")[2].partition(frameworks.END)[0]
    kept = [path.read_text(encoding="utf-8") for path in (root / "benchmarks" / "results").glob("*_frameworks_*.md")]
    assert written in kept
    head, _, *found = rows(written)
    assert head == frameworks.HEAD
    assert [(row[0], row[2]) for row in found] == [(case.framework, case.mode) for case in frameworks.CASES]
    for row, case in zip(found, frameworks.CASES, strict=True):
        assert (row[3] == "works") <= (case.expected is not None)
        if row[3] == "works":
            said = {phase: int(ops.replace(",", "")) for phase, ops in re.findall(r"(\w+) ([\d,]+\d)", row[5])}
            assert said == dict(case.expected)


def test_a_count_that_differs_is_no_match(frameworks):
    case = frameworks.CASES[0]
    for amounts, expected in ((case.expected, "works"), (case.expected + Counter(forward=1), "differs")):
        assert frameworks.compare(case, (amounts,)).startswith(expected)
    assert frameworks.compare(case, (case.expected, case.expected)).startswith("differs")


def test_every_framework_is_pinned_without_a_torch(root, frameworks):
    for package in {case.package for case in frameworks.CASES}:
        lines = (root / ".ci" / "frameworks" / f"{package}.txt").read_text(encoding="utf-8").splitlines()
        pins = [line for line in lines if line and not line.startswith("#")]
        assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)
        assert not any(re.match(r"(torch|nvidia-|triton)==?", pin) for pin in pins)
