"""What one run of a compiled graph executes, as data: operators and arguments, with symbolic sizes as expressions.

The text is all there is to a description: it lies in torch's own caches beside the compiled code, where processes that
know nothing of an audit read it too, and in the metadata of AOTInductor packages.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from auditor.formulas import TABLE
from auditor.tally import Argument, Phase, Shape, Signature, decode_arguments, encode_arguments

FORMAT = 2
_WRITERS = ("arguments.py", "decomposed.py", "describing.py", "graphs.py")
# In front of an operator's name: it ran in compiled code, with arguments that cannot be told from outside.
UNKNOWN = "torch.compile::"
# A symbolic size stands in encoded arguments as a number that no size can be: this one, and upwards.
FIRST_PLACE = -(2**62)
_FUNCTIONS = {"__builtins__": {}, "math": math, "max": max, "min": min, "abs": abs, "int": int, "float": float}

Calls = Mapping[tuple[Signature, Phase], int]
Place = tuple[int, int | None]  # an input; a dimension, or None for the number that the input is


class Line(NamedTuple):
    """So many nodes of a graph that do the same, each of them ``times`` in one run."""

    op: str
    arguments: str
    recomputed: bool
    times: int
    nodes: int


class MaskLine(NamedTuple):
    """So many nodes that do the same, which a block mask among the graph's inputs keeps from a part of their scores.

    arguments: query, key, value, and the sizes of a block; partial, full: the inputs that hold the numbers of blocks.
    """

    op: str
    arguments: str
    partial: int
    full: int | None
    recomputed: bool
    times: int
    nodes: int


class Masked(NamedTuple):
    """A `MaskLine` with the sizes and the tensors of a call."""

    op: str
    arguments: tuple[Argument, ...]
    times: int
    phase: Phase
    partial: torch.Tensor
    full: torch.Tensor | None


class Description:
    """The operators of one graph, evaluated once for each set of sizes that it is called with.

    symbols: where the values of the symbols stand in the graph's inputs, by name. sizes: expressions over the symbols.
    masks: the operators that hang on the values of block masks, which a run is measured for.
    """

    def __init__(
        self,
        *,
        backward: bool,
        symbols: Mapping[str, Place],
        sizes: Sequence[str],
        calls: Iterable[Line],
        masks: Iterable[MaskLine] = (),
        writer: str = "",
    ) -> None:
        self.backward = backward
        self.symbols = dict(symbols)
        self.sizes = tuple(sizes)
        self.lines = tuple(calls)
        self.masks = tuple(masks)
        self.writer = writer or fingerprint()
        self._where = tuple(self.symbols.values())
        self._evaluated: dict[tuple[tuple[int, ...], Phase], Calls] = {}

    @property
    def text(self) -> str:
        """The description as one line of JSON."""
        content = {"format": FORMAT, "writer": self.writer, "backward": self.backward, "symbols": self.symbols}
        lines = {"sizes": self.sizes, "calls": self.lines, "masks": self.masks}
        return json.dumps({**content, **lines}, separators=(",", ":"))

    @property
    def current(self) -> bool:
        """Whether this version of the auditor, with its table of formulas, would write the same."""
        return self.writer == fingerprint()

    @classmethod
    def read(cls, text: str) -> Description | None:
        """What `text` was made from; None where it is of another format."""
        content = json.loads(text)
        if content.get("format") != FORMAT:
            return None
        symbols = {name: (place[0], place[1]) for name, place in content["symbols"].items()}
        calls = [Line(*line) for line in content["calls"]]
        return cls(
            backward=content["backward"],
            symbols=symbols,
            sizes=content["sizes"],
            calls=calls,
            masks=[MaskLine(*line) for line in content["masks"]],
            writer=content["writer"],
        )

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        """Pickled and copied as its text, so that a cache needs no auditor to be read."""
        return (str, (self.text,))

    def values_of(self, inputs: Sequence[Any]) -> tuple[int, ...]:
        """The values of the symbols in a call; to be read before it, since a call may empty its list of inputs."""
        return tuple([_read(inputs[at], dim) for at, dim in self._where])

    def tensors_of(self, inputs: Sequence[Any]) -> tuple[tuple[Any, Any], ...]:
        """The numbers of blocks of each of the masks in a call; to be taken before it, as `values_of`."""
        return tuple([(inputs[line.partial], None if line.full is None else inputs[line.full]) for line in self.masks])

    def masked(self, values: tuple[int, ...], tensors: Sequence[tuple[Any, Any]], phase: Phase) -> Iterator[Masked]:
        """What one run executes that hangs on its masks, where it is part of this phase."""
        sizes = self._sizes(values)
        own = Phase.BACKWARD if self.backward else phase
        for line, (partial, full) in zip(self.masks, tensors, strict=True):
            arguments = tuple(_filled(part, sizes) for part in decode_arguments(line.arguments))
            times = line.nodes * _size(line.times, sizes)
            yield Masked(line.op, arguments, times, Phase.RECOMPUTE if line.recomputed else own, partial, full)

    def calls(self, values: tuple[int, ...], phase: Phase) -> Calls:
        """What one run executes where the symbols have these values and the run is part of this phase."""
        known = self._evaluated.get((values, phase))
        if known is None:
            known = self._evaluated[values, phase] = self._evaluate(values, phase)
        return known

    def _evaluate(self, values: tuple[int, ...], phase: Phase) -> Calls:
        sizes = self._sizes(values)
        own = Phase.BACKWARD if self.backward else phase
        calls: Counter[tuple[Signature, Phase]] = Counter()
        for op, arguments, recomputed, times, nodes in self.lines:
            signature = _signature(op, arguments, sizes)
            try:
                number = nodes * _size(times, sizes)
            except LookupError:
                signature, number = Signature(UNKNOWN + op, "[]"), nodes
            calls[signature, Phase.RECOMPUTE if recomputed else own] += number
        return dict(calls)

    def _sizes(self, values: tuple[int, ...]) -> list[int | None]:
        names = dict(zip(self.symbols, values, strict=True))
        return [_evaluate(expression, names) for expression in self.sizes]


def _read(given: Any, dim: int | None) -> int:
    return int(given) if dim is None else int(given.shape[dim])


@functools.cache
def fingerprint() -> str:
    """What changes when a graph would be described otherwise: the code that does it, and which operators are free."""
    code = "".join((Path(__file__).parent / name).read_text(encoding="utf-8") for name in _WRITERS)
    return hashlib.sha256(f"{TABLE.digest}{code}".encode()).hexdigest()


def _evaluate(expression: str, names: Mapping[str, int]) -> int | None:
    """The value of a size; None where it hangs on a symbol that no input tells."""
    try:
        return int(eval(_compiled(expression), _FUNCTIONS, dict(names)))  # noqa: S307 - torch's own text for a size
    except NameError:
        return None


@functools.cache
def _compiled(expression: str) -> Any:
    return compile(expression, "<size>", "eval")


def _signature(op: str, arguments: str, sizes: Sequence[int | None]) -> Signature:
    if not sizes:
        return Signature(op, arguments)
    try:
        return Signature(op, encode_arguments([_filled(part, sizes) for part in decode_arguments(arguments)]))
    except LookupError:
        return Signature(UNKNOWN + op, "[]")


def _filled(part: Argument, sizes: Sequence[int | None]) -> Argument:
    """The argument with the values of its symbolic sizes.

    Raises: LookupError: one of them has none.
    """
    if isinstance(part, Shape):
        return Shape([_size(size, sizes) for size in part], part.dtype)
    if isinstance(part, tuple):
        return tuple(_filled(inner, sizes) for inner in part)
    return _size(part, sizes) if type(part) is int else part


def _size(number: int, sizes: Sequence[int | None]) -> int:
    place = number - FIRST_PLACE
    if not 0 <= place < len(sizes):
        return number
    value = sizes[place]
    if value is None:
        raise LookupError(place)
    return value
