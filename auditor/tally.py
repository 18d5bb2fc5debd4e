"""What was seen while training ran: operators, their arguments, phase and purpose, and how often.

A tally holds no amounts. What an operator costs is a function of its arguments, applied later (`auditor.formulas`), so
that a tally can be priced again under a corrected formula or another convention.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple


class Phase(StrEnum):
    """What the training was doing when an operator ran."""

    FORWARD = "forward"
    BACKWARD = "backward"
    RECOMPUTE = "recompute"  # a forward operator run again inside the backward pass (activation checkpointing)
    OPTIMIZER = "optimizer"  # from the end of a backward pass to the end of the optimizer's step
    INFERENCE = "inference"  # no gradients wanted: evaluation, generation, initialisation


class Purpose(StrEnum):
    """What the run, or a part of it, was for."""

    PRE_TRAINING = "pre-training"
    FINE_TUNING = "fine-tuning"
    REINFORCEMENT_LEARNING = "reinforcement-learning"
    SYNTHETIC_DATA = "synthetic-data"
    EVALUATION = "evaluation"
    EXPLORATION = "exploration"


class CounterKind(StrEnum):
    """Which counter of operators is wanted."""

    AUTO = "auto"  # the native one; where it cannot be had, the portable one
    NATIVE = "native"  # in C++, on every thread; a compiler builds it once
    DISPATCH = "dispatch"  # the portable one, in Python


class Shape(tuple[int, ...]):
    """The sizes of a tensor, with its element type: ``Shape((2, 3), "float32")``.

    layout: empty for a tensor that stores every element; else how it stores those it does: ``sparse_coo``,
        ``sparse_csr``, ``sparse_csc``, ``sparse_bsr``, ``sparse_bsc`` (the sizes say nothing of how full they are),
        ``nested`` or ``jagged`` (rows of several lengths: there are no sizes), ``unknown``.
    stored: how many elements such a tensor stores, zeros and duplicates included.
    """

    dtype: str
    layout: str
    stored: int

    def __new__(cls, sizes: Iterable[int], dtype: str = "float32", layout: str = "", stored: int = 0) -> Shape:
        """Sizes in elements; ``dtype`` and ``layout`` by torch's names without the ``torch.`` in front."""
        shape = super().__new__(cls, sizes)
        shape.dtype, shape.layout, shape.stored = dtype, layout, stored
        return shape

    @property
    def numel(self) -> int:
        """The number of elements; 1 for a tensor without dimensions."""
        product = 1
        for size in self:
            product *= size
        return product


class Number:
    """Stands for a scalar argument whose value is not kept: a learning rate must not make a signature of its own."""

    def __repr__(self) -> str:
        return "NUMBER"


NUMBER = Number()

Argument = Shape | bool | int | str | None | Number | tuple["Argument", ...]


def encode_arguments(arguments: Sequence[Argument]) -> str:
    """The canonical text of an operator's arguments, in the order of its schema with defaults filled in.

    A tensor is ``"float32[2,3]"``, and one that does not store every element ``"float32[2,3]sparse_coo:4"``, with its
    layout and how many elements it stores (``"float32[]nested:12"`` where it has no sizes); a string is ``"'text"``, a
    scalar of any value ``"#"``; integers, booleans, null and lists are themselves.
    """
    return json.dumps([_encode(argument) for argument in arguments], separators=(",", ":"))


def _encode(argument: Argument) -> object:
    if isinstance(argument, Shape):
        how = f"{argument.layout}:{argument.stored}" if argument.layout else ""
        return f"{argument.dtype}[{','.join(map(str, argument))}]{how}"
    if isinstance(argument, tuple):
        return [_encode(part) for part in argument]
    if isinstance(argument, str):
        return "'" + argument
    return "#" if isinstance(argument, Number) else argument


