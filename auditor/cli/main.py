"""A command line is carried out here: the one place where an error becomes text and an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from auditor.cli.parser import build_parser
from auditor.errors import AuditorError, ExitCode, UsageError


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command line and return its exit code."""
    if sys.stdout is None:  # closed by whoever started us: there is nowhere to write to
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - open until the process ends
    try:
        options, unknown = build_parser().parse_known_args(arguments)
        if unknown:
            remedy = f"See: auditor {options.verb} --help"
            raise UsageError(f"{options.verb}: unknown arguments {' '.join(unknown)}", remedy=remedy)
        verb = importlib.import_module(f"auditor.cli.{options.verb}")
        return int(verb.run(options))
    except AuditorError as error:
        print(f"auditor: {error.told}", file=sys.stderr)  # noqa: T201
        return int(error.exit_code)
    except BrokenPipeError:
        sys.stdout = None
        return int(ExitCode.FAILURE)
    except OSError as error:
        print(f"auditor: {error}. Make room or write elsewhere, and run the command again.", file=sys.stderr)  # noqa: T201
        return int(ExitCode.FAILURE)


def entry_point() -> NoReturn:
    """The console script."""
    sys.exit(main())
