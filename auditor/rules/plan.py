"""What is planned of a training: where it ends, as a day or as an amount, and since when that is known.

::

    plan:
      tokens: 1.5e13            # or end: 2027-03-01 (its last day, UTC), steps: 1e6, operations: 3e25; one of the four
      tokens_per_step: 4194304  # beside tokens, which no record shows
      known_since: 2026-11-20   # the day since which the plan stands; the day of the answer where it is left out
      source: "who planned it"

Steps, tokens and operations are those of the whole run, what it has done already included.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from auditor.documents import Node
from auditor.errors import RuleError, UnitError
from auditor.rules.places import day_or_none
from auditor.units import LEAST_MEANT_OPS, parse_ops, without_groups

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date


class Until(StrEnum):
    """In what the end of a training is planned."""

    END = "end"
    STEPS = "steps"
    TOKENS = "tokens"
    OPERATIONS = "operations"


_OTHERS = ("tokens_per_step", "known_since", "source")
_FIELDS = (*map(str, Until), *_OTHERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """``end`` is the last day; ``amount`` the steps, tokens or operations at the end of the training."""

    until: Until
    end: date | None
    amount: int
    tokens_per_step: int
    known_since: date | None
    origin: str

    @property
    def steps(self) -> int | None:
        """The steps that are planned, where they follow: tokens make whole steps, the last one included."""
        if self.until is Until.STEPS:
            return self.amount
        return -(-self.amount // self.tokens_per_step) if self.until is Until.TOKENS else None

    @property
    def words(self) -> str:
        """What is planned, in words with its unit."""
        if self.end is not None:
            return f"until the end of {self.end.isoformat()} (UTC)"
        words = f"{self.amount:,} {self.until}"
        if self.until is Until.TOKENS:
            words += f" at {self.tokens_per_step:,} a step, which are {self.steps:,} steps"
        return words


def read_plan(node: Node | None, origin: str) -> Plan | None:
    """The plan in a document; None where there is none. ``origin``: where it stands.

    Raises: RuleError: a field that is unknown or missing, or an amount that is no whole number above 0.
    """
    if node is None or node.value is None:
        return None
    fields = node.fields(optional=_FIELDS)
    named = [until for until in Until if until in fields]
    if len(named) != 1:
        node.fail(f"one of {', '.join(Until)}")
    until = named[0]
    if (until is Until.TOKENS) != ("tokens_per_step" in fields):
        beside = "tokens_per_step beside tokens" if until is Until.TOKENS else "no tokens_per_step without tokens"
        node.fail(beside)
    source = f": {fields['source'].text()}" if "source" in fields else ""
    return Plan(
        until=until,
        end=day_or_none(fields[until]) if until is Until.END else None,
        amount=0 if until is Until.END else _amount(fields[until], until),
        tokens_per_step=_amount(fields["tokens_per_step"]) if until is Until.TOKENS else 0,
        known_since=day_or_none(fields.get("known_since")),
        origin=f"{origin}{source}",
    )


def parse_plan(words: Sequence[str]) -> Plan | None:
    """The plan that ``NAME=VALUE`` of the command line write; None where there are none.

    Raises: RuleError: as `read_plan`.
    """
    found: dict[str, Node] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name in found:
            raise RuleError(f"--plan: expected NAME=VALUE, each name once, got {word!r}")
        found[name] = Node(value, "--plan", 1, name, RuleError)
    try:
        return read_plan(Node(found, "--plan", 1, "", RuleError), "--plan") if found else None
    except RuleError as error:
        raise RuleError(str(error), remedy="Give it as --plan end=2027-03-01; --help has the names.") from error


def _amount(node: Node, until: Until | None = None) -> int:
    try:
        amount = parse_ops(node.text())
    except UnitError:
        node.fail("a whole number, such as 1.5e13", without_groups(node.text()))
    if amount == 0:
        node.fail("a whole number above 0")
    if until is Until.OPERATIONS and amount < LEAST_MEANT_OPS:
        node.fail(f"the operations of the whole training, {LEAST_MEANT_OPS:,} or more, such as 3e25")
    return amount
