"""What the auditor says beside a training: single lines on stderr."""

from __future__ import annotations

import contextlib
import sys


def say(message: str) -> None:
    """One line stands on stderr; where that is closed or full, nothing happens."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # pythonw has no stderr
        sys.stderr.write(f"auditor: {message}\n")
        sys.stderr.flush()
