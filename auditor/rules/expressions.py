"""Small boolean expressions over named quantities, evaluated exactly and in three values.

Numbers are exact fractions, read from the text of the expression (``1e26`` is ``10**26``). A quantity that is
not known may lie anywhere in its range, so ``additional_ops <= max(2.5e25, 0.25 * n2_ops)`` is true for
``additional_ops = 1e25`` whatever ``n2_ops`` is. What remains open is ``None`` with the names that would
decide it. Nothing is ever executed: the text is read into Python's syntax tree, and only the nodes named here
are taken.
"""

from __future__ import annotations

import ast
import difflib
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from auditor.errors import RuleError, UnitError
from auditor.units import parse_exact

if TYPE_CHECKING:
    from decimal import Decimal

_LONGEST_EXPRESSION = 1000  # characters


class Kind(StrEnum):
    """What a name or a part of an expression stands for."""

    TRUTH = "yes or no"
    NUMBER = "a number"
    AMOUNT = "a number that is not negative"
    TEXT = "text"


class Range(NamedTuple):
    """Where a number lies, both ends included; None is unbounded. Equal ends are an exact number."""

    low: Fraction | None
    high: Fraction | None

    @classmethod
    def exactly(cls, number: int | Decimal | Fraction) -> Range:
        """The range that holds one number."""
        return cls(Fraction(number), Fraction(number))


ANYWHERE = Range(None, None)
NOT_NEGATIVE = Range(Fraction(0), None)


class Result(NamedTuple):
    """A value and the names that keep it open: a truth or text that is open is None, a number is a range."""

    value: bool | str | Range | None
    open: frozenset[str] = frozenset()


Values = Mapping[str, Result]
Evaluate = Callable[[Values], Result]


