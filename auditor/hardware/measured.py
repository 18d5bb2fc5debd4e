"""What the silicon did: rates and sizes that a probe measured on one device, whatever the device calls itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from auditor.errors import HardwareError

if TYPE_CHECKING:
    from collections.abc import Mapping

_RATE = "rate_tera."
_REASON = "not_measured."


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Dense tera-operations per second by type (a multiply-add is two), bandwidth in 10**9 bytes per second.

    ``not_measured``: the reason for each thing that could not be measured. ``seconds``: how long it all took.
    """

    uuid: str
    rates_tera: Mapping[str, Decimal]
    dram_gb_per_s: Decimal | None
    l2_bytes: int | None
    sm_count: int | None
    seconds: Decimal
    not_measured: Mapping[str, str] = field(default_factory=dict)

    def to_mapping(self) -> dict[str, str]:
        """As written down: one text for each thing that is known, and the reasons for those that are not."""
        sizes = {"dram_gb_per_s": self.dram_gb_per_s, "l2_bytes": self.l2_bytes, "sm_count": self.sm_count}
        return {
            "uuid": self.uuid,
            "seconds": str(self.seconds),
            **{name: str(size) for name, size in sizes.items() if size is not None},
            **{f"{_RATE}{dtype}": str(rate) for dtype, rate in self.rates_tera.items()},
            **{f"{_REASON}{name}": reason for name, reason in self.not_measured.items()},
        }

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, str]) -> Measurement:
        """What `to_mapping` wrote.

        Raises: HardwareError: a number that is none, or below zero, or a field that is missing.
        """
        missing = {"uuid", "seconds"} - mapping.keys()
        if missing:
            raise HardwareError(f"not a measurement: {', '.join(sorted(missing))} missing")
        bandwidth = mapping.get("dram_gb_per_s")
        return cls(
            uuid=mapping["uuid"],
            rates_tera={name: _number(name, text) for name, text in _under(_RATE, mapping).items()},
            dram_gb_per_s=None if bandwidth is None else _number("dram_gb_per_s", bandwidth),
            l2_bytes=_whole("l2_bytes", mapping),
            sm_count=_whole("sm_count", mapping),
            seconds=_number("seconds", mapping["seconds"]),
            not_measured=_under(_REASON, mapping),
        )


def _under(prefix: str, mapping: Mapping[str, str]) -> dict[str, str]:
    return {name[len(prefix) :]: text for name, text in mapping.items() if name.startswith(prefix)}


def _number(name: str, text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or number < 0:
        raise HardwareError(f"not a measurement: {name} is {text!r}, not a number of at least zero")
    return number


def _whole(name: str, mapping: Mapping[str, str]) -> int | None:
    text = mapping.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()):
        raise HardwareError(f"not a measurement: {name} is {text!r}, not a whole number")
    return int(text)
