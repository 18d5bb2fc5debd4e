"""Arithmetic over shapes that several formulas share; it registers nothing."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from auditor.errors import FormulaError
from auditor.tally import Argument, Shape
from auditor.units import OPS_PER_MULTIPLY_ADD

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# A product of complex numbers is four real multiply-adds. Elementwise work counts numbers, not parts.
_MULTIPLY_ADDS_PER_COMPLEX = 4


def multiply_adds(number: int, operand: Shape) -> int:
    """The operations of ``number`` multiply-adds on elements of the type of ``operand``."""
    factor = _MULTIPLY_ADDS_PER_COMPLEX if operand.dtype.startswith("complex") else 1
    return OPS_PER_MULTIPLY_ADD * factor * number


def shapes(arguments: Iterable[Argument]) -> list[Shape]:
    """The tensors among the arguments, those of lists included."""
    found: list[Shape] = []
    for argument in arguments:
        if isinstance(argument, Shape):
            found.append(argument)
        elif isinstance(argument, tuple):
            found.extend(shapes(argument))
    return found


def broadcast(operands: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The sizes that the operands have together.

    Raises: FormulaError: they do not go together.
    """
    rank = max(map(len, operands), default=0)
    result = [1] * rank
    for sizes in operands:
        for position, size in enumerate(sizes, start=rank - len(sizes)):
            if size != 1 and result[position] not in (1, size):
                raise FormulaError(
                    f"the sizes {' and '.join(str(tuple(each)) for each in operands)} do not go together"
                )
            result[position] = result[position] if size == 1 else size
    return tuple(result)


def elementwise(*arguments: Argument, each: int, operands: int) -> int:
    """``each`` operations per element of the result; the first ``operands`` arguments may be tensors read."""
    return each * prod(broadcast([part for part in arguments[:operands] if isinstance(part, Shape)]))


def elementwise_lists(*arguments: Argument, each: int, operands: int) -> int:
    """`elementwise` over lists of tensors, one by one; a tensor beside the lists goes with each of them."""
    read = arguments[:operands]
    alone = [part for part in read if isinstance(part, Shape)]
    lists = [shapes(part) for part in read if isinstance(part, tuple) and not isinstance(part, Shape)]
    together = zip(*filter(None, lists), strict=True)
    return each * sum(prod(broadcast([*parts, *alone])) for parts in together)


def reduced(shape: Shape, dims: Argument = None) -> int:
    """How many results a reduction over ``dims`` leaves; over all of them where none is named."""
    if isinstance(dims, (bool, Shape)) or not isinstance(dims, (int, tuple)) or not shape or dims == ():
        return 1
    named = (dims,) if isinstance(dims, int) else dims
    gone = {dim % len(shape) for dim in named if isinstance(dim, int)}
    return prod(size for position, size in enumerate(shape) if position not in gone)


def numbers(argument: Argument, count: int) -> tuple[int, ...]:
    """A list of integers as long as there are dimensions; one number stands for all of them."""
    parts = argument if isinstance(argument, tuple) else (argument,)
    whole = tuple(part for part in parts if isinstance(part, int))
    if len(whole) != len(parts) or len(whole) not in (1, count):
        raise FormulaError(f"expected {count} whole numbers, got {argument!r}")
    return whole * count if len(whole) == 1 else whole


def ceil_log2(number: int) -> int:
    """The least power of two that is not smaller, as its exponent; 0 for nothing and for one."""
    return max(number - 1, 0).bit_length()
