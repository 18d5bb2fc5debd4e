"""The tree against its definition, and against the figures that others publish for it."""

from __future__ import annotations

import itertools
from hashlib import sha256

from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.ledger.merkle import EMPTY_ROOT, Frontier, leaf_hash, leaf_hashes
from tests.ledger.conftest import root_of

# The leaves that the reference implementation of Certificate Transparency tests with, and its roots of 1 to 8 of them.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
quick = settings(max_examples=150, deadline=None)
hashes = st.lists(st.binary(min_size=1, max_size=4), max_size=70).map(leaf_hashes)


def defined(leaves: list[bytes]) -> bytes:
    """The root as RFC 6962, section 2.1, defines it."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return sha256(b"\x01" + defined(leaves[:half]) + defined(leaves[half:])).digest()


def test_the_roots_of_the_reference_implementation() -> None:
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert [root_of(leaf_hashes(LEAVES[:size])).hex() for size in range(1, 9)] == ROOTS


def test_a_leaf_is_never_a_node() -> None:
    left, right = leaf_hashes([b"left", b"right"])
    assert root_of([left, right]) != leaf_hash(left + right)
    assert root_of([left, right]) != root_of([right, left])


@given(leaves=hashes, cuts=st.lists(st.integers(0, 70), max_size=5))
@quick
def test_a_tree_that_grows_by_any_pieces_is_as_defined(leaves: list[bytes], cuts: list[int]) -> None:
    tree = Frontier()
    edges = [0, *sorted(min(cut, len(leaves)) for cut in cuts), len(leaves)]
    for start, end in itertools.pairwise(edges):
        earlier = tree.copy()
        tree.extend(leaves[start:end])
        assert (tree.size, tree.root()) == (end, defined(leaves[:end]))
        assert (earlier.size, earlier.root()) == (start, defined(leaves[:start])), "a copy grows on its own"
