"""The one table of formulas: which operator costs what, where that comes from, and the table's digest."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from auditor.errors import FormulaError
from auditor.operations import Amount, Family

if TYPE_CHECKING:
    from types import ModuleType

# Raise it when amounts change; the digest changes with every edit of a formula.
TABLE_VERSION = 3

# A formula takes the operator's arguments in the order of its schema, tensors as shapes.
Function = TypeVar("Function", bound=Callable[..., int | Amount])


@dataclass(frozen=True, slots=True)
class Formula:
    """What an operator costs. ``function`` is None for one that moves, allocates or names data only."""

    op: str
    family: Family
    function: Callable[..., int | Amount] | None
    source: str


class Registry:
    """Formulas by operator name, refused when registered twice.

    An operator has one formula, in one family. A kernel that does work of another family as well (the softmax
    inside an attention kernel, the bias gradient of a convolution) has that *beside*: further formulas, at
    most one per family.
    """

    def __init__(self) -> None:
        self._formulas: dict[str, Formula] = {}
        self._beside: dict[str, dict[Family, Formula]] = {}
        self._sparse: dict[str, Formula] = {}
        self._left: set[str] = set()
        self._digest: str | None = None
        self.revision = 0  # goes up with every registration

    def formula(self, *ops: str, family: Family, source: str) -> Callable[[Function], Function]:
        """Register the decorated function as the price of each of ``ops``.

        A name is ``namespace::operator`` for all overloads, or ``namespace::operator.overload`` for one of
        them; in-place forms (``add_``) take the price of the plain one unless they have their own.
        ``source``: where it comes from. Raises: FormulaError: an operator has a price already.
        """

        def register(function: Function) -> Function:
            for op in ops:
                self._add(Formula(op, family, function, source))
            return function

        return register

    def beside(self, *ops: str, family: Family, source: str) -> Callable[[Function], Function]:
        """Register the decorated function as what each of ``ops`` does in a family beside its own.

        Raises: FormulaError: an operator has a price in that family already.
        """

        def register(function: Function) -> Function:
            for op in ops:
                self._add_beside(Formula(op, family, function, source))
            return function

        return register

    def sparse(self, *ops: str, family: Family, source: str) -> Callable[[Function], Function]:
        """Register the decorated function as the price of each of ``ops`` where not every element is stored.

        It is asked when a tensor among the arguments has a layout; without one such a call has no price, since
        sizes do not tell how much a sparse tensor holds. Raises: FormulaError: an operator has such a price already.
        """

        def register(function: Function) -> Function:
            for op in ops:
                self._insert(self._sparse, Formula(op, family, function, source))
            return function

        return register

    def free(self, *ops: str, why: str) -> None:
        """Register operators that compute nothing.

        Raises: FormulaError: an operator has a price already.
        """
        for op in ops:
            self._add(Formula(op, Family.OTHER, None, why))

    def _add(self, formula: Formula) -> None:
        self._insert(self._formulas, formula)

    def _insert(self, formulas: dict[str, Formula], formula: Formula) -> None:
        known = formulas.get(formula.op)
        if known is not None:
            raise FormulaError(
                f"{formula.op} has a formula already ({known.source})",
                remedy="Register an operator once; give a second overload its full name.",
            )
        if "::" not in formula.op:
            raise FormulaError(f"{formula.op!r} is not an operator's name, such as 'mylib::op'")
        formulas[formula.op] = formula
        self._changed()

    def _add_beside(self, formula: Formula) -> None:
        main = self._formulas.get(formula.op)
        if main is None:
            raise FormulaError(f"{formula.op} has nothing to stand beside: register its formula first")
        others = self._beside.setdefault(formula.op, {})
        if formula.family is main.family or formula.family in others:
            raise FormulaError(f"{formula.op} has a formula in the family {formula.family} already")
        others[formula.family] = formula
        self._changed()

    def leave(self, *ops: str) -> None:
        """Leave overloads without their operator's price: they are made of others, which are counted."""
        self._left.update(ops)
        self._changed()

    def _changed(self) -> None:
        self._digest = None
        self.revision += 1

    @property
    def left(self) -> frozenset[str]:
        """The overloads that were left."""
        return frozenset(self._left)

    def find(self, op: str) -> Formula | None:
        """The formula for ``aten::add.Tensor``: its own, else ``aten::add``'s, else the plain form's."""
        if op in self._left:
            return None
        return next(filter(None, map(self._formulas.get, _spellings(op))), None)

    def find_sparse(self, op: str) -> Formula | None:
        """The formula for a call in which not every tensor stores all its elements, by the same spellings."""
        return next(filter(None, map(self._sparse.get, _spellings(op))), None)

    def beside_of(self, formula: Formula) -> tuple[Formula, ...]:
        """What the formula's operator does in other families, by family's name."""
        others = self._beside.get(formula.op, {})
        return tuple(others[family] for family in sorted(others))

    def __iter__(self) -> Iterator[Formula]:
        return iter(sorted(self._formulas.values(), key=lambda formula: formula.op))

    def __len__(self) -> int:
        return len(self._formulas)

    @property
    def digest(self) -> str:
        """SHA-256 over the version, every name, family and source, and the code the formulas stand in."""
        if self._digest is None:
            every = [each for formula in self for each in (formula, *self.beside_of(formula))]
            sparse = sorted(self._sparse.values(), key=lambda formula: formula.op)
            parts = (f"auditor.formulas/{TABLE_VERSION}\n", _lines(every), str(sorted(self._left)), _lines(sparse))
            text = "".join(parts)
            self._digest = hashlib.sha256(text.encode()).hexdigest()
        return self._digest


def _lines(formulas: Iterable[Formula]) -> str:
    return "".join(f"{each.op}\t{each.family}\t{each.source}\t{_fingerprint(each.function)}\n" for each in formulas)


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
    """What changes when the function, its settings, or any file of the package that holds it changes."""
    if function is None:
        return "free"
    if isinstance(function, partial):
        settings = sorted((name, _setting(value)) for name, value in function.keywords.items())
        return f"{_fingerprint(function.func)}{list(map(_setting, function.args))}{settings}"
    module = inspect.getmodule(function)
    text = _module_text(module) if module is not None else None
    if text is None:  # typed at a prompt: the code object is all there is
        text = _hashed(repr((function.__code__.co_code, function.__code__.co_consts)))
    return f"{function.__qualname__} {text}"


def _setting(value: object) -> str:
    return _fingerprint(value) if callable(value) else repr(value)


@cache
def _module_text(module: ModuleType) -> str | None:
    """The hash of all files of the module's package, since formulas call helpers and tables, or of the module alone."""
    try:
        if module.__package__ and module.__file__:
            folder = Path(module.__file__).parent
            files = sorted((*folder.glob("*.py"), *folder.glob("*.txt")))
            return _hashed("".join(f"{file.name}\n{file.read_text(encoding='utf-8')}" for file in files))
        return _hashed(inspect.getsource(module))
    except (OSError, TypeError, UnicodeDecodeError):
        return None


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


TABLE = Registry()
formula = TABLE.formula
beside = TABLE.beside
free = TABLE.free
sparse = TABLE.sparse
leave = TABLE.leave
