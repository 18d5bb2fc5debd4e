"""`auditor probe`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from auditor.device.probing import measure_visible
from auditor.errors import ExitCode, UsageError
from auditor.hardware.catalogue import load, match
from auditor.hardware.chips import Chip
from auditor.hardware.doors import observe
from auditor.hardware.measured import Measurement
from auditor.report.words import clean

_SCHEMA = "auditor.probe/1"
_NONE = "device"  # the name under which a measurement says that there was nothing to measure


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One figure in each of three views; "" where a view does not have it."""

    name: str
    declared: str = ""
    catalogued: str = ""
    measured: str = ""


def run(options: argparse.Namespace) -> int:
    """Measure the visible devices, and say what each declares, what its part is rated at, and what it did."""
    measurements = measure_visible(_index(options.device))
    declared = {identity.get("uuid", ""): identity for identity in observe()}
    catalogue = load()
    views = []
    for measured in measurements:
        identity = declared.get(measured.uuid, {})
        found = match(identity, catalogue)
        views.append(_View(identity, found.chip, found.basis, measured))
    text = _as_json(views) if options.json else "\n\n".join(view.as_text() for view in views) + "\n"
    sys.stdout.write(text)
    return int(ExitCode.FAILURE if any(_NONE in each.not_measured for each in measurements) else ExitCode.PASS)


def _index(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"probe --device: expected a number from 0 up, as torch numbers devices, got {text!r}")
    return int(text)


class _View:
    """One device in three views."""

    def __init__(self, declared: Mapping[str, str], chip: Chip | None, basis: str, measured: Measurement) -> None:
        self._declared = declared
        self._chip = chip
        self._basis = basis
        self._measured = measured

    def as_text(self) -> str:
        """A table, and what could not be measured."""
        measured = self._measured
        if _NONE in measured.not_measured:
            return clean(f"Nothing was measured: {measured.not_measured[_NONE]}")
        name = self._declared.get("name", "a device that declares nothing")
        lines = [f"{name} ({measured.uuid}), measured in {measured.seconds} s"]
        lines.append(f"  {'':<22}{'declared':>14}{'catalogued':>14}{'measured':>14}{'share':>8}")
        for row in self._rows():
            figures = (f"{figure or '-':>14}" for figure in (row.declared, row.catalogued, row.measured))
            lines.append(f"  {row.name:<22}{''.join(figures)}{_share(row):>8}")
        lines.append(f"  catalogue: {self._basis}")
        lines += [f"  not measured: {name}: {reason}" for name, reason in sorted(measured.not_measured.items())]
        return "\n".join(map(clean, lines))

    def as_plain(self) -> dict[str, object]:
        """For JSON; amounts are text."""
        chip = self._chip
        return {
            "declared": dict(self._declared),
            "catalogued": {
                "chip": chip.id if chip else None,
                "basis": self._basis,
                "dense_peak_tera": {dtype: str(rate) for dtype, rate in (chip.dense_peak_tera if chip else {}).items()},
            },
            "measured": self._measured.to_mapping(),
        }

    def _rows(self) -> list[_Row]:
        measured, chip = self._measured, self._chip
        peaks = chip.dense_peak_tera if chip else {}
        dtypes = [*peaks, *(dtype for dtype in measured.rates_tera if dtype not in peaks)]
        rows = [
            _Row(
                name=f"{dtype}, tera/s",
                catalogued=_text(peaks.get(dtype)),
                measured=_text(measured.rates_tera.get(dtype)),
            )
            for dtype in dtypes
        ]
        rows.append(
            _Row(
                name="memory, GB/s",
                catalogued=_text(chip.memory_gb_per_s if chip else None),
                measured=_text(measured.dram_gb_per_s),
            )
        )
        rows.append(_Row(name="second cache, bytes", measured=_text(measured.l2_bytes)))
        rows.append(
            _Row(
                name="multiprocessors",
                catalogued=_text(chip.sm_count if chip else None),
                measured=_text(measured.sm_count),
            )
        )
        rows.append(
            _Row(
                name="cores",
                declared=self._declared.get("num_cores", ""),
                catalogued=_text(chip.num_cores if chip else None),
            )
        )
        return rows


def _text(figure: Decimal | int | None) -> str:
    return "" if figure is None else f"{figure:,}"


def _share(row: _Row) -> str:
    """Measured over catalogued."""
    if not (row.catalogued and row.measured):
        return ""
    catalogued = Decimal(row.catalogued.replace(",", ""))
    return f"{Decimal(row.measured.replace(',', '')) / catalogued:.2f}" if catalogued else ""


def _as_json(views: list[_View]) -> str:
    return json.dumps({"schema": _SCHEMA, "devices": [view.as_plain() for view in views]}, indent=2) + "\n"
