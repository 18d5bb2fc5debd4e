"""Short proofs about a Merkle tree: that it holds a leaf at a place, that it began as a smaller tree.

Whoever proves needs the leaves once, in their order, and keeps one hash for each part of the proof; whoever checks
needs the roots alone. The proofs are those of RFC 6962 (sections 2.1.1 and 2.1.2), the checks those of RFC 9162
(sections 2.1.3.2 and 2.1.4.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from auditor.ledger.merkle import EMPTY_ROOT, Frontier, node_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HASH_BYTES = 32
MOST_PARTS = 63  # of a proof, whatever the tree


class Span(NamedTuple):
    """The leaves from ``start`` to before ``end``: a subtree whose root is part of a proof."""

    start: int
    end: int


def inclusion_spans(index: int, size: int) -> list[Span]:
    """The subtrees whose roots lead from the leaf at ``index`` to the root, the nearest first."""
    spans, start, end = [], 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            spans.append(Span(middle, end))
            end = middle
        else:
            spans.append(Span(start, middle))
            start = middle
    return spans[::-1]


def consistency_spans(first: int, size: int) -> list[Span]:
    """The subtrees whose roots show the tree of the ``first`` leaves to be the beginning of that of ``size``."""
    if not 0 < first < size:
        return []
    spans, start, end = [], 0, size
    while first != end:
        middle = start + _split(end - start)
        if first <= middle:
            spans.append(Span(middle, end))
            end = middle
        else:
            spans.append(Span(start, middle))
            start = middle
    # Where the smaller tree is a whole subtree from the left edge on, the reader has its root already.
    return [*([Span(start, end)] if start else []), *spans[::-1]]


class Prover:
    """Takes the leaf hashes of a tree in their order and ends with the parts of a proof."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self._spans = tuple(spans)
        self._open = sorted(self._spans, reverse=True)
        self._roots: dict[Span, bytes] = {}
        self._tree = Frontier()
        self._at = 0

    def extend(self, leaves: Sequence[bytes]) -> None:
        """These are the next leaf hashes."""
        end = self._at + len(leaves)
        while self._open and self._open[-1].start < end:
            span = self._open[-1]
            self._tree.extend(leaves[max(span.start - self._at, 0) : span.end - self._at])
            if span.end > end:
                break
            self._roots[self._open.pop()] = self._tree.root()
            self._tree = Frontier()
        self._at = end

    def parts(self) -> list[bytes]:
        """The proof; the leaves must have reached to its end."""
        return [self._roots[span] for span in self._spans]


def includes(root: bytes, size: int, index: int, leaf: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the proof shows the leaf hash at ``index`` in the tree of this size and root."""
    if not 0 <= index < size or len(leaf) != HASH_BYTES:
        return False
    at, last, found = index, size - 1, leaf
    for part in proof:
        if last == 0:
            return False
        if at % 2 or at == last:
            found = node_hash(part, found)
            while at % 2 == 0 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, part)
        at, last = at >> 1, last >> 1
    return last == 0 and found == root


def extends(first: int, first_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the proof shows the tree of ``first`` leaves to be the beginning of the other."""
    if not 0 <= first <= size:
        return False
    if first in (0, size):
        known = first_root == (root if first else EMPTY_ROOT)
        return not proof and known and (size > 0 or root == EMPTY_ROOT)
    if not proof:
        return False
    # A complete subtree is its own proof: the reader has its root already.
    parts = [first_root, *proof] if first & (first - 1) == 0 else list(proof)
    at, last = first - 1, size - 1
    while at % 2:
        at, last = at >> 1, last >> 1
    before = after = parts[0]
    for part in parts[1:]:
        if last == 0:
            return False
        if at % 2 or at == last:
            before, after = node_hash(part, before), node_hash(part, after)
            while at % 2 == 0 and at:
                at, last = at >> 1, last >> 1
        else:
            after = node_hash(after, part)
        at, last = at >> 1, last >> 1
    return last == 0 and before == first_root and after == root


def _split(number: int) -> int:
    """The largest power of two below ``number``, which is at least 2."""
    return 1 << ((number - 1).bit_length() - 1)