def decode_arguments(text: str) -> tuple[Argument, ...]:
    """What `encode_arguments` was given.

    Raises: ValueError: the text is not of that form.
    """
    parts = json.loads(text)
    if not isinstance(parts, list):
        raise ValueError("arguments must be a list")  # noqa: TRY004
    return tuple(_decode(part) for part in parts)


def _decode(part: object) -> Argument:
    if part is None or isinstance(part, (bool, int)):
        return part
    if isinstance(part, list):
        return tuple(_decode(inner) for inner in part)
    if not isinstance(part, str):
        raise ValueError(f"not an argument: {part!r}")  # noqa: TRY004
    if part == "#":
        return NUMBER
    if part.startswith("'"):
        return part[1:]
    return _decode_tensor(part)


def _decode_tensor(text: str) -> Shape:
    dtype, opened, rest = text.partition("[")
    sizes, closed, how = rest.partition("]")
    layout, _, stored = how.partition(":")
    if not opened or not closed or (how and not (layout and stored)):
        raise ValueError(f"not a tensor: {text!r}")
    return Shape((int(size) for size in sizes.split(",") if size), dtype, layout, int(stored or 0))


class Signature(NamedTuple):
    """An operator (``aten::mm``, with its overload as ``aten::add.Tensor``) and the canonical text of its arguments."""

    op: str
    arguments: str


class Entry(NamedTuple):
    """One line of a tally."""

    signature: Signature
    phase: Phase
    purpose: Purpose


class Tally(Mapping[Entry, int]):
    """Calls by entry; immutable, comparable, and the same digest for the same content in any order."""

    __slots__ = ("_calls", "_digest")

    def __init__(self, calls: Mapping[Entry, int]) -> None:
        self._calls = {entry: number for entry, number in calls.items() if number}
        self._digest: str | None = None

    def __getitem__(self, entry: Entry) -> int:
        return self._calls[entry]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._calls)

    def __len__(self) -> int:
        return len(self._calls)

    def __eq__(self, other: object) -> bool:
        return self._calls == other._calls if isinstance(other, Tally) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Tally({len(self)} entries, {sum(self._calls.values())} calls)"

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of the sorted lines of the tally."""
        if self._digest is None:
            lines = sorted(
                f"{phase}\t{purpose}\t{signature.op}\t{signature.arguments}\t{calls}\n"
                for (signature, phase, purpose), calls in self._calls.items()
            )
            self._digest = hashlib.sha256(b"auditor.tally/1\n" + "".join(lines).encode()).hexdigest()
        return self._digest


def merge(parts: Iterable[tuple[Tally, int]]) -> Tally:
    """One tally that holds each part as often as its number says."""
    calls: dict[Entry, int] = {}
    for tally, times in parts:
        for entry, number in tally.items():
            calls[entry] = calls.get(entry, 0) + number * times
    return Tally(calls)


def difference(before: Tally, after: Tally) -> Tally | None:
    """What came in between; None where the later count has less of anything than the earlier one."""
    calls: dict[Entry, int] = {entry: number - before.get(entry, 0) for entry, number in after.items()}
    if any(number < 0 for number in calls.values()) or any(entry not in after for entry in before):
        return None
    return Tally(calls)


def factor(tally: Tally, steps: int) -> list[tuple[Tally, int]]:
    """The tally as a few smaller ones, each with how often it stands in it: what every step repeats, and the rest.

    In steady state the first part is the tally of one step, the same in every interval however many steps it covers, so
    that it need be written only once. ``steps``: how many ended in the interval.
    """
    each = {entry: calls for entry, calls in tally.items() if steps and calls % steps == 0}
    rest = {entry: calls for entry, calls in tally.items() if entry not in each}
    return [_reduced(part) for part in (each, rest) if part]


def _reduced(calls: Mapping[Entry, int]) -> tuple[Tally, int]:
    times = math.gcd(*calls.values())
    return Tally({entry: number // times for entry, number in calls.items()}), times
