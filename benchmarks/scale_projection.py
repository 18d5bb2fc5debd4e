"""What a ledger of 100,000 accelerators over 120 days comes to, worked out from measured unit costs, as Markdown.

python benchmarks/scale_projection.py            # the tables that stand in docs/scale.md
python benchmarks/scale_projection.py --write    # puts them there

Unit costs stand in benchmarks/unit_costs.json, each with the report in benchmarks/results/ and the row it is from.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).resolve().parent
DOCUMENT = HERE.parent / "docs" / "scale.md"
BEGIN, END = "<!-- begin: benchmarks/scale_projection.py -->\n", "<!-- end -->\n"
CORES = 64  # of a verifier's machine


@dataclass(frozen=True, kw_only=True)
class Job:
    """Ranks, and how often each was started anew."""

    ranks: int
    days: int
    attempts: int
    interval_s: int = 60

    @property
    def intervals(self) -> int:
        """Of one rank."""
        return self.days * 86_400 // self.interval_s

    @property
    def segments(self) -> int:
        """Of all ranks: one for each attempt."""
        return self.ranks * self.attempts

    @property
    def records(self) -> int:
        """Of all ranks: an interval, and with it what was seen of the device."""
        return 2 * self.intervals * self.ranks


JOBS = (
    Job(ranks=1_024, days=30, attempts=1),
    Job(ranks=16_384, days=90, attempts=90),
    Job(ranks=100_000, days=120, attempts=1),
    Job(ranks=100_000, days=120, attempts=120),
)


def read_units() -> dict[str, int]:
    """Each unit cost by its name."""
    document = json.loads((HERE / "unit_costs.json").read_text(encoding="utf-8"))
    return {name: one["value"] for name, one in document.items()}


def project(job: Job, units: dict[str, int]) -> dict[str, float]:
    """Sizes in bytes and times in CPU seconds of the job."""
    rank_bytes = job.intervals * units["interval_bytes"] + job.attempts * units["segment_bytes"]
    return {
        "rank_bytes": rank_bytes,
        "all_bytes": rank_bytes * job.ranks,
        "merge_cpu_s": job.segments * units["merge_cpu_us_of_a_segment"] / 1e6,
        "verify_cpu_s": job.records / units["verify_records_per_cpu_s"],
        "recount_cpu_s": job.records / units["recount_records_per_cpu_s"],
        "rank_write_cpu_s": job.intervals * units["write_cpu_us"] / 1e6,
        "held_up_share": units["interval_hold_up_us"] / (job.interval_s * 1e6),
    }


def table() -> str:
    """The unit costs and what they come to, as Markdown."""
    units = read_units()
    document = json.loads((HERE / "unit_costs.json").read_text(encoding="utf-8"))
    lines = ["| unit cost | | measured by |", "|---|---:|---|"]
    for name, one in document.items():
        lines.append(f"| `{name}`: {one['what']} | {one['value']:,} | {one['report'] or one['row']} |")
    rows = [(job, project(job, units)) for job in JOBS]
    heads = [f"{job.ranks:,} ranks, {job.days} days, {_often(job.attempts)}" for job, _ in rows]
    lines += ["", f"| | {' | '.join(heads)} |", "|---|" + "---:|" * len(rows)]
    lines.append(_line("segments", [f"{job.segments:,}" for job, _ in rows]))
    lines.append(_line("records", [f"{job.records:,}" for job, _ in rows]))
    lines.append(_line("ledger of a rank", [_bytes(one["rank_bytes"]) for _, one in rows]))
    lines.append(_line("ledger of all", [_bytes(one["all_bytes"]) for _, one in rows]))
    for name, key in (("merge", "merge_cpu_s"), ("verify", "verify_cpu_s"), ("verify and recount", "recount_cpu_s")):
        lines.append(_line(f"{name}, CPU", [_time(one[key]) for _, one in rows]))
        lines.append(_line(f"{name}, on {CORES} cores", [_time(one[key], CORES) for _, one in rows]))
    lines.append(_line("writing, CPU of a rank over the run", [_time(one["rank_write_cpu_s"]) for _, one in rows]))
    share = [f"{one['held_up_share']:.5%}" for _, one in rows]
    return "\n".join([*lines, _line("of a rank's time, taking intervals", share)]) + "\n"


def _often(attempts: int) -> str:
    return "never restarted" if attempts == 1 else f"{attempts} attempts"


def _line(name: str, cells: Sequence[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"


def _bytes(number: float) -> str:
    for exponent, unit in ((12, "TB"), (9, "GB"), (6, "MB")):
        if number >= 10**exponent:
            return f"{number / 10**exponent:,.1f} {unit}"
    return f"{number:,.0f} bytes"


def _time(cpu_s: float, cores: int = 1) -> str:
    seconds = cpu_s / cores
    for length, unit in ((3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:,.1f} s"


def inserted(text: str) -> str:
    """The document with the tables in it."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{table()}{END}{after}"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="put the tables into docs/scale.md")
    if parser.parse_args(argv).write:
        DOCUMENT.write_text(inserted(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        sys.stdout.write(table())


if __name__ == "__main__":
    main()
