"""Measuring from outside: the probe in a process of its own, which is gone when its measurements are there."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence

from auditor.errors import DeviceError, HardwareError
from auditor.hardware.measured import Measurement

_PROGRAM = (sys.executable, "-m", "auditor.device.probe")
_WITHIN_S = 120.0  # loading torch, compiling, and what the probe allows itself
_LONGEST_REASON = 300


def measure_visible(
    device_index: int | None = None, *, program: Sequence[str] = _PROGRAM, within_s: float = _WITHIN_S
) -> list[Measurement]:
    """What was measured of every visible device, or of one of them.

    Where there is none, one measurement says so, under the name ``device`` of what was not measured.
    Raises: DeviceError: the process failed, or took too long and was ended.
    """
    command = [*program, *(() if device_index is None else (str(device_index),))]
    text = _output(command, within_s)
    try:
        return [Measurement.from_mapping(answer) for answer in json.loads(text)]
    except (ValueError, TypeError, AttributeError, HardwareError) as error:
        raise DeviceError(f"what the probe printed is no measurement: {error}") from error


def _output(command: Sequence[str], within_s: float) -> str:
    """What the command printed; whatever became of it, nothing that it started is left."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise DeviceError(f"the probe cannot be started: {error}") from error
    with process:
        output, told = _communicate(process, within_s)
    if process.returncode:
        reason = (told.strip().splitlines() or ["without a word"])[-1][:_LONGEST_REASON]
        raise DeviceError(f"the probe ended with code {process.returncode}: {reason}")
    return output


def _communicate(process: subprocess.Popen[str], within_s: float) -> tuple[str, str]:
    try:
        return process.communicate(timeout=within_s)
    except subprocess.TimeoutExpired as error:
        raise DeviceError(f"the probe took longer than {within_s:g} s and was ended") from error
    finally:
        if process.poll() is None:  # whatever the reason; its children are of its process group
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
