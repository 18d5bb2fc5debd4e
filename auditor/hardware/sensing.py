"""How devices fare while a run goes on: what a vendor's library is asked at each look, and in what form it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A device to look at; ``gpu_instance``: the slice of it that the process was given, by number."""

    uuid: str
    gpu_instance: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """For how long units were busy since the look before, by unit, of the time ``covered_s``; all in seconds."""

    busy_s: Mapping[str, Decimal]
    covered_s: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one device said at a look; None where it gave nothing, and why in ``not_given``. ``lost``: why it is."""

    uuid: str
    lost: str = ""
    energy_mj: int | None = None  # since the driver was loaded
    sm_clock_mhz: int | None = None
    mig_mode: str | None = None
    ecc_uncorrected: int | None = None
    slowed_by: str | None = None  # "" where nothing does
    activity: Activity | None = None
    cycles: Mapping[str, int] = field(default_factory=dict)  # since the machine was started, by counter
    not_given: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a library said at one moment; ``closed``: why it says nothing at all."""

    present: tuple[str, ...] = ()  # UUIDs of all devices, in the driver's order; "" where one does not say its own
    samples: tuple[Sample, ...] = ()
    errors: tuple[tuple[str, int], ...] = ()  # UUID and XID, as the driver reported them since the look before
    closed: str = ""


class Station(Protocol):
    """A library that is looked through again and again, always by the same thread."""

    def look(self, wanted: Mapping[str, Wanted]) -> Look:
        """What it says now of those devices. Raises nothing; it may hang, as drivers do."""

    def close(self) -> None:
        """It holds nothing open; the next look opens it again."""
