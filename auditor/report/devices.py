"""What hardware the record names, what its numbers put it in, and what the machines come to that hold it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from auditor.hardware import quantities
from auditor.hardware.catalogue import match
from auditor.hardware.identity import GPU, places
from auditor.hardware.matching import TELLING, Match
from auditor.hardware.spans import Span, hull
from auditor.report.judgement import Judgement, answer_words, class_words, judge, not_judged, span_words
from auditor.report.words import listing, plain_decimal
from auditor.rules.classification import NO_RULE, UNDETERMINED, Answer, holder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import date

    from auditor.hardware.catalogue import Catalogue
    from auditor.rules.model import RuleSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """A device as one rank saw it.

    ``chip`` is None where no one part is identified; ``candidates`` are those that it may be, or that it resembles.
    """

    rank: int
    kind: str
    name: str
    identity: Mapping[str, str]
    chip: str | None
    candidates: tuple[str, ...]
    candidates_tpp: Span | None
    basis: str
    judgement: Judgement

    @property
    def eccn(self) -> str | None:
        """The class under the rule in force: "3A090.a", "none", "undetermined"; None where there is no accelerator."""
        return self.judgement.eccn

    @property
    def tpp(self) -> Decimal | None:
        """Total processing performance, where it is one number."""
        span = self.judgement.tpp
        return span.exact if span else None

    @property
    def performance_density(self) -> Decimal | None:
        """TPP over the applicable die area, where it is one number."""
        span = self.judgement.density
        return span.exact if span else None


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareGroup:
    """Devices that are alike, the ranks that saw them, and how many: 0 where they cannot be told apart."""

    example: Hardware
    ranks: tuple[int, ...]
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A node, or all of them together: its accelerators, the sum of their TPP, and what the law calls it.

    ``tpp``: without end where that of a device is not known; None where none is. ``repeated``: devices that gave the
    UUID of another in the same list. ``holder`` is None where no rule speaks of what holds circuits.
    """

    name: str
    devices: int
    circuits: Decimal
    tpp: Span | None
    unknown: int
    repeated: int
    holder: Answer | None


def describe(
    rank: int, identity: Mapping[str, str], *, catalogue: Catalogue, ruleset: RuleSet, as_of: date
) -> Hardware:
    """The device, its chip and its class on that day; the unknown stays undetermined, with the reason."""
    found = match(identity, catalogue)
    candidates = [quantities.of_chip(chip) for chip in found.candidates]
    return Hardware(
        rank=rank,
        kind=identity.get("kind", "unknown"),
        name=identity.get("name") or identity.get("pci_device_id") or "unknown",
        identity=dict(sorted(identity.items())),
        chip=found.chip.id if found.chip else None,
        candidates=tuple(chip.id for chip in found.candidates),
        candidates_tpp=hull(one.tpp for one in candidates if one.tpp is not None),
        basis=found.basis,
        judgement=_judged(found, identity, catalogue=catalogue, ruleset=ruleset, as_of=as_of),
    )


def _judged(
    found: Match, identity: Mapping[str, str], *, catalogue: Catalogue, ruleset: RuleSet, as_of: date
) -> Judgement:
    if identity.get("kind") != GPU:
        return not_judged(as_of)
    judgement = judge(quantities.of(found, identity, catalogue), ruleset=ruleset, as_of=as_of)
    why = _why(found, judgement)
    return replace(judgement, klass=replace(judgement.klass, reasons=(*why, *judgement.klass.reasons)))


def _why(found: Match, judgement: Judgement) -> tuple[str, ...]:
    """Why the class of a device stands though its part does not, or why its candidates give it none."""
    if found.chip is not None or not found.candidates or judgement.eccn == NO_RULE:
        return ()
    if not found.exhaustive:
        return ("The candidates decide nothing: the device may be a part that is not listed.",)
    if judgement.eccn == UNDETERMINED:
        return ("Every listed part that it can be was judged.",)
    return ("Every listed part that it can be is in this class, so the class stands, whichever of them it is.",)


def describe_all(
    devices: Mapping[int, Iterable[Mapping[str, str]]], *, catalogue: Catalogue, ruleset: RuleSet, as_of: date
) -> tuple[Hardware, ...]:
    """The devices of each rank; those that say the same of themselves are judged once and share the judgement."""
    known: dict[tuple[str | None, ...], Hardware] = {}
    found = []
    for rank, identities in sorted(devices.items()):
        for identity in identities:
            key = tuple(identity.get(name) for name in TELLING)
            if key not in known:
                known[key] = describe(rank, identity, catalogue=catalogue, ruleset=ruleset, as_of=as_of)
            found.append(replace(known[key], rank=rank, identity=dict(sorted(identity.items()))))
    return tuple(found)


