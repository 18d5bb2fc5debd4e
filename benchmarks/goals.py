"""What auditing was meant to cost at most, and whether it does, from what was measured."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from probes import EARLY_STEPS
from variants import AUDITOR, BARE_AGAIN, DETACHED, FLOP_COUNTER, NATIVE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from measure import Blocks, Result

MOST_RATIO = {"many-small-layers": 1.10, "transformer": 1.01, "resnet50": 1.01}
_TIMES_LESS = 50
_MOST_GROWTH_BYTES = 1 << 20
_MOST_HELD_UP_S = 1e-3
_MOST_ATTACH_S = 0.2


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What was asked for, what was measured, and how far the same measurement is off where nothing is done."""

    goal: str
    measured: str
    met: bool
    noise: str = "-"

    def to_json(self) -> dict[str, object]:
        """As the report shows it."""
        return asdict(self)


def judge(results: Sequence[Result], probed: dict[str, Any]) -> list[Goal]:
    """A goal for everything that was measured; what was left out or failed has none."""
    goals = [goal for result in results for goal in _of_steps(result)]
    goals += _of_memory(probed.get("memory", []))
    goals += _of_intervals(probed.get("intervals", {}))
    goals += _of_attaching([found for found in probed.get("attaching", []) if "problem" not in found])
    return goals


def spread(blocks: Blocks, bare: Blocks) -> str:
    """The ratio to bare: median (lowest to highest)."""
    ratios = blocks.ratios_to(bare)
    return f"{median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


def floor(results: Sequence[Result]) -> list[str]:
    """What cannot be saved while kernels stay wrapped: each call passes through, counted or not."""
    lines = []
    for result in results:
        passed, counted = result.find(DETACHED), result.find(NATIVE)
        if passed and counted:
            through_us, counting_us = (each.excess_s(result.bare) / result.calls * 1e6 for each in (passed, counted))
            lines.append(
                f"{result.subject}: {spread(passed, result.bare)} with the wrappers passing calls on, "
                f"{through_us:+.2f} µs an operator; counting, {counting_us:+.2f} µs."
            )
    return lines


def _of_steps(result: Result) -> Iterator[Goal]:
    audited, again = result.find(AUDITOR), result.find(BARE_AGAIN)
    most = MOST_RATIO.get(result.argument)
    if audited is None or most is None:
        return
    noise = spread(again, result.bare) if again else "-"
    yield Goal(
        goal=f"{result.subject}: step under the auditor over bare at most {most:.2f}",
        measured=spread(audited, result.bare),
        met=median(audited.ratios_to(result.bare)) <= most,
        noise=noise,
    )
    other = result.find(FLOP_COUNTER)
    if other is not None and result.argument == "many-small-layers":
        ours_s, theirs_s = audited.excess_s(result.bare), other.excess_s(result.bare)
        times = f"{theirs_s / ours_s:.0f} times" if ours_s > 0 else "the auditor's is not above zero"
        yield Goal(
            goal=f"{result.subject}: at least {_TIMES_LESS} times less overhead than FlopCounterMode",
            measured=f"{times} ({ours_s * 1e3:+.2f} ms a step beside {theirs_s * 1e3:+.2f} ms)",
            met=theirs_s >= _TIMES_LESS * ours_s,
            noise=f"{again.excess_s(result.bare) * 1e3:+.2f} ms" if again else "-",
        )


def growth_bytes(found: dict[str, Any]) -> int:
    """How much more of it was resident at the end than after the early steps."""
    early, *_, late = found["resident_bytes"].values()
    return int(late) - int(early)


def _of_memory(found: list[dict[str, Any]]) -> Iterator[Goal]:
    by_variant = {each["variant"]: each for each in found if len(each.get("resident_bytes", ())) > 1}
    if "native" in by_variant:
        steps = list(by_variant["native"]["resident_bytes"])[-1]
        growth = growth_bytes(by_variant["native"])
        yield Goal(
            goal=f"memory flat over {int(steps):,} steps: at most 1 MiB more than at {EARLY_STEPS:,}",
            measured=f"{growth / 2**20:+.2f} MiB",
            met=growth <= _MOST_GROWTH_BYTES,
            noise=f"{growth_bytes(by_variant['bare']) / 2**20:+.2f} MiB" if "bare" in by_variant else "-",
        )


def _of_intervals(found: dict[str, Any]) -> Iterator[Goal]:
    if "hand_over_s" in found:
        longest_s = max(*found["hand_over_s"], *found["cut_s"])
        yield Goal(
            goal=f"taking an interval holds the training thread up for at most {_MOST_HELD_UP_S * 1e3:.0f} ms",
            measured=f"{longest_s * 1e3:.3f} ms, the longest of {found['intervals']:,}",
            met=longest_s <= _MOST_HELD_UP_S,
            noise=f"{max(found['noise_s']) * 1e3:.3f} ms",
        )


def _of_attaching(found: list[dict[str, Any]]) -> Iterator[Goal]:
    if not found:
        return
    first_s = median(each["first_s"] for each in found)
    whole_s = median(each["load_s"] + each["first_s"] for each in found)
    for what, taken_s in (("", first_s), (", loading the auditor's own modules included", whole_s)):
        yield Goal(
            goal=f"first attach under {_MOST_ATTACH_S} s{what}",
            measured=f"{taken_s:.3f} s",
            met=taken_s < _MOST_ATTACH_S,
        )
