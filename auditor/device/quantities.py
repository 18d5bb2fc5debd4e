"""What is measured of one call: tensors whose values say how much it computes, and the way from these to numbers.

Each quantity is worked out in two ways that agree: by a kernel of ``kernels/counters.cu``, and by plain arithmetic on
tensors (`values`), on whatever device they lie. Plain arithmetic is in 64 bits, which one call does not overflow: the
positions of a batch are fewer than 2^31.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch

OPEN = -1  # a side of a window that nothing bounds
_WIDEST = 1 << 40  # a side that reaches as far is as good as open, and stays so when positions are added to it
_ABSENT = (0, 0)


class Quantity(Protocol):
    """Numbers that the values of tensors tell; all tensors lie on one device."""

    kernel: ClassVar[str]
    num_results: ClassVar[int]

    @property
    def device(self) -> torch.device:
        """Where the tensors lie."""

    @property
    def num_items(self) -> int:
        """How many items the kernel goes through."""

    def words(self) -> tuple[int, ...]:
        """What the kernel is given, after the addresses of its results."""

    def values(self) -> tuple[torch.Tensor | int, ...]:
        """The results, by plain tensor arithmetic; those of tensors lie on their device."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lengths:
    """How long each sequence is: ``used`` where it is given, else between two of the ``offsets``, else ``each``.

    None is longer than ``each``: a kernel goes no further, whatever memory that nobody has written to may hold.
    """

    each: int
    offsets: torch.Tensor | None = None
    used: torch.Tensor | None = None

    @property
    def device(self) -> torch.device | None:
        """Where they are; None where they are numbers of the host."""
        given = self.used if self.used is not None else self.offsets
        return None if given is None else given.device

    def values(self) -> torch.Tensor | int:
        """The lengths."""
        if self.used is not None:
            return _plain(self.used).clamp(0, self.each)
        return self.each if self.offsets is None else _plain(self.offsets).diff().clamp(0, self.each)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pairs:
    """Pairs of query and key in packed sequences: within the mask, outside of it.

    before, after: query i meets keys ``i - before`` to ``i + after``, counted from the key that is beside it when both
    sequences begin together, or end together (at_the_end).
    """

    kernel: ClassVar[str] = "add_pairs"
    num_results: ClassVar[int] = 2

    queries: Lengths
    keys: Lengths
    sequences: int
    before: int = OPEN
    after: int = OPEN
    at_the_end: bool = False

    @property
    def device(self) -> torch.device:
        """Where the tensors lie; Raises: ValueError: there is none."""
        device = self.queries.device or self.keys.device
        if device is None:
            raise ValueError("all lengths are known to the host")
        return device

    @property
    def num_items(self) -> int:
        """One for each sequence."""
        return self.sequences

    def words(self) -> tuple[int, ...]:
        """As `add_pairs` has them."""
        lengths = (self.queries.offsets, self.keys.offsets, self.keys.used)
        places = [word for tensor in lengths for word in _place(tensor)]
        sides = (min(self.before, _WIDEST), min(self.after, _WIDEST))
        return (*places, self.sequences, self.queries.each, self.keys.each, *sides, int(self.at_the_end))

    def values(self) -> tuple[torch.Tensor | int, ...]:
        """Pairs within, and pairs outside."""
        queries, keys = torch.broadcast_tensors(
            *(
                torch.as_tensor(side.values(), dtype=torch.int64, device=self.device)
                for side in (self.queries, self.keys)
            )
        )
        shift = keys - queries if self.at_the_end else torch.zeros_like(keys)
        before, after = min(self.before, _WIDEST), min(self.after, _WIDEST)
        every = queries * keys
        up_to_last = every if after < 0 else _pairs_up_to(queries, keys, shift + after)
        within = up_to_last if before < 0 else up_to_last - _pairs_up_to(queries, keys, shift - before - 1)
        return within.sum(), (every - within).sum()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Steps:
    """Rows or columns that groups take, of ``most``: group i ends where the next begins, at position ``ends[i]``."""

    kernel: ClassVar[str] = "add_steps"
    num_results: ClassVar[int] = 1

    ends: torch.Tensor
    most: int

    @property
    def device(self) -> torch.device:
        """Where the tensor lies."""
        return self.ends.device

    @property
    def num_items(self) -> int:
        """One for each group."""
        return self.ends.numel()

    def words(self) -> tuple[int, ...]:
        """As `add_steps` has them."""
        return (*_place(self.ends), self.ends.numel(), self.most)

    def values(self) -> tuple[torch.Tensor | int, ...]:
        """The rows or columns."""
        ends = _plain(self.ends).clamp(0, self.most)
        return (ends.diff(prepend=torch.zeros_like(ends[:1])).clamp(min=0).sum(),)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Blocks:
    """Scores in the blocks that a block mask keeps, and those outside: ``times`` over, for every row of blocks in turn.

    partial, full: by row of blocks, how many are masked inside, and how many are kept whole; the last dimension is the
    rows over one sequence of queries. query_block, key_block: the sizes of a block.
    """

    kernel: ClassVar[str] = "add_blocks"
    num_results: ClassVar[int] = 2

    partial: torch.Tensor
    full: torch.Tensor | None
    query_block: int
    key_block: int
    queries: int
    keys: int
    times: int

    @property
    def device(self) -> torch.device:
        """Where the tensors lie."""
        return self.partial.device

    @property
    def num_items(self) -> int:
        """One for each row of blocks."""
        return self.partial.numel()

    def words(self) -> tuple[int, ...]:
        """As `add_blocks` has them."""
        partial, wide = _place(self.partial)
        full, full_wide = _place(self.full)
        if self.full is not None and wide != full_wide:
            raise ValueError("the numbers of blocks are of two types")
        sizes = (self.query_block, self.key_block, self.queries, self.keys, self.times)
        return (partial, full, wide, self.partial.numel(), self.partial.shape[-1], *sizes)

    def values(self) -> tuple[torch.Tensor | int, ...]:
        """Scores kept, and scores left out."""
        blocks = _plain(self.partial) if self.full is None else _plain(self.partial) + _plain(self.full)
        rows = torch.arange(self.partial.shape[-1], device=self.device).expand(self.partial.shape).reshape(-1)
        heights = (self.queries - rows * self.query_block).clamp(0, self.query_block) * self.times
        kept = (heights * (blocks * self.key_block).clamp(0, self.keys)).sum()
        return kept, (heights * self.keys).sum() - kept