def group(devices: Iterable[Hardware]) -> tuple[HardwareGroup, ...]:
    """Like devices together, in the order of their first rank."""
    listed = list(devices)
    own = {id(device): name for name, device in _named(listed)}
    alike: dict[tuple[object, ...], list[Hardware]] = {}
    for device in listed:
        key = (device.kind, device.name, device.chip, device.eccn, device.basis, device.judgement.tpp)
        alike.setdefault(key, []).append(device)
    return tuple(
        HardwareGroup(
            example=found[0],
            ranks=tuple(sorted({device.rank for device in found})),
            number=len({own[id(device)] for device in found if "uuid" in device.identity}),
        )
        for found in alike.values()
    )


def _named(devices: Sequence[Hardware]) -> Iterator[tuple[tuple[str, int], Hardware]]:
    """Each device by what tells it from others: its UUID, and its place among those of its rank's list that gave it."""
    by_rank: dict[int, list[Hardware]] = {}
    for device in devices:
        by_rank.setdefault(device.rank, []).append(device)
    for rank, found in by_rank.items():
        for number, (device, place) in enumerate(zip(found, places(one.identity for one in found), strict=True)):
            yield (device.identity.get("uuid", f"{rank}, {number}"), place), device


def machines(
    devices: Sequence[Hardware], nodes: Mapping[int, str], *, ruleset: RuleSet, as_of: date
) -> tuple[Machine, ...]:
    """Each node and, where there are several, all of them together; ``nodes`` names the node of each rank."""
    by_node: dict[str, list[Hardware]] = {}
    for device in devices:
        if device.kind == "gpu":
            by_node.setdefault(nodes.get(device.rank, ""), []).append(device)
    each = [_machine(name, found, ruleset, as_of) for name, found in by_node.items()]
    if len(each) < 2:
        return tuple(each)
    everything = [device for found in by_node.values() for device in found]
    return (*each, _machine(f"all {len(each):,} nodes", everything, ruleset, as_of))


def _machine(name: str, found: Sequence[Hardware], ruleset: RuleSet, as_of: date) -> Machine:
    """One machine; ranks that see the same device see it once."""
    named = dict(_named(found))
    judged = [device.judgement for device in named.values()]
    known = [one for one in judged if one.tpp is not None]
    return Machine(
        name=name,
        devices=len(judged),
        circuits=sum((1 / Decimal(one.devices_per_circuit) for one in judged), Decimal(0)),
        tpp=_total(known, complete=len(known) == len(judged)),
        unknown=len(judged) - len(known),
        repeated=sum(place > 0 for _, place in named),
        holder=holder(ruleset, list({one.klass.possible: one.klass for one in judged}.values()), as_of=as_of),
    )


def _total(judged: Sequence[Judgement], *, complete: bool) -> Span | None:
    """The sum of TPP: a device that is one of several of its circuit adds its share."""
    shares = [(one.tpp, one.devices_per_circuit) for one in judged if one.tpp is not None]
    if not shares:
        return None
    low = sum((span.low / devices for span, devices in shares), Decimal(0))
    highs = [span.high / devices for span, devices in shares if span.high is not None]
    return Span(low, sum(highs, Decimal(0)) if complete and len(highs) == len(shares) else None)


def machine_words(machine: Machine) -> str:
    """A machine in one line: how many circuits, the sum of their TPP, and its class."""
    circuits = f"{plain_decimal(machine.circuits.normalize())} circuit{'' if machine.circuits == 1 else 's'}"
    total = f"TPP {span_words(machine.tpp, 0)} over {circuits}" if machine.tpp else f"{circuits}, TPP not known"
    missing = f" ({machine.unknown} of unknown TPP)" if machine.unknown and machine.tpp else ""
    klass = "" if machine.holder is None else f"; {_holder_words(machine.holder)}"
    return f"{total}{missing}{klass}{_repeated_words(machine.repeated)}"


def _repeated_words(number: int) -> str:
    if not number:
        return ""
    said = "1 device gives" if number == 1 else f"{number:,} devices give"
    return f"; {said} the UUID of another in the same list, where no device stands twice, and each is counted"


def headline_words(groups: Sequence[HardwareGroup]) -> str:
    """The classes of all devices, each once, as short as they go."""
    each = [group.example.eccn or class_words(group.example.judgement) for group in groups]
    return ", ".join(dict.fromkeys(each)) or UNDETERMINED


def _holder_words(answer: Answer) -> str:
    """The class of a machine; where no rule was asked, the reason."""
    return answer_words(answer) if answer.possible else f"{answer.outcome} ({answer.reasons[0].rstrip('.')})"


def candidate_words(device: Hardware) -> str:
    """The parts that a device may be, and the range of TPP over them."""
    return f"{listing(device.candidates, 8)}; TPP over them {span_words(device.candidates_tpp)}"
