"""Which arguments each formula was written for, so that no operator of another torch is read by the wrong places.

Formulas take an operator's arguments by position, and a signature holds no names. Where a release of torch adds or
drops an argument, every one after it moves. `schemas.txt` therefore says, for every overload that has a price, the
arguments that its formula was read against; a call that was noted with others has no price, and the reason is named.
Other forms that a formula reads as well, those of earlier releases for one, stand beside the present ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from auditor.errors import FormulaError
from auditor.tally import Argument, Number, Shape

FILE = Path(__file__).with_name("schemas.txt")


class Parameter(NamedTuple):
    """One argument of an operator: ``kind`` is ``Tensor``, ``int``, ``bool``, ``str``, ``number``, ``other`` or a list.

    A list is its elements' kind with ``[]`` behind it. What torch knows besides (devices, generators, element types)
    is ``other``, and nothing is known of what stands there.
    """

    kind: str
    name: str

    def takes(self, argument: Argument) -> bool:
        """Whether such an argument may stand here; nothing at all may stand everywhere."""
        if argument is None or self.kind == "other":
            return True
        if self.kind.endswith("[]"):
            return isinstance(argument, tuple | int) and not isinstance(argument, Shape)
        return isinstance(argument, _CLASSES[self.kind])


_CLASSES: dict[str, tuple[type, ...]] = {
    "Tensor": (Shape, Number),
    "int": (int,),
    "bool": (bool,),
    "str": (str,),
    "number": (Number, int),
}

Form = tuple[Parameter, ...]


def parse(text: str) -> dict[str, list[Form]]:
    """Forms by operator, of lines such as ``aten::mm(Tensor self, Tensor mat2)``; ``#`` begins a comment."""
    forms: dict[str, list[Form]] = {}
    for line in text.splitlines():
        op, opened, rest = line.partition("(")
        if opened and not line.startswith("#"):
            parts = (part.split(" ") for part in rest.removesuffix(")").split(", ") if part)
            forms.setdefault(op, []).append(tuple(Parameter(kind, name) for kind, name in parts))
    return forms


@cache
def known() -> Mapping[str, list[Form]]:
    """The forms that this package's formulas were read against."""
    return parse(FILE.read_text(encoding="utf-8"))


@cache
def packets() -> frozenset[str]:
    """The operators of which some overload is known."""
    return frozenset(op.partition(".")[0] for op in known())


def check(op: str, formula: str, arguments: tuple[Argument, ...]) -> None:
    """Nothing, where the formula named ``formula`` reads these arguments of ``op`` by the right places.

    Operators of others, with formulas of their own, are theirs to check.
    Raises: FormulaError: the formula was written for other arguments.
    """
    forms = known().get(op)
    if forms is None:
        if formula != op and formula.partition(".")[0] in packets():
            raise FormulaError(f"{op} is an overload that the formula of {formula} was not written for")
        return
    if not any(_fits(form, arguments) for form in forms):
        names = ", ".join(parameter.name for parameter in forms[0])
        raise FormulaError(
            f"{op} was noted with {len(arguments)} arguments that are not those its formula was written for "
            f"({len(forms[0])}: {names}); its schema differs in the torch that ran"
        )


def _fits(form: Form, arguments: tuple[Argument, ...]) -> bool:
    return len(form) == len(arguments) and all(
        parameter.takes(argument) for parameter, argument in zip(form, arguments, strict=True)
    )
