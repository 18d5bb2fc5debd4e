"""How much of a device's time, in one step, counted operators account for: what a profile of that step showed."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING

from auditor.errors import HardwareError

if TYPE_CHECKING:
    from collections.abc import Mapping

EVENT = "coverage"
KERNELS = "kernels"  # of a GPU, by their time on the device
OPERATORS = "operators"  # of a CPU, by their time without what they call
MOST_NAMES = 10
LEAST_SHARE = Decimal("0.9")
_LONGEST_NAME = 160
_UNEXPLAINED = "unexplained_ns."
_SHARE = Decimal("0.0001")


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """``busy_ns``: the time of everything that ran in the step; ``explained_ns``: of it, what counted operators did.

    ``unexplained_ns``: the rest by name, the longest first, `MOST_NAMES` at most. Work on several streams at once
    is added up, so that the time can be longer than the step.
    """

    step: int
    what: str
    busy_ns: int
    explained_ns: int
    unexplained_ns: Mapping[str, int]

    def __post_init__(self) -> None:
        amounts = (self.step, self.busy_ns, self.explained_ns, *self.unexplained_ns.values())
        if self.what not in (KERNELS, OPERATORS) or min(amounts) < 0:
            raise HardwareError(f"not a coverage: of {self.what!r}, or an amount below zero")
        if self.explained_ns + sum(self.unexplained_ns.values()) > self.busy_ns:
            raise HardwareError("not a coverage: its parts take longer than all of it")

    @property
    def share(self) -> Decimal | None:
        """Explained over busy, rounded down to a ten-thousandth; None where nothing ran."""
        if not self.busy_ns:
            return None
        return (Decimal(self.explained_ns) / Decimal(self.busy_ns)).quantize(_SHARE, ROUND_DOWN)

    @property
    def suspect(self) -> bool:
        """Whether so little is explained that operations may be missing from the count."""
        return self.share is not None and self.share < LEAST_SHARE

    @property
    def told(self) -> str:
        """In one sentence, what was found and what was not explained."""
        share = "nothing" if self.share is None else f"{self.share:.2%}"
        names = "; ".join(f"{name} ({time_ns / 1e3:,.1f} us)" for name, time_ns in self.unexplained_ns.items())
        rest = f"; not of: {names}" if names else ""
        return f"in step {self.step}, counted operators account for {share} of the time of all {self.what}{rest}"

    @classmethod
    def of(cls, step: int, what: str, explained_ns: int, unexplained_ns: Mapping[str, int]) -> Coverage:
        """The coverage of a step in which these ran; names are clipped, and those past the longest ten left out."""
        named: dict[str, int] = {}
        for name, time_ns in unexplained_ns.items():
            named[_clipped(name)] = named.get(_clipped(name), 0) + time_ns
        longest = sorted(named.items(), key=lambda item: (-item[1], item[0]))[:MOST_NAMES]
        busy_ns = explained_ns + sum(unexplained_ns.values())
        return cls(step=step, what=what, busy_ns=busy_ns, explained_ns=explained_ns, unexplained_ns=dict(longest))

    def to_mapping(self) -> dict[str, str]:
        """As written down; ``share`` stands beside the amounts that it follows from, for whoever reads along."""
        return {
            "step": str(self.step),
            "what": self.what,
            "busy_ns": str(self.busy_ns),
            "explained_ns": str(self.explained_ns),
            "share": "" if self.share is None else str(self.share),
            **{f"{_UNEXPLAINED}{name}": str(time_ns) for name, time_ns in self.unexplained_ns.items()},
        }

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, str]) -> Coverage:
        """What `to_mapping` wrote.

        Raises: HardwareError: an amount is missing or none, or they contradict one another.
        """
        named = {name: _whole(name, mapping) for name in mapping if name.startswith(_UNEXPLAINED)}
        longest = sorted(named.items(), key=lambda item: (-item[1], item[0]))
        return cls(
            step=_whole("step", mapping),
            what=mapping.get("what", ""),
            busy_ns=_whole("busy_ns", mapping),
            explained_ns=_whole("explained_ns", mapping),
            unexplained_ns={name.removeprefix(_UNEXPLAINED): time_ns for name, time_ns in longest},
        )


def _clipped(name: str) -> str:
    """The name as one line; templates have names of thousands of letters."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in name)
    return shown if len(shown) <= _LONGEST_NAME else f"{shown[: _LONGEST_NAME - 1]}…"


def _whole(name: str, mapping: Mapping[str, str]) -> int:
    text = mapping.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise HardwareError(f"not a coverage: {name[:40]} is {text[:40]!r}, not a whole number")
    return int(text)
