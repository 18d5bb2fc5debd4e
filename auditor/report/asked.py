"""A record as the law is asked about it: with what else is known of its model, and what it answers itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.errors import UsageError
from auditor.report import recorded
from auditor.rules.cases import Subject
from auditor.rules.counter import Treatment
from auditor.rules.expressions import Result
from auditor.rules.model import Mode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from auditor.hardware.catalogue import Catalogue
    from auditor.ledger.reading import Reading
    from auditor.lineage.family import Family
    from auditor.rules.expressions import Values
    from auditor.rules.generators import Generator
    from auditor.rules.model import Rule, RuleSet

# Verdicts under which the record says all that was counted, as far as it was read.
_WHOLE = frozenset({"SUMMED", "UNANCHORED", "WITNESSED"})


def is_whole(reading: Reading) -> bool:
    """Whether the record says all that was counted; operators without a price are told by the operations."""
    return str(reading.verdict) in _WHOLE


def subject_of(
    family: Family,
    ruleset: RuleSet,
    *,
    as_of: date,
    answers: Values,
    mode: Mode = Mode.AS_CODIFIED,
    generators: Sequence[Generator] | None = None,
) -> Subject:
    """What rules are held against. ``answers``: as `with_record` completes them.

    Raises: UsageError: a rule asks for what was given up, and the ends of segments, which alone were read, do not say.
    """
    reading = family.reading
    for one in (reading, *family.others):
        _refuse_unknown_abandoned(one, ruleset)
    return Subject(
        ruleset=ruleset,
        operations=reading.operations,
        as_of=as_of,
        answers=answers,
        mode=mode,
        lower_bound=not is_whole(reading),
        generators=generators,
        abandoned=reading.abandoned,
        missing=family.unknown,
        ancestors=family.ancestors,
        model=family.model,
    )


def _refuse_unknown_abandoned(reading: Reading, ruleset: RuleSet) -> None:
    if reading.ends is None or not any(gap.cause == "weights" for gap in reading.gaps):
        return
    counters = (rule.counter for rule in ruleset.rules if rule.counter)
    asking = sorted({one.id for one in counters if one.abandoned is not Treatment.COUNTED})
    if asking:
        raise UsageError(
            f"{', '.join(asking)}: not all that was given up counts there, and the ends of the segments of the run"
            f" {reading.run_id} do not say how much it is",
            remedy="Leave --from-ends out, or the pack.",
        )


def with_record(
    answers: Values, reading: Reading, ruleset: RuleSet, catalogue: Catalogue, *, as_of: date, rules: Iterable[Rule]
) -> tuple[Values, Mapping[str, str]]:
    """The answers, with what the record's hardware answers where a rule asks and nobody did; and where that is from."""
    asked = any(recorded.PLANT in expression.names for rule in rules for expression in rule.expressions)
    if not asked or recorded.PLANT in answers:
        return answers, {}
    found = recorded.plant_eccn(reading, ruleset, catalogue, as_of)
    if found is None:
        return answers, {}
    return {**answers, recorded.PLANT: Result(found[0])}, {recorded.PLANT: found[1]}
