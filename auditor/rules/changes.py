"""What would change an answer: each name on which it turns, the value at which it does, and to what.

Every candidate is tried by evaluating the rule again, so nothing is said that the rule does not do.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from auditor.rules.countries import CODES
from auditor.rules.expressions import Kind, Name, Result, Unit
from auditor.rules.ranges import Range

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from auditor.rules.expressions import Values

_WHOLE = {Unit.OPERATIONS, Unit.TPP, Unit.USD, Unit.TRANSISTORS, Unit.DAYS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """If the name had this value, all else as it is, the answer would be that."""

    name: str
    to: bool | str | Fraction
    more: Fraction | None  # how far that is from what it is now; None where that is open or no number
    outcome: str
    countries: int = 0  # for a country: how many lead there, ``to`` being one of them


def changes(
    names: Mapping[str, Name],
    values: Values,
    turns: Iterable[tuple[str, Range]],
    outcome: Callable[[Values], str],
) -> list[Change]:
    """Each single value that would give another outcome than the present one; for a number the nearest.

    ``names``: what may be varied; ``turns``: the numbers that they are held against; ``outcome``: of the rule.
    """
    now = outcome(values)
    edges: dict[str, list[Fraction]] = {}
    for name, at in turns:
        if name in names and at.low is not None and at.low == at.high:
            edges.setdefault(name, []).append(at.low)
    found: list[Change] = []
    for name, (kind, unit) in names.items():
        present = values.get(name, Result(None)).value
        if kind is Kind.TRUTH:
            found += _flags(name, present, _trying(values, name, outcome), now)
        elif kind is Kind.COUNTRY:
            found += _countries(name, present, _trying(values, name, outcome), now)
        elif kind in (Kind.AMOUNT, Kind.NUMBER):
            found += _numbers(name, present, _steps(edges.get(name, []), unit), _trying(values, name, outcome), now)
    return found


def _trying(values: Values, name: str, outcome: Callable[[Values], str]) -> Callable[[bool | str | Range], str]:
    return lambda value: outcome({**values, name: Result(value)})


def _flags(name: str, present: object, attempt: Callable[[bool | str | Range], str], now: str) -> Iterator[Change]:
    for flag in (True, False):
        if flag is not present and (there := attempt(flag)) != now:
            yield Change(name=name, to=flag, more=None, outcome=there)


def _countries(name: str, present: object, attempt: Callable[[bool | str | Range], str], now: str) -> Iterator[Change]:
    outcomes = {code: attempt(code) for code in sorted(CODES) if code != present}
    for there, number in sorted(Counter(outcomes.values()).items()):
        if there != now:
            first = next(code for code, found in outcomes.items() if found == there)
            yield Change(name=name, to=first, more=None, outcome=there, countries=number)


def _steps(edges: Sequence[Fraction], unit: Unit | None) -> list[Fraction]:
    """The numbers at each edge and next to it on both sides; halves of a millionth where parts count."""
    found: set[Fraction] = set()
    for edge in edges:
        step = Fraction(1) if unit in _WHOLE else abs(edge) / 10**6
        whole = Fraction(edge.numerator // edge.denominator) if unit in _WHOLE else edge
        found |= {whole - step, whole, whole + step}
    return sorted(number for number in found if number >= 0)


def _numbers(
    name: str,
    present: object,
    candidates: Sequence[Fraction],
    attempt: Callable[[bool | str | Range], str],
    now: str,
) -> Iterator[Change]:
    """The nearest number for each other outcome: from what is certain now, else the smallest and the greatest."""
    known = present.low if isinstance(present, Range) else None
    nearest: dict[str, Fraction] = {}
    for number in sorted(candidates, key=lambda one: abs(one - (known or 0))):
        there = attempt(Range.exactly(number))
        if there != now:
            nearest.setdefault(there, number)
    for there, number in nearest.items():
        yield Change(name=name, to=number, more=None if known is None else number - known, outcome=there)
