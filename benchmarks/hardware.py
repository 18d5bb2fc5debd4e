"""What a GPU does beside what is written of it: the probe against the datasheet, counted operations against counters.

python benchmarks/hardware.py                 # prints the Markdown
python benchmarks/hardware.py --out DIR       # and writes hardware.md and hardware.json there
python benchmarks/hardware.py --keep          # and keeps both in benchmarks/results/

Ends with 1 where a figure lies outside of its bounds. What cannot be measured here is a row that says so.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import ncu

import auditor
from auditor.device.probing import measure_visible
from auditor.errors import AuditorError
from auditor.hardware.catalogue import load, match
from auditor.hardware.doors import observe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from auditor.hardware.chips import Chip
    from auditor.hardware.measured import Measurement

RESULTS = Path(__file__).resolve().parent / "results"
SCHEMA = "auditor.bench.hardware/1"
Row = dict[str, object]

# Measured over catalogued. Rated clocks are exceeded by some, and power keeps others below them; the vector units'
# rates come near their peaks, a library's less near.
RATE_BOUNDS = (Decimal("0.60"), Decimal("1.12"))
BOUNDS = {
    "fp32": (Decimal("0.80"), Decimal("1.15")),
    "fp64": (Decimal("0.80"), Decimal("1.15")),
    "memory": (Decimal("0.75"), Decimal("1.05")),
    "multiprocessors": (Decimal(1), Decimal(1)),
}
# Tiles are padded, never cut.
COUNTER_BOUNDS = (0.999, 1.05)


def probed(measurements: Sequence[Measurement]) -> Iterator[Row]:
    """Each measured figure beside the catalogue's, and whether their ratio lies within its bounds."""
    declared = {identity.get("uuid", ""): identity for identity in observe()}
    catalogue = load()
    for measured in measurements:
        identity = declared.get(measured.uuid, {})
        chip = match(identity, catalogue).chip
        for name, figure in _figures(measured).items():
            yield {"device": identity.get("name", "not known"), **_held(name, figure, _catalogued(chip).get(name))}
        for name, reason in measured.not_measured.items():
            yield {"device": identity.get("name", "not known"), "figure": name, "problem": reason}


def _figures(measured: Measurement) -> dict[str, Decimal]:
    sizes = {
        "memory": measured.dram_gb_per_s,
        "multiprocessors": None if measured.sm_count is None else Decimal(measured.sm_count),
        "second cache, MiB": None if measured.l2_bytes is None else Decimal(measured.l2_bytes) / 2**20,
        "seconds": measured.seconds,
    }
    return {**measured.rates_tera, **{name: size for name, size in sizes.items() if size is not None}}


def _catalogued(chip: Chip | None) -> Mapping[str, Decimal]:
    if chip is None:
        return {}
    figures = dict(chip.dense_peak_tera)
    if chip.memory_gb_per_s is not None:
        figures["memory"] = chip.memory_gb_per_s
    if chip.sm_count is not None:
        figures["multiprocessors"] = Decimal(chip.sm_count)
    return figures


def _held(name: str, figure: Decimal, catalogued: Decimal | None) -> Row:
    row: Row = {"figure": name, "measured": str(figure), "catalogued": "" if catalogued is None else str(catalogued)}
    if not catalogued:
        return row
    least, most = BOUNDS.get(name, RATE_BOUNDS)
    ratio = figure / catalogued
    return row | {"ratio": f"{ratio:.3f}", "bounds": f"{least} to {most}", "within": least <= ratio <= most}


def counted() -> Iterator[Row]:
    """Counted operations beside the GPU's counters, and whether their ratio lies within its bounds."""
    least, most = COUNTER_BOUNDS
    for row in ncu.compare():
        ratio = row.get("tensor_over_counted")
        within = {"within": least <= ratio <= most} if isinstance(ratio, float) else {}
        yield row | within


def to_markdown(report: Mapping[str, object], probe_rows: Sequence[Row], counter_rows: Sequence[Row]) -> str:
    """Both tables, with the machine first."""
    lines = ["# A GPU beside what is written of it", ""]
    lines += [f"- {name}: {value}" for name, value in report.items() if isinstance(value, str)]
    lines += [
        "",
        "## The probe against the catalogue",
        "",
        "Rates in dense tera-operations per second, memory in GB/s.",
        "",
    ]
    columns = ("device", "figure", "measured", "catalogued", "ratio", "bounds", "within")
    lines += _table(columns, probe_rows)
    least, most = COUNTER_BOUNDS
    about = (
        f"One step, forward and backward, in bf16; the tensor path's operations over those counted: {least} to {most}."
    )
    lines += ["", "## Counted operations against the GPU's counters", "", about, ""]
    columns = (
        *("case", "counted_matrix_ops", "tensor_path_ops", "tensor_over_counted", "within"),
        *("counted_other_ops", "vector_ops"),
    )
    lines += _table(columns, counter_rows)
    return "\n".join(lines) + "\n"


def _table(columns: Sequence[str], rows: Sequence[Row]) -> list[str]:
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    for row in rows:
        shown = dict(row)
        if "problem" in row:
            shown[columns[2]] = str(row["problem"]).replace("|", "/")
        shown["within"] = {True: "yes", False: "**no**"}.get(bool(shown["within"]), "") if "within" in row else ""
        lines.append(f"| {' | '.join(str(shown.get(column, '')) for column in columns)} |")
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, help="write hardware.md and hardware.json into this directory")
    parser.add_argument("--keep", action="store_true", help="keep both in benchmarks/results/")
    arguments = parser.parse_args(argv)
    now = datetime.now(UTC)
    try:
        probe_rows = list(probed(measure_visible()))
    except AuditorError as error:
        probe_rows = [{"figure": "all", "problem": str(error)}]
    counter_rows = list(counted())
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    report: dict[str, object] = {
        "schema": SCHEMA,
        "date": now.isoformat(timespec="seconds"),
        "device": device,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "auditor": auditor.__version__,
    }
    markdown = to_markdown(report, probe_rows, counter_rows)
    print(markdown, end="")
    report |= {"probe": probe_rows, "counters": counter_rows}
    if arguments.out:
        _write(arguments.out / "hardware", markdown, report)
    if arguments.keep:
        _write(
            RESULTS / f"{now.date()}_hardware_{device.replace(' ', '-')}_torch-{torch.__version__}", markdown, report
        )
    return int(any(row.get("within") is False for row in (*probe_rows, *counter_rows)))


def _write(stem: Path, markdown: str, report: Mapping[str, object]) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    Path(f"{stem}.md").write_text(markdown, encoding="utf-8")
    Path(f"{stem}.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
