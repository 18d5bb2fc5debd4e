"""Proofs against their definition, on every tree of up to 130 leaves, and against what others publish for them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.ledger.merkle import EMPTY_ROOT, leaf_hash, leaf_hashes, node_hash
from auditor.ledger.proofs import Prover, consistency_spans, extends, includes, inclusion_spans
from tests.ledger.conftest import root_of
from tests.ledger.test_merkle import LEAVES, ROOTS, defined

MOST = 130
ALL = leaf_hashes([number.to_bytes(2) for number in range(MOST)])
ALL_ROOTS = [root_of(ALL[:size]) for size in range(MOST + 1)]

# Of the tree of the reference implementation's leaves: (index, size) and (first, size), with the proofs that it tests.
INCLUSION = {
    (0, 1): "",
    (0, 8): "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
    " 5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
    " 6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    (5, 8): "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
    " ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
    " d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    (2, 3): "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    (1, 5): "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    " 5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
    " bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
}
CONSISTENCY = {
    (1, 1): "",
    (1, 8): INCLUSION[0, 8],
    (6, 8): "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
    " ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
    " d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    (2, 5): "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
    " bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
}
quick = settings(max_examples=100, deadline=None)


def prove(spans, leaves, step=7):
    prover = Prover(spans)
    for start in range(0, len(leaves), step):
        prover.extend(leaves[start : start + step])
    return prover.parts()


def inclusion(leaves, index, step=7):
    return prove(inclusion_spans(index, len(leaves)), leaves, step)


def consistency(leaves, first, step=7):
    return prove(consistency_spans(first, len(leaves)), leaves, step)


def defined_path(leaves: list[bytes], index: int) -> list[bytes]:
    """The audit path as RFC 6962, section 2.1.1, defines it."""
    if len(leaves) == 1:
        return []
    half = 1 << ((len(leaves) - 1).bit_length() - 1)
    if index < half:
        return [*defined_path(leaves[:half], index), defined(leaves[half:])]
    return [*defined_path(leaves[half:], index - half), defined(leaves[:half])]


def defined_consistency(leaves: list[bytes], first: int, *, known: bool = True) -> list[bytes]:
    """The proof as RFC 6962, section 2.1.2, defines it."""
    if first == len(leaves):
        return [] if known else [defined(leaves)]
    half = 1 << ((len(leaves) - 1).bit_length() - 1)
    if first <= half:
        return [*defined_consistency(leaves[:half], first, known=known), defined(leaves[half:])]
    return [*defined_consistency(leaves[half:], first - half, known=False), defined(leaves[:half])]


@pytest.mark.parametrize("case", INCLUSION)
def test_the_paths_of_the_reference_implementation(case) -> None:
    index, size = case
    proof = [bytes.fromhex(part) for part in INCLUSION[case].split()]
    leaves = leaf_hashes(LEAVES[:size])
    assert inclusion(leaves, index) == proof
    assert includes(bytes.fromhex(ROOTS[size - 1]), size, index, leaves[index], proof)


@pytest.mark.parametrize("case", CONSISTENCY)
def test_the_consistency_proofs_of_the_reference_implementation(case) -> None:
    first, size = case
    proof = [bytes.fromhex(part) for part in CONSISTENCY[case].split()]
    roots = [bytes.fromhex(root) for root in ROOTS]
    assert consistency(leaf_hashes(LEAVES[:size]), first) == proof
    assert extends(first, roots[first - 1], size, roots[size - 1], proof)


def test_every_proof_of_every_tree_is_the_defined_one_and_holds() -> None:
    for size in range(1, MOST + 1):
        leaves, root = ALL[:size], ALL_ROOTS[size]
        for index in {*range(min(size, 9)), size // 2, *range(max(size - 9, 0), size)}:
            proof = inclusion(leaves, index)
            assert proof == defined_path(leaves, index)
            assert len(proof) <= (size - 1).bit_length()
            assert includes(root, size, index, leaves[index], proof)
        for first in {*range(1, min(size, 9) + 1), size // 2 or 1, *range(max(size - 9, 1), size + 1)}:
            proof = consistency(leaves, first)
            assert proof == defined_consistency(leaves, first)
            assert extends(first, ALL_ROOTS[first], size, root, proof)


@pytest.mark.parametrize("size", [*range(1, 18), 31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 130])
def test_a_proof_shows_its_place_and_its_beginning_alone(size: int) -> None:
    leaves, root = ALL[:size], ALL_ROOTS[size]
    for index in range(size):
        proof = inclusion(leaves, index, step=size)
        shown = [at for at in range(size) if includes(root, size, at, leaves[index], proof)]
        assert shown == [index]
        proof = consistency(leaves, index + 1, step=size)
        shown = [first for first in range(1, size + 1) if extends(first, ALL_ROOTS[first], size, root, proof)]
        # A proof without parts holds for the tree itself; no other beginning shares one.
        assert shown == [index + 1]


@given(size=st.integers(1, MOST), data=st.data())
@quick
def test_a_changed_inclusion_proof_is_refused(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof, root, leaf = inclusion(ALL[:size], index), ALL_ROOTS[size], ALL[index]
    assert not includes(root, size, index, leaf_hash(b"another leaf"), proof)
    assert not includes(leaf_hash(b"root"), size, index, leaf, proof)
    assert not includes(root, size, size, leaf, proof)
    assert not includes(root, size, -1, leaf, proof)
    for changed in mutations(proof, root):
        assert not includes(root, size, index, leaf, changed)


@given(size=st.integers(0, MOST), data=st.data())
@quick
def test_a_changed_consistency_proof_is_refused(size: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, size))
    proof, root, before = consistency(ALL[:size], first), ALL_ROOTS[size], ALL_ROOTS[first]
    assert extends(first, before, size, root, proof)
    assert not extends(first, leaf_hash(b"root"), size, root, proof)
    assert not extends(size + 1, root, size, root, proof)
    assert not extends(-1, root, size, root, proof)
    if first:
        assert not extends(first, before, size, leaf_hash(b"root"), proof)
    for changed in mutations(proof, root):
        assert not extends(first, before, size, root, changed)


def mutations(proof: list[bytes], more: bytes) -> list[list[bytes]]:
    """Every part taken out, doubled, changed in a bit, swapped with the next; and one more at either end."""
    changed = [[*proof, more], [more, *proof]]
    for place, part in enumerate(proof):
        flipped = bytes([part[0] ^ 1]) + part[1:]
        changed += [proof[:place] + proof[place + 1 :], [*proof[:place], part, *proof[place:]]]
        changed.append([*proof[:place], flipped, *proof[place + 1 :]])
    changed += [
        [*proof[:place], proof[place + 1], proof[place], *proof[place + 2 :]] for place in range(len(proof) - 1)
    ]
    return changed


def test_a_beginning_with_other_leaves_has_no_proof() -> None:
    """Of two trees that differ in one leaf, neither is shown to extend the other, whatever parts are tried."""
    for size, first in itertools.combinations(range(12, 0, -1), 2):
        forked = [leaf_hash(b"forked"), *ALL[1:first]]
        assert not extends(first, root_of(forked), size, ALL_ROOTS[size], consistency(ALL[:size], first))


def test_the_empty_tree_begins_every_tree_and_needs_no_proof() -> None:
    assert extends(0, EMPTY_ROOT, 0, EMPTY_ROOT, [])
    assert extends(0, EMPTY_ROOT, 5, ALL_ROOTS[5], [])
    assert not extends(0, EMPTY_ROOT, 0, ALL_ROOTS[5], [])
    assert not extends(0, ALL_ROOTS[5], 5, ALL_ROOTS[5], [])
    assert not extends(0, EMPTY_ROOT, 5, ALL_ROOTS[5], [EMPTY_ROOT])
    assert not includes(b"", 1, 0, b"", []), "what is no hash is no leaf"


def test_a_node_is_no_leaf() -> None:
    left, right = ALL[:2]
    assert not includes(node_hash(left, right), 1, 0, leaf_hash(left + right), [])