@dataclass(frozen=True, slots=True)
class Number:
    """A number that the host knows, added when the device comes to it."""

    kernel: ClassVar[str] = "add_number"
    num_results: ClassVar[int] = 1

    number: int
    device: torch.device

    @property
    def num_items(self) -> int:
        """One."""
        return 1

    def words(self) -> tuple[int, ...]:
        """As `add_number` has them."""
        return (self.number,)

    def values(self) -> tuple[torch.Tensor | int, ...]:
        """The number."""
        return (self.number,)


def _pairs_up_to(queries: torch.Tensor, keys: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """By sequence, the pairs in which key j comes no later than query i + shift; as `counting::pairs_up_to`."""
    nothing = torch.zeros_like(queries)
    first = torch.minimum((-shift).clamp(min=0), queries)
    whole = torch.maximum(torch.minimum(torch.maximum(keys - 1 - shift, nothing), queries), first)
    rising = whole - first
    return rising * (first + whole + 2 * shift + 1) // 2 + (queries - whole) * keys


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    """Its elements behind one another, in 64 bits."""
    return tensor.detach().reshape(-1).to(torch.int64)


def _place(tensor: torch.Tensor | None) -> tuple[int, int]:
    """The address of whole numbers that lie behind one another, and whether they have 64 bits each.

    Raises: ValueError: they do not, or they are of another type.
    """
    if tensor is None:
        return _ABSENT
    if tensor.dtype not in (torch.int32, torch.int64) or not tensor.is_contiguous():
        raise ValueError(f"lengths must lie behind one another as int32 or int64, not {tensor.dtype} {tensor.stride()}")
    return tensor.data_ptr(), int(tensor.dtype is torch.int64)
