"""What a segment says beside its intervals, kept in a bounded space: gaps, and what was seen of devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from auditor.errors import LedgerInvalid
from auditor.lines import read_values
from auditor.records import MOST_FORMS, MOST_PARTS, Gap, Hardware, HardwareAgain
from auditor.units import parse_ops

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from auditor.records import Updates

_MOST_GAPS = 1000


class NotedGap(NamedTuple):
    """Something the auditor could not see or do, and how often that was noted."""

    cause: str
    message: str
    lower_bound: bool
    times: int


class Gaps:
    """Gaps, the same ones together; where there are too many kinds, the later ones as one."""

    def __init__(self) -> None:
        self.number = 0
        self.floors = 0  # of them, those because of which operations may be missing
        self._times: dict[tuple[str, str, bool], int] = {}

    def add(self, gap: Gap) -> None:
        """One gap more."""
        self.number += 1
        self.floors += gap.lower_bound
        key = (gap.cause, gap.message, gap.lower_bound)
        if key not in self._times and len(self._times) >= _MOST_GAPS:
            key = ("ledger", f"there are gaps of more than {_MOST_GAPS} kinds; the others are told as one", key[2])
        self._times[key] = self._times.get(key, 0) + 1

    def all(self) -> tuple[NotedGap, ...]:
        """The gaps in the order in which they first came."""
        return tuple(NotedGap(*key, times) for key, times in self._times.items())


class _Form(NamedTuple):
    """What hardware records have in common that differ in their values alone."""

    event: str
    device: str
    names: tuple[str, ...]


class _Again(NamedTuple):
    form: _Form
    values: bytes


class Sights:
    """Hardware records; where there are too many, every other of those that only observed is left out.

    That loses detail alone: what an observation tells are totals since the beginning of the record.
    """

    def __init__(self, most: int) -> None:
        """``most``: that are kept; with 0 only whether each refers to what is there is asked."""
        self._most = most
        self._forms: list[_Form] = []
        self._seen: list[Hardware | _Again] = []

    def add(self, body: Hardware | HardwareAgain) -> None:
        """One record more.

        Raises: LedgerInvalid: it refers to a record that does not stand before it, or has another number of values.
        """
        if isinstance(body, HardwareAgain):
            form = self._form(body.earlier, len(body.values))
            self._put(Hardware(event=form.event, device=form.device, values=_named(form, body.values)))
            return
        if len(self._forms) < MOST_FORMS:
            self._forms.append(_Form(body.event, body.device, tuple(sorted(body.values))))
        self._put(body)

    def add_again(self, earlier: int, values: bytes) -> None:
        """As `add`, with the values as `FREQUENT` finds them; they are read when they are asked for."""
        self._put(_Again(self._form(earlier, values.count(b'","') + 1 if values else 0), values))

    def all(self) -> tuple[Hardware, ...]:
        """The records in their order."""
        return tuple(
            Hardware(event=seen.form.event, device=seen.form.device, values=_named(seen.form, read_values(seen.values)))
            if isinstance(seen, _Again)
            else seen
            for seen in self._seen
        )

    def _form(self, earlier: int, num_values: int) -> _Form:
        if not 0 <= earlier < len(self._forms):
            raise LedgerInvalid(f"it refers to hardware record {earlier}, which does not stand before it")
        form = self._forms[earlier]
        if len(form.names) != num_values:
            raise LedgerInvalid(f"it has {num_values} values, the record that it refers to has {len(form.names)}")
        return form

    def _put(self, seen: Hardware | _Again) -> None:
        if not self._most:
            return
        self._seen.append(seen)
        if len(self._seen) > self._most:
            self._thin()

    def _thin(self) -> None:
        """Half of each device's observations go, its last stays; then of each other event; then the older half of all.

        Each only where what goes before is too few: most events come once and are all that is said of a device.
        """
        most = self._most * 3 // 4
        kept = _every_other(self._seen, lambda event: event == "observed")
        if len(kept) > most:
            kept = _every_other(kept, lambda _: True)
        self._seen = kept if len(kept) <= most else kept[-self._most // 2 :]


def _every_other(seen: Sequence[Hardware | _Again], thins: Callable[[str], bool]) -> list[Hardware | _Again]:
    """Every other of those of an event and device that are to be thinned, the last among them."""
    times: dict[tuple[str, str], int] = {}  # it and after it
    kept = []
    for one in reversed(seen):
        common = _common(one)
        key = common.event, common.device
        times[key] = times.get(key, 0) + 1
        if times[key] % 2 or not thins(common.event):
            kept.append(one)
    return kept[::-1]


def _named(form: _Form, values: Sequence[str]) -> dict[str, str]:
    return dict(zip(form.names, values, strict=True))


def _common(seen: Hardware | _Again) -> Hardware | _Form:
    return seen.form if isinstance(seen, _Again) else seen


def check_updates(body: Updates) -> None:
    """Returns where the record is one of an update.

    Raises: LedgerInvalid, UnitError: it is none.
    """
    if body.operations:
        parse_ops(body.operations)
    numbers = [number for _, ranks, _, copies, elements, _ in body.parts for number in (ranks, copies, elements)]
    if min(body.number, body.step, *numbers) < 0 or len(body.parts) > MOST_PARTS:
        raise LedgerInvalid(f"the update of an optimizer has a negative number or more than {MOST_PARTS} parts")
    if any(copies > ranks for _, ranks, _, copies, _, _ in body.parts):
        raise LedgerInvalid("the update of an optimizer has more copies than ranks")
