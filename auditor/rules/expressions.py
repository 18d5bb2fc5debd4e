"""Small boolean expressions over named quantities, evaluated exactly and in three values.

Numbers are exact fractions, read from the text of the expression (``1e26`` is ``10**26``). A quantity that is
not known may lie anywhere in its range, so ``additional_ops <= max(2.5e25, 0.25 * n2_ops)`` is true for
``additional_ops = 1e25`` whatever ``n2_ops`` is. What remains open is ``None`` with the names that would
decide it. Quantities have units: operations are never held against TPP. `parsing` makes them from text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from auditor.errors import RuleError
from auditor.rules.ranges import Range
from auditor.rules.values import Members, Result, Values, all_of, any_of

__all__ = [
    "Edge",
    "Evaluate",
    "Expression",
    "Kind",
    "Members",
    "Name",
    "Range",
    "Result",
    "Unit",
    "Values",
    "all_of",
    "any_of",
]


class Kind(StrEnum):
    """What a name or a part of an expression stands for."""

    TRUTH = "yes or no"
    NUMBER = "a number"
    AMOUNT = "a number that is not negative"
    TEXT = "text"
    COUNTRY = "a country"
    GROUP = "a group of countries"


class Unit(StrEnum):
    """What a number counts; two quantities of different units are neither compared nor added up."""

    OPERATIONS = "operations"
    OPERATIONS_PER_S = "operations/s"
    TERA_PER_S = "tera-operations/s"
    TPP = "TPP"
    TPP_PER_MM2 = "TPP/mm2"
    GB_PER_S = "GB/s"
    GB_PER_S_PER_MM2 = "GB/s/mm2"
    GBIT_PER_S = "Gbit/s"
    USD = "USD"
    TRANSISTORS = "transistors"
    DAYS = "days"
    RATIO = "ratio"


class Name(NamedTuple):
    """What an expression may call by a name; ``unit`` is None for what is not a number."""

    kind: Kind
    unit: Unit | None = None


Evaluate = Callable[[Values], Result]


class Edge(NamedTuple):
    """A number that a named quantity is held against: where its answer may turn."""

    name: str
    at: Evaluate


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression that answers yes, no, or not known."""

    text: str
    names: frozenset[str]
    edges: tuple[Edge, ...]
    _evaluate: Evaluate

    def evaluate(self, values: Values) -> Result:
        """Yes, no, or None with the names that keep it open.

        ``values``: each name of the expression; one that is missing is open.
        Raises: RuleError: a division by zero.
        """
        try:
            return self._evaluate(self._whole(values))
        except ZeroDivisionError as error:
            raise RuleError(f"{self.text!r} divides by zero") from error

    def turns_at(self, values: Values) -> list[tuple[str, Range]]:
        """Each named quantity with the number that it is held against, as far as that is known."""
        whole = self._whole(values)
        found = [(edge.name, edge.at(whole).value) for edge in self.edges]
        return [(name, value) for name, value in found if isinstance(value, Range)]

    def _whole(self, values: Values) -> Values:
        return {name: values.get(name, Result(None, frozenset({name}))) for name in self.names}
