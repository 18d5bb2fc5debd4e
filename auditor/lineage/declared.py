"""What a person says of models: whose runs and weights are whose, who descends from whom, and what that took.

::

    schema: auditor.lineage/1
    models:
      chat:
        runs: [9f3a61c0b2a44be18a0d1f5f5a7f0b11]   # these runs are its, whatever model they name
        parents:
          - model: base
            relation: base_model                   # base_model | data_generator | teacher | merged
            source: model card, section 2
            certainty: primary                     # primary | secondary | recalled | inferred
      base:
        weights: [<SHA-256>]                       # its weights, where no ledger records that they were saved
        spent:                                     # operations of which there is no ledger
          - operations: 1.2e24
            source: technical report, table 3
            certainty: secondary
    not_weights:                                   # files with tensors that are data
      - name: train-*.pt                           # or digest: <SHA-256>
        source: our own tokeniser
        certainty: primary
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

from auditor.documents import Node, parse_yaml, read_yaml
from auditor.errors import LineageError, UnitError
from auditor.lineage.graph import Edge, Proof, Spent
from auditor.relations import Relation
from auditor.units import parse_ops

SCHEMA = "auditor.lineage/1"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_STATED = ("source", "certainty")

Word = TypeVar("Word", bound=StrEnum)


class Certainty(StrEnum):
    """How sure a statement is."""

    PRIMARY = "primary"  # said by who made it
    SECONDARY = "secondary"  # said by others
    RECALLED = "recalled"  # from memory
    INFERRED = "inferred"  # worked out from other figures


@dataclass(frozen=True, slots=True, kw_only=True)
class NotWeights:
    """A file with tensors that somebody says is no model's: by its digest, or by names of that pattern."""

    digest: str
    name: str
    source: str
    certainty: str

    def covers(self, digests: frozenset[str], name: str) -> bool:
        """Whether it speaks of the file with one of these digests and this name."""
        return self.digest in digests if self.digest else fnmatchcase(name, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """All that a lineage file says; models by name."""

    names: tuple[str, ...] = ()
    runs: Mapping[str, str]  # the model by the id of a run
    weights: Mapping[str, str]  # the model by a digest
    spent: tuple[tuple[str, Spent], ...] = ()
    edges: tuple[Edge, ...] = ()
    not_weights: tuple[NotWeights, ...] = ()


NOTHING = Declared(runs={}, weights={})


def read(path: Path) -> Declared:
    """What the file says.

    Raises: LineageError: it does not fit; the message names the place.
    """
    return _document(read_yaml(path, LineageError))


def parse(text: str, name: str = "lineage") -> Declared:
    """What a text says; ``name`` stands for the file in messages.

    Raises: LineageError: it does not fit.
    """
    return _document(parse_yaml(text, name, LineageError))


def _document(node: Node) -> Declared:
    fields = node.fields(required=("schema", "models"), optional=("not_weights",))
    if fields["schema"].text() != SCHEMA:
        fields["schema"].fail(SCHEMA)
    runs: dict[str, str] = {}
    weights: dict[str, str] = {}
    spent: list[tuple[str, Spent]] = []
    edges: list[Edge] = []
    models = fields["models"].fields()
    for name, model in models.items():
        parts = model.fields(optional=("runs", "weights", "spent", "parents"))
        _claim(parts.get("runs"), name, runs, "run")
        _claim(parts.get("weights"), name, weights, "digest")
        spent += [(name, _spent(part)) for part in _listed(parts.get("spent"))]
        edges += [_edge(name, part) for part in _listed(parts.get("parents"))]
    return Declared(
        names=tuple(models),
        runs=runs,
        weights=weights,
        spent=tuple(spent),
        edges=tuple(edges),
        not_weights=tuple(map(_not_weights, _listed(fields.get("not_weights")))),
    )


def _listed(node: Node | None) -> list[Node]:
    return [] if node is None else node.items()


def _claim(node: Node | None, model: str, taken: dict[str, str], kind: str) -> None:
    """These are the model's, and no other's."""
    for part in _listed(node):
        text = _digest(part) if kind == "digest" else part.text()
        if text in taken:
            part.fail(f"a {kind} that does not belong to {taken[text]!r} already")
        taken[text] = model


def _spent(node: Node) -> Spent:
    fields = node.fields(required=("operations", *_STATED), optional=())
    try:
        operations = parse_ops(fields["operations"].text())
    except UnitError:
        fields["operations"].fail("a whole number of operations, such as 1.2e24")
    return Spent(operations=operations, source=_source(fields), certainty=_word(fields["certainty"], Certainty))


def _edge(child: str, node: Node) -> Edge:
    fields = node.fields(required=("model", "relation", *_STATED), optional=())
    return Edge(
        child=child,
        parent=fields["model"].text(),
        relation=_word(fields["relation"], Relation),
        proof=Proof.DECLARED,
        why=_source(fields),
        certainty=_word(fields["certainty"], Certainty),
    )


def _not_weights(node: Node) -> NotWeights:
    fields = node.fields(required=_STATED, optional=("digest", "name"))
    if ("digest" in fields) == ("name" in fields):
        node.fail("either a digest or a name")
    return NotWeights(
        digest=_digest(fields["digest"]) if "digest" in fields else "",
        name=fields["name"].text() if "name" in fields else "",
        source=_source(fields),
        certainty=_word(fields["certainty"], Certainty),
    )


def _source(fields: Mapping[str, Node]) -> str:
    text = fields["source"].text().strip()
    if not text:
        fields["source"].fail("where it was read, or who says so")
    return text


def _digest(node: Node) -> str:
    if not _DIGEST.fullmatch(node.text()):
        node.fail("a SHA-256 of 64 digits in small letters")
    return node.text()


def _word(node: Node, words: type[Word]) -> Word:
    try:
        return words(node.text())
    except ValueError:
        node.fail(f"one of {', '.join(map(str, words))}")
