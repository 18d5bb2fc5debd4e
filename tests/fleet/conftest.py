"""The shipped rules and chips, and inventories written for one test."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest

from auditor.fleet import document, ways
from auditor.fleet.books import Books
from auditor.fleet.judged import Judged, judge
from auditor.hardware import catalogue
from auditor.rules import pack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from auditor.fleet.inventory import Inventory
    from auditor.hardware.chips import Catalogue
    from auditor.rules.model import RuleSet

    Judging = Callable[..., Judged]
    Reading = Callable[..., Inventory]

DAY = date(2026, 11, 22)


@pytest.fixture(scope="session")
def ruleset() -> RuleSet:
    return pack.load()


@pytest.fixture(scope="session")
def chips() -> Catalogue:
    return catalogue.load()


@pytest.fixture(scope="session")
def read(ruleset: RuleSet, chips: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> Reading:
    """Reads the text of an inventory: ``read("schema: ...")``, ``read("id,site,...", "rows.csv")``."""
    folder = tmp_path_factory.mktemp("inventories")

    def from_text(text: str, name: str = "fleet.yaml") -> Inventory:
        path: Path = folder / name
        path.write_text(text, encoding="utf-8")
        return document.read(path, chips, ways.questions(ruleset))

    return from_text


@pytest.fixture(scope="session")
def judged(ruleset: RuleSet, read: Reading) -> Judging:
    """Reads and judges the text of an inventory."""

    def from_text(text: str, as_of: date = DAY, name: str = "fleet.yaml") -> Judged:
        return judge(Books(ruleset=ruleset, inventory=read(text, name), as_of=as_of))

    return from_text
