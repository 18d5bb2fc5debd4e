"""Sequences behind one another in one tensor, their lengths in another: when shapes alone tell them; no prices."""

from __future__ import annotations

from auditor.errors import FormulaError
from auditor.tally import Argument, Shape

BATCHED = 4  # dimensions of a tensor that is not packed


def refuse_used(*lengths: Argument) -> None:
    """Tensors that say how much of each sequence is used, or where it lies."""
    if any(isinstance(part, Shape) for part in lengths):
        raise FormulaError("packed sequences: how much of them is used is a value of a tensor, not a size")


def are_packed(offsets: Argument) -> bool:
    return isinstance(offsets, Shape) and offsets.numel > 0


def _unpacked(x: Shape, offsets: Argument, longest: Argument) -> Shape:
    """``[B,S,H,D]`` out of ``[T,H,D]`` or ``[1,T,H,D]`` for B sequences, if all are as long as the longest, S.

    ``offsets``: where each sequence begins and the last ends; a tensor that is not packed stays as it is.
    """
    if not are_packed(offsets) and len(x) == BATCHED:
        return x
    number = offsets.numel - 1 if isinstance(offsets, Shape) else 0
    *before, positions, heads, width = x
    if not isinstance(longest, int) or before not in ([], [1]) or number * longest != positions:
        raise FormulaError("packed sequences: their lengths are values of a tensor, not sizes")
    return Shape((number, longest, heads, width), x.dtype)


def unpack(query: Shape, key: Shape, value: Shape, *lengths: Argument) -> tuple[Shape, Shape, Shape]:
    """All three as ``[B,S,H,D]``; ``lengths``: offsets of queries and of keys, the longest of each."""
    offsets, key_offsets, longest, longest_key = lengths
    return (
        _unpacked(query, offsets, longest),
        _unpacked(key, key_offsets, longest_key),
        _unpacked(value, key_offsets, longest_key),
    )
