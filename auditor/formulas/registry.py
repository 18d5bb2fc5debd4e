"""The one table of formulas: which operator costs what, where that comes from, and what the table's digest is."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from auditor.errors import FormulaError
from auditor.operations import Amount, Family

# Raise it when amounts change; the digest changes with every edit of a formula.
TABLE_VERSION = 1

# A formula takes the operator's arguments in the order of its schema, tensors as shapes, and answers with operations.
Function = TypeVar("Function", bound=Callable[..., int | Amount])


@dataclass(frozen=True, slots=True)
class Formula:
    """What an operator costs. ``function`` is None for one that computes nothing: it moves, allocates or names data."""

    op: str
    family: Family
    function: Callable[..., int | Amount] | None
    source: str


class Registry:
    """Formulas by operator name, refused when registered twice."""

    def __init__(self) -> None:
        self._formulas: dict[str, Formula] = {}

    def formula(self, *ops: str, family: Family, source: str) -> Callable[[Function], Function]:
        """Register the decorated function as the price of each of ``ops``.

        A name is ``namespace::operator`` for all overloads, or ``namespace::operator.overload`` for one of them; in-place
        forms (``add_``) take the price of the plain one unless they have their own. ``source``: where it comes from.
        Raises: FormulaError: an operator has a price already.
        """

        def register(function: Function) -> Function:
            for op in ops:
                self._add(Formula(op, family, function, source))
            return function

        return register

    def free(self, *ops: str, why: str) -> None:
        """Register operators that compute nothing.

        Raises: FormulaError: an operator has a price already.
        """
        for op in ops:
            self._add(Formula(op, Family.OTHER, None, why))

    def _add(self, formula: Formula) -> None:
        known = self._formulas.get(formula.op)
        if known is not None:
            raise FormulaError(
                f"{formula.op} has a formula already ({known.source})",
                remedy="Register an operator once; give a second overload its full name.",
            )
        if "::" not in formula.op:
            raise FormulaError(f"{formula.op!r} is not an operator's name, such as 'mylib::op'")
        self._formulas[formula.op] = formula

    def find(self, op: str) -> Formula | None:
        """The formula for ``aten::add.Tensor``: its own, else ``aten::add``'s; in place falls back to the plain form."""
        return next(filter(None, map(self._formulas.get, _spellings(op))), None)

    def __iter__(self) -> Iterator[Formula]:
        return iter(sorted(self._formulas.values(), key=lambda formula: formula.op))

    def __len__(self) -> int:
        return len(self._formulas)

    @property
    def digest(self) -> str:
        """SHA-256 over the version, every name and the source text of every formula and of the modules they stand in."""
        lines = [f"{formula.op}\t{formula.family}\t{_fingerprint(formula.function)}\n" for formula in self]
        return hashlib.sha256(f"auditor.formulas/{TABLE_VERSION}\n{''.join(lines)}".encode()).hexdigest()


def _spellings(op: str) -> Iterable[str]:
    packet, dot, overload = op.partition(".")
    yield op
    yield packet
    if packet.endswith("_"):
        plain = packet[:-1]
        if dot:
            yield f"{plain}.{overload}"
        yield plain


def _fingerprint(function: Callable[..., Any] | None) -> str:
    """The text of the module that holds the function, hashed: helpers a formula calls count as part of it."""
    if function is None:
        return "free"
    module = inspect.getmodule(function)
    try:
        text = inspect.getsource(function) + (inspect.getsource(module) if module else "")
    except (OSError, TypeError):  # typed at a prompt: the code object is all there is
        text = repr((function.__code__.co_code, function.__code__.co_consts))
    return hashlib.sha256(text.encode()).hexdigest()


TABLE = Registry()
formula = TABLE.formula
free = TABLE.free
