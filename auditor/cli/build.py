"""`auditor build`."""

from __future__ import annotations

import argparse
import importlib.util

from auditor.errors import ExitCode, MissingExtra


def run(options: argparse.Namespace) -> int:
    """Build the native counter where it is not built yet, and say where it lies."""
    if importlib.util.find_spec("torch") is None:
        raise MissingExtra("torch", "train")
    from auditor.counting import native_build  # noqa: PLC0415 - only this verb needs torch

    limit_s = options.limit if options.limit is not None else native_build.LIMIT_S
    print(f"native counter: {native_build.build(limit_s)}")  # noqa: T201
    return int(ExitCode.PASS)
