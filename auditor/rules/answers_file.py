"""A file of answers to what rules ask and no record shows, each with the place where it was given.

::

    schema: auditor.answers/1
    answers:
      published: false
      prior_ops: 2.5e25
      destination: DE
      n2_ops: {value: 1.1e26, source: "who says so, and when"}
    generators:            # every model whose unpublished data was trained on; [] where there was none
      - {name: teacher, published: false, trained_on_ops: 3e24, generation_ops: 1e24, training_ops: 2e26}
      - {name: writer, published: false, trained_on_ops: 2e24, generated_in: [../made], trained_in: [../run]}
    plan: {tokens: 1.5e13, tokens_per_step: 4194304}    # see `auditor.rules.plan`
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.documents import Node, read_yaml
from auditor.errors import RuleError, UnitError
from auditor.rules.expressions import Kind, Result
from auditor.rules.facts import read_answers
from auditor.rules.generators import Generator
from auditor.rules.plan import Plan, read_plan
from auditor.units import parse_ops, without_groups

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from auditor.rules.expressions import Values
    from auditor.rules.model import Fact, RuleSet

SCHEMA = "auditor.answers/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorLedger:
    """A ledger, or a directory with many below it, that shows a generator's work."""

    generator: str
    directory: Path
    generating: bool  # it made the data; else it trained the generator
    place: str  # where that is said: file, line and field


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What was answered: as it was stated, and as expressions take it; ``origins`` says where, by name."""

    stated: Mapping[str, object]
    values: Values
    origins: Mapping[str, str]
    generators: tuple[Generator, ...] | None
    plan: Plan | None = None
    ledgers: tuple[GeneratorLedger, ...] = ()  # of the generators

    @classmethod
    def none(cls) -> Answers:
        """Nobody answered anything."""
        return cls(stated={}, values={}, origins={}, generators=None)


def read_file(path: Path, ruleset: RuleSet) -> Answers:
    """The answers in a file.

    Raises: RuleError: a name that no rule asks for, an answer of another kind, or generators that contradict
    themselves; with file, line and field.
    """
    fields = read_yaml(path, RuleError).fields(required=("schema",), optional=("answers", "generators", "plan"))
    if fields["schema"].text() != SCHEMA:
        fields["schema"].fail(f"{SCHEMA!r}")
    stated: dict[str, object] = {}
    values: dict[str, Result] = {}
    origins = {}
    for name, node in fields["answers"].fields().items() if "answers" in fields else ():
        if name not in ruleset.facts:
            node.unknown(name, tuple(ruleset.facts))
        value, source = _with_source(node, ruleset.facts[name])
        if value.value is None:
            continue
        stated[name] = value.flag() if ruleset.facts[name].kind is Kind.TRUTH else value.text()
        values |= _answer(name, stated[name], value, ruleset)
        origins[name] = f"{path.name}, line {node.line}{source}"
    return Answers(
        stated=stated,
        values=values,
        origins=origins,
        generators=_generators(fields.get("generators")),
        plan=_plan(fields.get("plan"), path),
        ledgers=tuple(_ledgers(fields.get("generators"), path.parent)),
    )


def _plan(node: Node | None, path: Path) -> Plan | None:
    return None if node is None else read_plan(node, f"{path.name}, line {node.line}")


def _with_source(node: Node, fact: Fact) -> tuple[Node, str]:
    """The answer, and where it is from; some are worth nothing without that."""
    if not isinstance(node.value, dict):
        if fact.with_source and node.value is not None:
            node.fail('a value with its source, such as {value: 1.1e26, source: "who says so, and when"}')
        return node, ""
    fields = node.fields(required=("value", "source"), optional=())
    if not fields["source"].text().strip():
        fields["source"].fail("where it was read, or who says so")
    return fields["value"], f": {fields['source'].text()}"


def _answer(name: str, answer: object, node: Node, ruleset: RuleSet) -> Values:
    try:
        return read_answers(ruleset, {name: answer})
    except RuleError as error:
        raise RuleError(f"{node.file}:{node.line}: {node.path}: {error}", remedy=error.remedy) from error


def _generators(node: Node | None) -> tuple[Generator, ...] | None:
    if node is None:
        return None
    found: dict[str, Generator] = {}
    for part in node:
        one = _generator(part)
        if one.name in found:
            part.fail(f"each generator once; checkpoints and variants of {one.name!r} are one generator")
        if one.in_record and any(other.in_record for other in found.values()):
            part.fail("at most one generator that was run under this record")
        found[one.name] = one
    return tuple(found.values())


_AMOUNTS = ("trained_on_ops", "generation_ops", "training_ops")
_GENERATED_IN, _TRAINED_IN = "generated_in", "trained_in"


def _ledgers(generators: Node | None, base: Path) -> Iterator[GeneratorLedger]:
    """The ledgers that generators name, relative to the file's own directory."""
    for node in generators or ():
        fields = node.fields()
        for field in (_GENERATED_IN, _TRAINED_IN):
            for part in fields[field].items() if field in fields else ():
                if "\0" in part.text():
                    part.fail("the directory of a ledger")
                yield GeneratorLedger(
                    generator=fields["name"].text(),
                    directory=base / part.text(),
                    generating=field == _GENERATED_IN,
                    place=f"{part.file}:{part.line}: {part.path}",
                )


def _generator(node: Node) -> Generator:
    fields = node.fields(required=("name",), optional=("published", "in_record", *_AMOUNTS, _GENERATED_IN, _TRAINED_IN))
    amounts = {name: _ops(fields[name]) for name in _AMOUNTS if name in fields}
    in_record = "in_record" in fields and fields["in_record"].flag()
    for field in ("generation_ops", _GENERATED_IN):
        if in_record and field in fields:
            fields[field].fail("none beside in_record, which takes the generating from the record")
    published = fields.get("published")
    return Generator(
        name=fields["name"].text(),
        published=None if published is None or published.value is None else published.flag(),
        trained_on_ops=amounts.get("trained_on_ops"),
        generation_ops=amounts.get("generation_ops"),
        training_ops=amounts.get("training_ops"),
        in_record=in_record,
        origins={name: f"{Path(node.file).name}, line {fields[name].line}" for name in amounts},
    )


def _ops(node: Node) -> int | None:
    if node.value is None:
        return None
    try:
        return parse_ops(node.text())
    except UnitError:
        node.fail("a whole number of operations, such as 2.5e25", without_groups(node.text()))
