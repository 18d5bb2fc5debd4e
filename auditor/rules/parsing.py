"""The text of an expression becomes one that can be evaluated: names, kinds and units are checked.

Nothing is ever executed: the text is read into Python's syntax tree, and only the nodes named here are taken.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from auditor.errors import RuleError, UnitError
from auditor.rules import countries, ranges
from auditor.rules.expressions import Edge, Evaluate, Expression, Kind, Name, Unit
from auditor.rules.ranges import ANYWHERE, NOT_NEGATIVE, Range
from auditor.rules.values import Result, Values, all_of, any_of, belongs, combined, compared, negation, ranged
from auditor.units import parse_exact

_LONGEST_EXPRESSION = 1000  # characters


class _Term(NamedTuple):
    kind: Kind
    evaluate: Evaluate
    unit: Unit | None = None  # None for a number that is written out: it takes the unit of what it meets


def parse(text: str, names: Mapping[str, Name]) -> Expression:
    """The expression that ``text`` writes over ``names``.

    Raises: RuleError: not an expression of the kind read here, an unknown name or country, or kinds or units that do
    not fit.
    """
    if len(text) > _LONGEST_EXPRESSION or not text.isascii():
        raise RuleError(f"an expression is plain ASCII of at most {_LONGEST_EXPRESSION} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval")
        builder = _Builder(text.strip(), names)
        evaluate = builder.build(tree.body, Kind.TRUTH).evaluate
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise RuleError(f"not an expression: {text!r}") from error
    return Expression(text.strip(), frozenset(builder.used), tuple(builder.edges), evaluate)


def fits(kind: Kind, wanted: Kind) -> bool:
    """Whether a value of ``kind`` may stand where ``wanted`` is asked for."""
    return kind is wanted or (kind in _NUMBERS and wanted in _NUMBERS)


_NUMBERS = (Kind.NUMBER, Kind.AMOUNT)


class _Builder:
    """Turns syntax nodes into functions, refusing everything that is not named here."""

    def __init__(self, text: str, names: Mapping[str, Name]) -> None:
        self.text = text
        self.names = names
        self.used: set[str] = set()
        self.edges: list[Edge] = []

    def build(self, node: ast.expr, wanted: Kind | None = None) -> _Term:
        if wanted is Kind.COUNTRY and isinstance(node, ast.Constant) and isinstance(node.value, str):
            return self._country(node.value)
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
            return _Term(Kind.TRUTH, lambda values: negation(inner(values)))
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
            return found if isinstance(op, ast.In) else lambda values: negation(found(values))
        compare = _COMPARISONS.get(type(op))
        first = self.build(left)
        second = self.build(right, first.kind)
        ordered = type(op) in _ORDERED
        if compare is None or first.kind is Kind.GROUP or (ordered and not fits(first.kind, Kind.NUMBER)):
            raise RuleError(f"{self._shown(left)} is {first.kind} and cannot be compared like that")
        if fits(first.kind, Kind.NUMBER):
            self._common_unit([left, right], [first, second])
            self.edges += [
                Edge(side.id, other.evaluate)
                for side, other in ((left, second), (right, first))
                if isinstance(side, ast.Name)
            ]
        return lambda values: compared(compare, first.evaluate(values), second.evaluate(values))

    def _membership(self, left: ast.expr, right: ast.expr) -> Evaluate:
        first = self.build(left)
        if first.kind is Kind.COUNTRY and isinstance(right, ast.Name):
            group = self.build(right, Kind.GROUP).evaluate
            return lambda values: belongs(first.evaluate(values), group(values), right.id)
        if not isinstance(right, (ast.Tuple, ast.List, ast.Set)) or not right.elts:
            raise self._refuse(right)
        terms = [self.build(member, first.kind) for member in right.elts]
        if fits(first.kind, Kind.NUMBER):
            self._common_unit([left, *right.elts], [first, *terms])
        members = [term.evaluate for term in terms]

        def found(values: Values) -> Result:
            value = first.evaluate(values)
            return any_of([compared(ranges.equal, value, member(values)) for member in members])

        return found

    def _arithmetic(self, node: ast.BinOp | ast.UnaryOp | ast.Call) -> _Term:
        match node:
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                combine, parts = _ARITHMETIC[type(op)], [left, right]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                combine, parts = ranges.negated, [operand]
            case ast.Call(func=ast.Name(id="max" | "min" as name), args=[_, _, *_] as parts, keywords=[]):
                combine = ranges.greatest if name == "max" else ranges.least
            case _:
                raise self._refuse(node)
        terms = [self.build(part, Kind.NUMBER) for part in parts]
        unit = self._unit_of(node, parts, terms)
        each = [term.evaluate for term in terms]
        return _Term(Kind.NUMBER, lambda values: combined(combine, [part(values) for part in each]), unit)

    def _unit_of(self, node: ast.expr, parts: Sequence[ast.expr], terms: Sequence[_Term]) -> Unit | None:
        op = node.op if isinstance(node, ast.BinOp) else None
        if not isinstance(op, (ast.Mult, ast.Div)):
            return self._common_unit(parts, terms)
        first, second = (term.unit for term in terms)
        if second in (None, Unit.RATIO):
            return first if first is not None else second
        if isinstance(op, ast.Div) and first is second:
            return Unit.RATIO
        if isinstance(op, ast.Mult) and first in (None, Unit.RATIO):
            return second
        raise RuleError(f"{self._shown(node)} has no unit that is read here")

    def _common_unit(self, parts: Sequence[ast.expr], terms: Sequence[_Term]) -> Unit | None:
        known = [(part, term.unit) for part, term in zip(parts, terms, strict=True) if term.unit is not None]
        for part, unit in known[1:]:
            if unit is not known[0][1]:
                raise RuleError(
                    f"{self._shown(known[0][0])} is in {known[0][1]} and {self._shown(part)} in {unit}",
                    remedy="Hold quantities of one unit against one another.",
                )
        return known[0][1] if known else None

    def _name(self, name: str) -> _Term:
        if name not in self.names:
            near = difflib.get_close_matches(name, self.names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(self.names))}"
            raise RuleError(f"unknown name {name!r} in {self.text!r}; {hint}")
        kind, unit = self.names[name]
        self.used.add(name)
        if not fits(kind, Kind.NUMBER):
            return _Term(kind, lambda values: values[name])
        anywhere = NOT_NEGATIVE if kind is Kind.AMOUNT else ANYWHERE
        return _Term(kind, lambda values: ranged(values[name], anywhere), unit)

    def _country(self, code: str) -> _Term:
        if code not in countries.CODES:
            raise RuleError(f"unknown country {code!r} in {self.text!r}; {countries.near(code)}")
        return _Term(Kind.COUNTRY, lambda _: Result(code))

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
            remedy="Use names, numbers, text, comparisons, and, or, not, in (...), in a group, + - * /, min and max.",
        )


_COMPARISONS: dict[type[ast.cmpop], Callable[[Range, Range], bool | None]] = {
    ast.Lt: ranges.less,
    ast.Gt: lambda left, right: ranges.less(right, left),
    ast.LtE: lambda left, right: ranges.opposite(ranges.less(right, left)),
    ast.GtE: lambda left, right: ranges.opposite(ranges.less(left, right)),
    ast.Eq: ranges.equal,
    ast.NotEq: ranges.unequal,
}
_ORDERED = frozenset({ast.Lt, ast.Gt, ast.LtE, ast.GtE})
_ARITHMETIC: dict[type[ast.operator], Callable[..., Range]] = {
    ast.Add: ranges.sum_of,
    ast.Sub: ranges.difference,
    ast.Mult: ranges.product,
    ast.Div: ranges.quotient,
}
