"""The report as people read it: Markdown."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any, cast

import goals

if TYPE_CHECKING:
    from collections.abc import Sequence

    import startup
    from measure import Blocks, Result

_HOW_MEASURED = """\
Each row is a process of its own that stays attached while all rows take turns, one block of steps at a time, in an
order that is shuffled for each round; the others wait. A ratio, like the cost per operator, compares a block with the
bare block of the same round: median (lowest to highest) over the rounds. The processes are started anew for each
sitting. *bare again* is the noise of the measurement. Steps are those of a run under way: what attaching takes, and the
second opinion at the beginning of a run, are not among them."""

_COUNTED = {"bare": "not counted", "native": "native counter"}


def to_markdown(
    report: dict[str, object],
    results: Sequence[Result],
    probed: dict[str, Any],
    starts: Sequence[startup.Start],
    judged: Sequence[goals.Goal],
) -> str:
    """All of it, the goals first."""
    machine = cast("dict[str, object]", report["machine"])
    lines = [f"# Cost of auditing on {machine['device']}", "", _HOW_MEASURED, ""]
    lines += [f"- {name}: {value}" for name, value in machine.items()]
    lines += [f"- date: {report['date']}", f"- command: `{report['command']}`"]
    lines += _goals(judged, results)
    for result in results:
        lines += ["", f"## {result.subject}", "", *_steps(result, cast("int", report["sittings"]))]
    lines += _attaching(probed.get("attaching", []))
    lines += _memory(probed.get("memory", []))
    lines += _intervals(probed.get("intervals", {}))
    lines += _starting(starts)
    return "\n".join(lines) + "\n"


def _table(heading: str, head: Sequence[str], rows: Sequence[Sequence[str]], about: str) -> list[str]:
    if not rows:
        return []
    ruler = ["---", *("---:" for _ in head[1:])]
    return ["", f"## {heading}", "", about, "", *("| " + " | ".join(row) + " |" for row in (head, ruler, *rows))]


def _goals(judged: Sequence[goals.Goal], results: Sequence[Result]) -> list[str]:
    about = (
        "*The auditor* is the whole of it: native counter, ledger on. *Noise* is what the same measurement gives where "
        "nothing is counted; a figure within it says no more than that."
    )
    rows = [(goal.goal, goal.measured, goal.noise, "met" if goal.met else "**not met**") for goal in judged]
    lines = _table("Goals", ("goal", "measured", "noise", ""), rows, about)
    floors = goals.floor(results)
    return lines + (
        ["", "The floor, while kernels stay wrapped:", "", *(f"- {line}" for line in floors)] if floors else []
    )


def _steps(result: Result, sittings: int) -> list[str]:
    rounds = len(result.bare.blocks)
    size = (
        f"{rounds} rounds of {result.steps_per_block} steps in {sittings} {'sitting' if sittings == 1 else 'sittings'}"
    )
    return [
        f"{result.what}; {result.calls:,} operators a step; {size}.",
        "",
        "| | step | against bare | per operator |",
        "|---|---:|---:|---:|",
        *(_row(blocks, result) for blocks in result.variants),
    ]


def _row(blocks: Blocks, result: Result) -> str:
    if blocks.problem:
        return f"| {blocks.variant} | {blocks.problem.replace('|', '/')} | - | - |"
    step = f"{blocks.step_s * 1e3:.2f} ms"
    if blocks is result.bare:
        return f"| {blocks.variant} | {step} | 1 | - |"
    each_us = blocks.excess_s(result.bare) / result.calls * 1e6
    return f"| {blocks.variant} | {step} | {goals.spread(blocks, result.bare)} | {each_us:+.2f} µs |"


def _attaching(found: list[dict[str, Any]]) -> list[str]:
    about = "In a process that has imported torch, with the native counter built."
    names = {
        "load_s": "loading the auditor's modules, once",
        "first_s": "first attach of `auditor.count()`: loads the library, wraps kernels",
        "second_s": "second attach, in the same process",
        "ledger_s": "then `Auditor`, with a ledger",
    }
    problems = [("failed", each["problem"], "-") for each in found if "problem" in each]
    times = [each for each in found if "problem" not in each]
    rows = [(what, _ms([each[key] for each in times]), _longest(times, key)) for key, what in names.items() if times]
    return _table("Attaching", ("", "median", "longest"), rows + problems, about)


def _longest(found: list[dict[str, Any]], key: str) -> str:
    return f"{max(each[key] for each in found) * 1e3:.1f} ms"


def _ms(seconds: Sequence[float]) -> str:
    return f"{median(seconds) * 1e3:.1f} ms"


def _memory(found: list[dict[str, Any]]) -> list[str]:
    about = "Resident set of a process that runs tiny steps; under the native counter an interval is taken every 100."
    rows = []
    for each in found:
        if "problem" in each:
            rows.append((_COUNTED[each["variant"]], each["problem"], "-"))
            continue
        at = "; ".join(f"{size / 2**20:.1f} MiB at {int(step):,}" for step, size in each["resident_bytes"].items())
        rows.append((_COUNTED[each["variant"]], at, f"{goals.growth_bytes(each) / 2**20:+.2f} MiB"))
    return _table("Memory", ("", "resident", "growth"), rows, about)


def _intervals(found: dict[str, Any]) -> list[str]:
    if not found:
        return []
    names = {
        "cut_s": "`cut()` of the native counter",
        "hand_over_s": "hand-over in an audited run, to the recorder's thread",
        "stall_s": "the step after it, longer than one that comes later",
        "noise_s": "noise: a loop that does nothing, too long by",
    }
    about = "How long the training thread is held up where an interval of the net of many small layers is taken."
    if "problem" in found:
        return _table("Intervals", ("", "median", "longest"), [("failed", found["problem"], "-")], about)
    rows = [
        (what, f"{median(found[key]) * 1e3:.3f} ms", f"{max(found[key]) * 1e3:.3f} ms") for key, what in names.items()
    ]
    return _table("Intervals", ("", "median", "longest"), rows, f"{about} {found['intervals']:,} intervals.")


def _starting(starts: Sequence[startup.Start]) -> list[str]:
    rows = [(f"`{start.what}`", f"{start.median_s * 1e3:.0f} ms") for start in starts]
    return _table("Starting", ("process", "median"), rows, "Wall time of whole processes.")
