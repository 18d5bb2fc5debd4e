"""A Merkle tree over lines that are only ever added.

Hashes are those of RFC 6962 (section 2.1): a leaf is SHA-256 over 0x00 and its bytes, a node SHA-256 over 0x01 and
its two children, so that a leaf can never be taken for a node. A tree of n leaves has the largest power of two below n
as its left side.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf with these bytes."""
    return sha256(b"\0" + data).digest()


def leaf_hashes(lines: Iterable[bytes]) -> list[bytes]:
    """As `leaf_hash`, of many."""
    return [sha256(b"\0" + line).digest() for line in lines]


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a node with these children."""
    return sha256(b"\1" + left + right).digest()


class Frontier:
    """A tree that grows, of which only the right edge is kept: one node for each bit of its size."""

    __slots__ = ("_nodes", "size")

    def __init__(self) -> None:
        self.size = 0
        self._nodes: list[bytes | None] = []  # by level, leaves first: a complete subtree that waits for its sibling

    @classmethod
    def of(cls, size: int, nodes: Sequence[bytes]) -> Frontier:
        """The tree of so many leaves whose complete subtrees have these roots, the largest first.

        Raises: ValueError: a tree of that size has another number of them.
        """
        if size < 0 or size.bit_count() != len(nodes):
            raise ValueError(f"a tree of {size} leaves does not have {len(nodes)} complete subtrees")
        tree, smallest_first = cls(), iter(nodes[::-1])
        tree.size = size
        tree._nodes = [next(smallest_first) if size >> level & 1 else None for level in range(size.bit_length())]
        return tree

    def nodes(self) -> list[bytes]:
        """The roots of its complete subtrees, the largest first: all that it takes to let it grow."""
        return [node for node in reversed(self._nodes) if node is not None]

    def copy(self) -> Frontier:
        """The same tree, to grow on its own."""
        twin = Frontier()
        twin.size, twin._nodes = self.size, self._nodes.copy()
        return twin

    def extend(self, leaves: Sequence[bytes]) -> None:
        """The tree has these leaf hashes more, at its right end."""
        self.size += len(leaves)
        nodes, level = list(leaves), 0
        while nodes:
            if level == len(self._nodes):
                self._nodes.append(None)
            waiting = self._nodes[level]
            if waiting is not None:
                nodes.insert(0, waiting)
            self._nodes[level] = nodes[-1] if len(nodes) % 2 else None
            pairs = zip(nodes[::2], nodes[1::2], strict=False)
            nodes = [sha256(b"\1" + left + right).digest() for left, right in pairs]
            level += 1

    def root(self) -> bytes:
        """The root of the tree as it stands."""
        nodes = [node for node in self._nodes if node is not None]
        if not nodes:
            return EMPTY_ROOT
        root = nodes[0]
        for left in nodes[1:]:
            root = node_hash(left, root)
        return root
