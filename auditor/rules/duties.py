"""The duties of a rule that fall due on a day: read from its entry, and dated for a training.

::

    duties:
      - id: notify
        words: Tell the Commission ...
        begins: [met, known_to_be_met]   # the first of them sets the time running; training_begins too
        within: notify_within_days       # a value of the rule, in days
        sources: [eu_ai_act_52]
        certainty: secondary
      - {id: comply, words: ..., day: 2027-08-02, when: placed_before, sources: [...], certainty: primary}
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, NamedTuple

from auditor.rules.certainty import Certainty
from auditor.rules.expressions import Expression, Unit
from auditor.rules.model import Begins, Duty
from auditor.rules.places import day, refuse_taken, sources, word

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from auditor.documents import Node
    from auditor.rules.model import Value
    from auditor.rules.places import Names

_BEGUN_BY = tuple(begins for begins in Begins if begins is not Begins.DAY)


class Due(NamedTuple):
    """By which day a duty is to be done, and what set its time running on which day."""

    duty: Duty
    day: date
    begins: Begins
    begun: date


def read(
    node: Node | None, values: Sequence[Value], names: Names, expression: Callable[[Node], Expression]
) -> tuple[Duty, ...]:
    """The duties of a rule, each dated by a value of the rule or by a day; none where nothing stands.

    Raises: RuleError: one is dated by neither or by both, or by a value that is no number of days.
    """
    found: dict[str, Duty] = {}
    for part in node.items() if node is not None else ():
        fields = part.fields(
            required=("id", "words", "sources", "certainty"), optional=("begins", "within", "day", "when")
        )
        name = fields["id"].text()
        refuse_taken(part, name, found)
        if ("day" in fields) == ("within" in fields) or ("within" in fields) != ("begins" in fields):
            part.fail("a day, or begins with within")
        found[name] = Duty(
            id=name,
            words=fields["words"].text(),
            begins=_begins(fields["begins"]) if "begins" in fields else (Begins.DAY,),
            within_days=_days(fields["within"], values) if "within" in fields else 0,
            day=day(fields["day"]) if "day" in fields else None,
            when=expression(fields["when"]) if "when" in fields else None,
            sources=sources(fields["sources"], names),
            certainty=word(fields["certainty"], Certainty),
        )
    return tuple(found.values())


def _begins(node: Node) -> tuple[Begins, ...]:
    found = tuple(word(part, Begins) for part in node)
    if not found or Begins.DAY in found or len(set(found)) < len(found):
        node.fail(f"some of {', '.join(_BEGUN_BY)}, each once")
    return found


def _days(node: Node, values: Sequence[Value]) -> int:
    known = {one.name: one for one in values}
    if node.text() not in known:
        node.unknown(node.text(), tuple(known))
    value = known[node.text()]
    if (
        value.unit is not Unit.DAYS
        or value.amount.denominator != 1
        or sum(one.name == value.name for one in values) > 1
    ):
        node.fail("a value in whole days that holds on every day")
    return int(value.amount)


def due(duty: Duty, begun: Mapping[Begins, date]) -> Due | None:
    """By when the duty is to be done where these have begun on these days.

    None where nothing has set it running, or the calendar ends before.
    """
    if duty.day is not None:
        return Due(duty, duty.day, Begins.DAY, duty.day)
    days = [(begun[one], one) for one in duty.begins if one in begun]
    if not days:
        return None
    first, begins = min(days, key=lambda pair: pair[0])
    if (date.max - first).days < duty.within_days:
        return None
    return Due(duty, first + timedelta(days=duty.within_days), begins, first)