class _Term(NamedTuple):
    kind: Kind
    evaluate: Evaluate


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression that answers yes, no, or not known."""

    text: str
    names: frozenset[str]
    _evaluate: Evaluate

    def evaluate(self, values: Values) -> Result:
        """Yes, no, or None with the names that keep it open.

        ``values``: each name of the expression; one that is missing is open.
        Raises: RuleError: a division by zero.
        """
        try:
            return self._evaluate({name: values.get(name, Result(None, frozenset({name}))) for name in self.names})
        except ZeroDivisionError as error:
            raise RuleError(f"{self.text!r} divides by zero") from error


def parse(text: str, names: Mapping[str, Kind]) -> Expression:
    """The expression that ``text`` writes over ``names``.

    Raises: RuleError: not an expression of the kind read here, an unknown name, or kinds that do not fit.
    """
    if len(text) > _LONGEST_EXPRESSION or not text.isascii():
        raise RuleError(f"an expression is plain ASCII of at most {_LONGEST_EXPRESSION} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval")
        builder = _Builder(text.strip(), names)
        evaluate = builder.build(tree.body, Kind.TRUTH).evaluate
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise RuleError(f"not an expression: {text!r}") from error
    return Expression(text.strip(), frozenset(builder.used), evaluate)


def fits(kind: Kind, wanted: Kind) -> bool:
    """Whether a value of ``kind`` may stand where ``wanted`` is asked for."""
    numbers = (Kind.NUMBER, Kind.AMOUNT)
    return kind is wanted or (kind in numbers and wanted in numbers)


class _Builder:
    """Turns syntax nodes into functions, refusing everything that is not named here."""

    def __init__(self, text: str, names: Mapping[str, Kind]) -> None:
        self.text = text
        self.names = names
        self.used: set[str] = set()

    def build(self, node: ast.expr, wanted: Kind | None = None) -> _Term:
        term = self._of(node)
        if wanted is not None and not fits(term.kind, wanted):
            raise RuleError(f"{self._shown(node)} is {term.kind}, where {wanted} is needed")
        return term

    def _of(self, node: ast.expr) -> _Term:
        match node:
            case ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
                return self._logic(node)
            case ast.Compare():
                return self._comparison(node)
            case ast.Name(id=name):
                return self._name(name)
            case ast.Constant():
                return self._constant(node)
            case ast.BinOp() | ast.UnaryOp() | ast.Call():
                return self._arithmetic(node)
            case _:
                raise self._refuse(node)

    def _logic(self, node: ast.BoolOp | ast.UnaryOp) -> _Term:
        if isinstance(node, ast.UnaryOp):
            inner = self.build(node.operand, Kind.TRUTH).evaluate
            return _Term(Kind.TRUTH, lambda values: _not(inner(values)))
        parts = [self.build(part, Kind.TRUTH).evaluate for part in node.values]
        join = all_of if isinstance(node.op, ast.And) else any_of
        return _Term(Kind.TRUTH, lambda values: join([part(values) for part in parts]))

    def _comparison(self, node: ast.Compare) -> _Term:
        operands = [node.left, *node.comparators]
        pairs = [
            self._pair(left, op, right) for left, op, right in zip(operands[:-1], node.ops, operands[1:], strict=True)
        ]
        return _Term(Kind.TRUTH, lambda values: all_of([pair(values) for pair in pairs]))

    def _pair(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Evaluate:
        if isinstance(op, (ast.In, ast.NotIn)):
            found = self._membership(left, right)
            return found if isinstance(op, ast.In) else lambda values: _not(found(values))
        compare = _COMPARISONS.get(type(op))
        first = self.build(left)
        second = self.build(right, first.kind)
        ordered = type(op) in _ORDERED
        if compare is None or (ordered and not fits(first.kind, Kind.NUMBER)):
            raise RuleError(f"{self._shown(left)} is {first.kind} and cannot be compared like that")
        return lambda values: _compare(compare, first.evaluate(values), second.evaluate(values))

    def _membership(self, left: ast.expr, right: ast.expr) -> Evaluate:
        if not isinstance(right, (ast.Tuple, ast.List, ast.Set)) or not right.elts:
            raise self._refuse(right)
        first = self.build(left)
        members = [self.build(member, first.kind).evaluate for member in right.elts]

        def found(values: Values) -> Result:
            value = first.evaluate(values)
            return any_of([_compare(_equal, value, member(values)) for member in members])

        return found

    def _arithmetic(self, node: ast.BinOp | ast.UnaryOp | ast.Call) -> _Term:
        match node:
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                combine, parts = _ARITHMETIC[type(op)], [left, right]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                combine, parts = _negated, [operand]
            case ast.Call(func=ast.Name(id="max" | "min" as name), args=[_, _, *_] as parts, keywords=[]):
                combine = _greatest if name == "max" else _least
            case _:
                raise self._refuse(node)
        terms = [self.build(part, Kind.NUMBER).evaluate for part in parts]
        return _Term(Kind.NUMBER, lambda values: _combined(combine, [term(values) for term in terms]))

    def _name(self, name: str) -> _Term:
        kind = self.names.get(name)
        if kind is None:
            near = difflib.get_close_matches(name, self.names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(self.names))}"
            raise RuleError(f"unknown name {name!r} in {self.text!r}; {hint}")
        self.used.add(name)
        if not fits(kind, Kind.NUMBER):
            return _Term(kind, lambda values: values[name])
        anywhere = NOT_NEGATIVE if kind is Kind.AMOUNT else ANYWHERE
        return _Term(kind, lambda values: _ranged(values[name], anywhere))

    def _constant(self, node: ast.Constant) -> _Term:
        value: bool | str | Range
        if isinstance(node.value, bool):
            kind, value = Kind.TRUTH, node.value
        elif isinstance(node.value, str):
            kind, value = Kind.TEXT, node.value
        else:
            # The text, not the float that Python made of it: float(1e26) is not 10**26.
            try:
                kind, value = Kind.NUMBER, Range.exactly(parse_exact(self._shown(node)))
            except UnitError as error:
                raise RuleError(f"{self._shown(node)} in {self.text!r} is not an exact number") from error
        result = Result(value)
        return _Term(kind, lambda _: result)

    def _shown(self, node: ast.expr) -> str:
        return ast.get_source_segment(self.text, node) or self.text

    def _refuse(self, node: ast.expr) -> RuleError:
        return RuleError(
            f"{self._shown(node)!r} is not read in an expression",
            remedy="Use names, numbers, text, comparisons, and, or, not, in (...), + - * /, min and max.",
        )


def all_of(parts: Sequence[Result]) -> Result:
    """Yes where all are, no where one is not; what is open stays open."""
    if any(part.value is False for part in parts):
        return Result(False)
    return _joined(parts) if any(part.value is None for part in parts) else Result(True)


def any_of(parts: Sequence[Result]) -> Result:
    """Yes where one is, no where none is; what is open stays open."""
    if any(part.value is True for part in parts):
        return Result(True)
    return _joined(parts) if any(part.value is None for part in parts) else Result(False)


def _joined(parts: Sequence[Result]) -> Result:
    return Result(None, frozenset().union(*(part.open for part in parts if part.value is None)))


def _not(part: Result) -> Result:
    return Result(None if part.value is None else not part.value, part.open)


def _ranged(result: Result, anywhere: Range) -> Result:
    return Result(anywhere, result.open) if result.value is None else result


def _compare(compare: Callable[[Range, Range], bool | None], left: Result, right: Result) -> Result:
    names = left.open | right.open
    if isinstance(left.value, Range) and isinstance(right.value, Range):
        answer = compare(left.value, right.value)
    elif left.value is None or right.value is None:
        answer = None
    else:
        answer = (left.value == right.value) == (compare is _equal)
    return Result(answer, names if answer is None else frozenset())


def _less(left: Range, right: Range) -> bool | None:
    if left.high is not None and right.low is not None and left.high < right.low:
        return True
    if left.low is not None and right.high is not None and left.low >= right.high:
        return False
    return None


def _opposite(answer: bool | None) -> bool | None:
    return None if answer is None else not answer


def _equal(left: Range, right: Range) -> bool | None:
    if left == right and left.low is not None and left.low == left.high:
        return True
    return False if _less(left, right) or _less(right, left) else None


def _unequal(left: Range, right: Range) -> bool | None:
    return _opposite(_equal(left, right))


_COMPARISONS: dict[type[ast.cmpop], Callable[[Range, Range], bool | None]] = {
    ast.Lt: _less,
    ast.Gt: lambda left, right: _less(right, left),
    ast.LtE: lambda left, right: _opposite(_less(right, left)),
    ast.GtE: lambda left, right: _opposite(_less(left, right)),
    ast.Eq: _equal,
    ast.NotEq: _unequal,
}
_ORDERED = frozenset({ast.Lt, ast.Gt, ast.LtE, ast.GtE})


def _combined(combine: Callable[..., Range], parts: Sequence[Result]) -> Result:
    ranges = [part.value for part in parts if isinstance(part.value, Range)]
    return Result(combine(*ranges), frozenset().union(*(part.open for part in parts)))


def _end(
    left: Fraction | None, right: Fraction | None, function: Callable[[Fraction, Fraction], Fraction]
) -> Fraction | None:
    return None if left is None or right is None else function(left, right)


def _sum(left: Range, right: Range) -> Range:
    return Range(_end(left.low, right.low, operator.add), _end(left.high, right.high, operator.add))


def _difference(left: Range, right: Range) -> Range:
    return _sum(left, _negated(right))


def _negated(part: Range) -> Range:
    low, high = part
    return Range(None if high is None else -high, None if low is None else -low)


def _product(left: Range, right: Range) -> Range:
    """Exact where one side is an exact number; a product of two open ranges is left anywhere."""
    if left.low is None or left.low != left.high:
        left, right = right, left
    factor = left.low
    if factor is None or factor != left.high:
        return ANYWHERE
    low, high = (None if end is None else end * factor for end in right)
    if factor == 0:
        return Range.exactly(0)
    return Range(low, high) if factor > 0 else Range(high, low)


def _quotient(left: Range, right: Range) -> Range:
    if right.low is None or right.low != right.high:
        return ANYWHERE
    return _product(left, Range.exactly(1 / right.low))


def _greatest(*parts: Range) -> Range:
    lows = [part.low for part in parts if part.low is not None]
    highs = [part.high for part in parts]
    high = None if None in highs else max(end for end in highs if end is not None)
    return Range(max(lows, default=None), high)


def _least(*parts: Range) -> Range:
    return _negated(_greatest(*map(_negated, parts)))


_ARITHMETIC: dict[type[ast.operator], Callable[..., Range]] = {
    ast.Add: _sum,
    ast.Sub: _difference,
    ast.Mult: _product,
    ast.Div: _quotient,
}
