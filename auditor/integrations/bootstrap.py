"""Attaches to a process below `auditor run` when torch has been imported there; one without torch never notices."""

from __future__ import annotations

import atexit
import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any


class _TorchWatcher(MetaPathFinder):
    """Finds nothing itself; when torch is asked for, it sees to it that the auditor attaches after the import."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "torch":
            return None
        # Others look for torch without importing it: stay until it has been imported.
        place = sys.meta_path.index(self)
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec("torch")
        finally:
            sys.meta_path.insert(place, self)
        if spec is not None and spec.loader is not None:
            self._attach_after(spec.loader)
        return spec

    def _attach_after(self, loader: Any) -> None:
        load = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            del loader.exec_module
            load(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            attach()

        loader.exec_module = exec_module


def watch_for_torch() -> None:
    """Attach as soon as torch has been imported."""
    if "torch" in sys.modules:
        attach()
    else:
        sys.meta_path.insert(0, _TorchWatcher())


def attach() -> None:
    """Audit this process from here to its end. A failure is told on stderr, and raised only when strict."""
    strict = os.environ.get("AUDITOR_STRICT") == "true"
    try:
        _start_session()
    except Exception as error:
        if strict:
            raise
        from auditor.console import say

        say(f"this process is not counted: {error!r}")


def _start_session() -> None:
    from auditor import config
    from auditor.integrations import lifecycle
    from auditor.session.session import Session

    session = Session(
        Path(os.environ["AUDITOR_RUN_DIR"]),
        config.load(),
        run_id=os.environ["AUDITOR_RUN_ID"],
        command=tuple(json.loads(os.environ["AUDITOR_RUN_COMMAND"])),
        eager="RANK" in os.environ,
    )
    lifecycle.follow(session)
    session.start()
    atexit.register(session.stop)
