"""Rule packs: YAML files, read strictly into a `RuleSet`.

A pack holds any of ``sources``, ``facts``, ``groups``, ``histories``, ``counters`` and ``rules``; names are shared by
all packs that are loaded together, so one pack may use another's source, fact, group, history or counter. Every
complaint names file, line and field.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, TypeVar

from auditor.documents import Node, read_yaml
from auditor.errors import RuleError
from auditor.resources import tree
from auditor.rules import counters, entries, naming, places, standings
from auditor.rules.model import Pack, Rule, RuleKind, RuleSet
from auditor.rules.places import Names, refuse_taken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

SCHEMA = "auditor.rules/1"
_SECTIONS = ("sources", "facts", "groups", "histories", "counters", "rules")

Item = TypeVar("Item")


def shipped() -> list[Path]:
    """The packs that come with the auditor."""
    return sorted((tree("configs") / "rules").glob("*.yaml"))


def load(paths: Iterable[Path] | None = None) -> RuleSet:
    """The rules of the packs at ``paths``, else of those that are shipped.

    One's own are added by ``load([*shipped(), own])``.
    Raises: RuleError: a pack that does not fit, or an id that is taken.
    """
    files = shipped() if paths is None else list(paths)
    packs = [_Document(path) for path in files]
    names = Names()
    for pack in packs:
        names.sources.update(pack.each("sources", names.sources, places.source))
        names.facts.update(pack.each("facts", names.facts, naming.fact))
    for pack in packs:
        names.groups.update(pack.each("groups", names.groups, lambda name, node: naming.group(name, node, names)))
        names.histories.update(pack.each("histories", names.histories, lambda _, node: standings.history(node, names)))
        names.counters.update(pack.listed("counters", names.counters, lambda node: counters.counter(node, names)))
    rules: dict[str, Rule] = {}
    for pack in packs:
        rules.update(pack.listed("rules", rules, lambda node: entries.rule(node, names)))
    for pack in packs:
        pack.check_verdicts(rules)
    return RuleSet(
        packs=tuple(pack.read for pack in packs),
        rules=tuple(rules.values()),
        counters=names.counters,
        facts=names.facts,
        groups=names.groups,
        sources=names.sources,
        digest=digest(files),
    )


def digest(paths: Iterable[Path] | None = None) -> str:
    """SHA-256 over the names and bytes of the packs, without reading what they say: milliseconds.

    Raises: RuleError: a file cannot be read.
    """
    files = shipped() if paths is None else list(paths)
    lines = sorted(f"{path.name}\t{_digest_of(path)}\n" for path in files)
    return hashlib.sha256(f"{SCHEMA}\n{''.join(lines)}".encode()).hexdigest()


def outline(path: Path) -> Pack:
    """What a pack is called, its version and its digest, without what it says.

    Raises: RuleError: the file is not a pack.
    """
    return _Document(path).read


def _digest_of(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise RuleError(f"{error.filename}: cannot be read: {error.strerror}") from error


class _Document:
    """One file, and its sections."""

    def __init__(self, path: Path) -> None:
        self.fields = read_yaml(path, RuleError).fields(required=("schema", "version"), optional=_SECTIONS)
        if self.fields["schema"].text() != SCHEMA:
            self.fields["schema"].fail(f"{SCHEMA!r}")
        self.read = Pack(
            name=path.name, version=self.fields["version"].text(), digest=_digest_of(path), own=path not in shipped()
        )

    def each(self, section: str, taken: Mapping[str, Item], read: Callable[[str, Node], Item]) -> dict[str, Item]:
        """The items of a section that is a mapping from names."""
        found: dict[str, Item] = {}
        for name, node in self.fields[section].fields().items() if section in self.fields else ():
            refuse_taken(node, name, taken)
            found[name] = read(name, node)
        return found

    def listed(self, section: str, taken: Mapping[str, Item], read: Callable[[Node], Item]) -> dict[str, Item]:
        """The items of a section that is a list, by their ids."""
        found: dict[str, Item] = {}
        for node in self.fields[section].items() if section in self.fields else ():
            name = node.fields(required=("id",))["id"].text()
            refuse_taken(node, name, {**taken, **found})
            found[name] = read(node)
        return found

    def check_verdicts(self, rules: Mapping[str, Rule]) -> None:
        """Refuse a fact that is answered by the verdict of a rule that gives none."""
        for node in self.fields["facts"].fields().values() if "facts" in self.fields else ():
            of = node.fields().get("verdict_of")
            if of is None:
                continue
            if of.text() not in rules:
                of.unknown(of.text(), tuple(rules))
            if rules[of.text()].kind is not RuleKind.MODEL_THRESHOLD:
                of.fail("the id of a model_threshold")
