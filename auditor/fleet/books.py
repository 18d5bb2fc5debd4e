"""What an inventory is held against: the rules and the day, and what chips are under them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from auditor.fleet.inventory import same_group
from auditor.rules.classification import class_rule, classify
from auditor.rules.expressions import Members, Result
from auditor.rules.facts import printed
from auditor.rules.paragraphs import walk
from auditor.rules.ranges import Range

if TYPE_CHECKING:
    from datetime import date

    from auditor.fleet.inventory import Company, Inventory, Shipment
    from auditor.fleet.parts import Part
    from auditor.fleet.series import Series
    from auditor.rules.classification import Answer
    from auditor.rules.expressions import Values
    from auditor.rules.model import RuleSet
    from auditor.rules.paragraphs import Walked

COUNTED = "3A090.a"  # the class whose TPP allocations, shares and exceptions speak of
LIST, ARMS = "ai_authorization", "d5_macau"  # the groups that make the tiers
NOTHING = Range.exactly(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """An inventory, the rules, and the day on which they are looked at."""

    ruleset: RuleSet
    inventory: Inventory
    as_of: date
    # What was worked out already.
    series: dict[tuple[tuple[str, ...], str], Series] = field(default_factory=dict)  # of `pools`
    missing: dict[tuple[str, bool], str] = field(default_factory=dict)  # of `pools`
    _classes: dict[tuple[str, str], Answer] = field(default_factory=dict)
    _names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _walked: dict[tuple[object, ...], Walked] = field(default_factory=dict)
    _printed: dict[tuple[str, date], Values] = field(default_factory=dict)
    _members: dict[tuple[str, date], Members] = field(default_factory=dict)
    _counted: dict[tuple[str, str], Range] = field(default_factory=dict)
    _laws: dict[date, str] = field(default_factory=dict)
    _to: dict[str, list[Shipment]] = field(default_factory=dict)
    _owned: dict[str, list[Shipment]] = field(default_factory=dict)
    _groups: dict[str, list[Shipment]] = field(default_factory=dict)

    def day_of(self, shipment: Shipment) -> date:
        """The day whose law a shipment is judged by: its own, else the day that is looked at."""
        return shipment.day or self.as_of

    def shipments_to(self, country: str) -> list[Shipment]:
        """All that go to a country."""
        if not self._to:
            for one in self.inventory.shipments:
                self._to.setdefault(one.site.country, []).append(one)
        return self._to.get(country, [])

    def shipments_of_group(self, company: Company) -> list[Shipment]:
        """All of those who have, or may have, the company's ultimate parent."""
        if company.id not in self._groups:
            owners = (one for one in self.inventory.companies.values() if same_group(one, company) is not False)
            self._groups[company.id] = [shipment for one in owners for shipment in self._shipments_of(one)]
        return self._groups[company.id]

    def _shipments_of(self, owner: Company) -> list[Shipment]:
        if not self._owned:
            for one in self.inventory.shipments:
                self._owned.setdefault(one.owner.id, []).append(one)
        return self._owned.get(owner.id, [])

    def class_of(self, part: Part, day: date) -> Answer:
        """The class of a chip under the rule in force on a day."""
        key = (part.id, self.law_of_classes(day))
        if key not in self._classes:
            self._classes[key] = classify(self.ruleset, [part.circuit], as_of=day)
        return self._classes[key]

    def counted_tpp(self, shipment: Shipment, day: date) -> Range:
        """How much of a shipment rules count: its TPP where it is 3A090.a, nothing where it is not."""
        key = (shipment.id, self.law_of_classes(day))
        if key not in self._counted:
            self._counted[key] = self._count(shipment, day)
        return self._counted[key]

    def _count(self, shipment: Shipment, day: date) -> Range:
        possible = self.class_of(shipment.part, day).possible
        if possible and COUNTED not in possible:
            return NOTHING
        whole = tpp_of(shipment)
        return whole if possible == (COUNTED,) else Range(NOTHING.low, whole.high)

    def law_of_classes(self, day: date) -> str:
        """The rule that gives classes on a day, or the day itself where none does."""
        if day not in self._laws:
            rule = class_rule(self.ruleset, as_of=day)
            self._laws[day] = rule.id if rule else str(day)
        return self._laws[day]

    def inside(self, country: str, group: str, day: date) -> bool | None:
        """Whether a country is in a group on a day; None where that is not known."""
        members = self.members(group, day)
        return None if country in members.uncertain else country in members.inside

    def members(self, group: str, day: date) -> Members:
        """Who is in a group on a day."""
        key = (group, day)
        if key not in self._members:
            self._members[key] = self.ruleset.groups[group].on(day)
        return self._members[key]

    def walk(self, rule_id: str, values: Values, day: date) -> Walked:
        """What a rule comes to on a day, with the numbers and groups that it prints for it.

        It is walked once for all shipments of which its tests see the same.
        """
        printed = self.printed(rule_id, day)
        seen = {name: printed.get(name) or values.get(name) for name in self._names_in(rule_id)}
        key = (rule_id, *seen.values())
        if key not in self._walked:
            known = {name: result for name, result in seen.items() if result is not None}
            self._walked[key] = walk(self.ruleset.find(rule_id), known)
        return self._walked[key]

    def _names_in(self, rule_id: str) -> tuple[str, ...]:
        """The names in the tests of a rule."""
        if rule_id not in self._names:
            expressions = self.ruleset.find(rule_id).expressions
            self._names[rule_id] = tuple(sorted({name for one in expressions for name in one.names}))
        return self._names[rule_id]

    def printed(self, rule_id: str, day: date) -> Values:
        """The numbers and groups that a rule prints for a day."""
        key = (rule_id, day)
        if key not in self._printed:
            self._printed[key] = printed(self.ruleset, self.ruleset.find(rule_id), day)
        return self._printed[key]


def tpp_of(shipment: Shipment) -> Range:
    """The TPP of all its chips; from nothing on and without end where that is not known."""
    each = shipment.part.tpp
    if each is None or each.low is None:
        return Range(NOTHING.low, None)
    return Range(each.low * shipment.count, None if each.high is None else each.high * shipment.count)


def is_open(result: Result) -> bool:
    """Whether a value is not known exactly."""
    value = result.value
    if isinstance(value, Range):
        return value.low is None or value.low != value.high
    return value is None or isinstance(value, Members)
