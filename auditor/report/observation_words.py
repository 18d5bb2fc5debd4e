"""What is said of devices observed during the run; the same in the terminal, in HTML and in JSON."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from auditor.hardware.answers import whole
from auditor.hardware.views import Verdict
from auditor.report.words import listing, percent, plural
from auditor.units import scientific

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditor.hardware.bound import Bound, Stretch
    from auditor.hardware.sharing import Shared
    from auditor.hardware.tensor_activity import Reconciliation
    from auditor.report.observations import Happening, Observed, Process

_MOST_HAPPENINGS = 10


def alarms(process: Process) -> tuple[str, ...]:
    """What contradicts the count or the identity, each with its figures."""
    said = [f"{device.name}: {text}" for device in process.devices for text in device.views.against]
    said += [
        f"{times:,} devices of its list give the UUID {uuid}, and a device is listed once: they are {times:,} devices, "
        "or what they say is false"
        for uuid, times in process.repeated.items()
    ]
    said += list(_exceeded(process.bound))
    # Said once for all that share it.
    if process.shared and process.shared.exceeded and process.shared.segments[0] == process.segment:
        said.append(_exceeded_together(process.shared))
    for device in process.devices:
        if device.activity is not None and not device.activity.agrees:
            said.append(_gap(device.activity, process))
    return tuple(f"Rank {process.rank}: {text}." for text in said)


def _exceeded(bound: Bound) -> Iterator[str]:
    if not bound.exceeded:
        return
    worst = max(bound.exceeded, key=lambda stretch: stretch.needed_s - stretch.took_s)
    more = f", and {len(bound.exceeded) - 1:,} more stretches like it" if len(bound.exceeded) > 1 else ""
    yield (
        f"counted more than the device can do: what was counted in {_steps(worst)} needs at least "
        f"{_seconds(worst.needed_s)} at {bound.ceiling.basis}, and took {_seconds(worst.took_s)}{more}; the count is "
        "too high, or was not done on this device by then"
    )


def _exceeded_together(shared: Shared) -> str:
    return (
        f"counted more than the device can do: what {len(shared.segments):,} processes counted on {shared.device} "
        f"needs at least {_seconds(shared.needed_s)} of it, and they ran for {_seconds(shared.took_s)}, so it would be "
        f"{_seconds(shared.late_s)} behind; the counts are too high, or were not done on this one device by then"
    )


def _gap(activity: Reconciliation, process: Process) -> str:
    observed = f"{_seconds(activity.observed_s)} of work at the peak in {_seconds(activity.covered_s)}"
    if activity.gap > 0:
        return (
            f"counted more than the tensor cores did: the count needs at least {_seconds(activity.least_s)} of them, "
            f"the device saw {observed}; the count is too high, or was done elsewhere"
        )
    suspects = listing(process.suspects, 5) or "none is known; another process on the device is one"
    return (
        f"the tensor cores did more than was counted: the device saw {observed}, the count explains at most "
        f"{_seconds(activity.most_s)}; suspects: {suspects}"
    )


def bound_words(bound: Bound) -> str:
    """Whether the count fits into what the device can do, and how much of that it comes to."""
    if bound.unknown:
        return f"not available: {bound.unknown}"
    if bound.exceeded:
        return f"EXCEEDED: {next(_exceeded(bound))}"
    if bound.highest is None or bound.whole is None:
        return "nothing was counted"
    most = percent(bound.highest.share or Decimal(0))
    parts = [f"kept: at most {most} of what the device can do ({_steps(bound.highest)})"]
    if bound.behind_s:
        parts.append(f"the host ran ahead of the device by {_seconds(bound.behind_s)} at most")
    return f"{'; '.join(parts)}; held against {bound.ceiling.basis}"


def shared_words(shared: Shared) -> str:
    """Whether what all processes on a device counted fits into what it can do."""
    if shared.exceeded:
        return f"EXCEEDED: {_exceeded_together(shared)}"
    return (
        f"kept: what {len(shared.segments):,} processes counted on it needs at least {_seconds(shared.needed_s)}, "
        f"and they ran for {_seconds(shared.took_s)}"
    )


def utilisation_words(bound: Bound) -> str:
    """How much of the peak rate the count comes to over the whole time; no measurement of the device."""
    if bound.utilisation is None:
        return "not known"
    return f"{percent(bound.utilisation)} of the peak rate, by what was counted and the time that it took"


def verdict_words(device: Observed) -> str:
    """The verdict of the three views, with what speaks against it."""
    views = device.views
    if views.verdict is Verdict.INCONSISTENT:
        return f"INCONSISTENT: {'; '.join(views.against)}"
    if views.verdict is Verdict.CONSISTENT and views.low:
        return f"consistent, since less than its part can do contradicts nothing; but {'; '.join(views.low)}"
    if views.verdict is Verdict.CONSISTENT:
        return "consistent: what it says, what its part is known for, and what was measured"
    if views.verdict is Verdict.NOT_COMPARED:
        what = (
            "no one part is identified"
            if views.chip is None
            else f"no such figure of the {views.chip.product} is known"
        )
        return f"not compared: it was measured, but {what} to hold that against"
    if views.chip is not None:
        return "not measured: only the device's own word says what it is"
    return "not measured, and not identified"


def energy_words(process: Process) -> str:
    """What the devices took, and what was counted for it."""
    if process.energy_mj is None:
        return "not seen"
    joules = f"{Decimal(process.energy_mj) / 1000:,.0f} J"
    per_joule = process.ops_per_joule
    return joules if per_joule is None else f"{joules}; {scientific(int(per_joule))} operations counted for each"


def activity_words(activity: Reconciliation) -> str:
    """Tensor cores as the device saw them beside the count."""
    agrees = "agree" if activity.agrees else "do NOT agree"
    least, most = _seconds(activity.least_s), _seconds(activity.most_s)
    counted = least if least == most else f"{least} to {most}"
    return (
        f"{_seconds(activity.observed_s)} of work at the peak seen in {_seconds(activity.covered_s)}, "
        f"{counted} counted: they {agrees} within a tenth"
    )


def happened(process: Process) -> tuple[str, ...]:
    """What the devices did that was not computing, the first of it."""
    said = [_happening(one) for one in process.happenings]
    more = len(said) - _MOST_HAPPENINGS
    return (*said[:_MOST_HAPPENINGS], *([f"and {more:,} more"] if more > 0 else []))


def _happening(one: Happening) -> str:
    elapsed = whole(one.values.get("elapsed_us"))
    when = "" if elapsed is None else f" after {_seconds(Decimal(elapsed) / 10**6)}"
    values = ", ".join(f"{name} {text}" for name, text in one.values.items() if name not in ("elapsed_us", "because"))
    why = one.values.get("because") or values
    return f"{one.event}{when}: {one.device or 'a device that did not say which'}{f' ({why})' if why else ''}"


def _steps(stretch: Stretch) -> str:
    if stretch.steps < 1:
        return "the part after the last step"
    last = stretch.first_step + stretch.steps - 1
    return f"step {last:,}" if stretch.steps == 1 else f"steps {stretch.first_step:,} to {last:,}"


def _seconds(seconds: Decimal) -> str:
    if not seconds:
        return "0 s"
    if seconds >= 100:
        return f"{seconds:,.0f} s"
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


def device_title(device: Observed) -> str:
    """The device by its name, its slice and its UUID."""
    part = device.identity.get("mig_profile")
    return f"{device.name}{f', slice {part} ({percent(device.share)} of it)' if part else ''}, {device.uuid}"


def figures(device: Observed) -> list[tuple[str, str, str, str]]:
    """Each figure that any of the three views gives, with what each of them says, or a dash."""
    views = device.views
    three = (views.declared, views.catalogued, views.measured)
    names = dict.fromkeys(name for view in three for name in view)
    return [(name, *(view.get(name, "-") for view in three)) for name in names]  # type: ignore[misc]


def process_title(process: Process) -> str:
    """The process by its rank and its segment."""
    used = "" if process.in_use else "; which of its devices it used was not seen, so all that it could see stand here"
    return f"rank {process.rank}, {plural(len(process.devices), 'device')} ({process.segment}){used}"
