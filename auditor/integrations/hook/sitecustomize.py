"""Runs first in every Python process below `auditor run`: sees to it that the auditor attaches when torch is imported.

It stands in a directory of its own on PYTHONPATH. A sitecustomize that the environment has already is run as well. It
must never fail, whatever Python it runs in: at worst it says one line on stderr and the process goes on uncounted.
"""

import os
import sys


def _hook_directory() -> str:
    return os.path.dirname(os.path.abspath(__file__))


def _run_the_other() -> None:
    """Run the sitecustomize that this one stands in front of."""
    from importlib.machinery import PathFinder

    here = _hook_directory()
    spec = PathFinder.find_spec("sitecustomize", [p for p in sys.path if os.path.abspath(p or ".") != here])
    if spec is not None and spec.loader is not None:
        from importlib.util import module_from_spec

        sys.modules["sitecustomize"] = module = module_from_spec(spec)
        spec.loader.exec_module(module)


def _find_auditor() -> None:
    """Make `import auditor` find the auditor that started this process, in whatever environment this Python lives."""
    from importlib.util import find_spec, module_from_spec, spec_from_file_location

    if find_spec("auditor") is not None:
        return
    package = os.path.dirname(os.path.dirname(_hook_directory()))
    spec = spec_from_file_location(
        "auditor",
        os.path.join(package, "__init__.py"),
        submodule_search_locations=[package],
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"no auditor in {package}")
    module = module_from_spec(spec)
    sys.modules["auditor"] = module
    spec.loader.exec_module(module)


def _watch() -> None:
    _find_auditor()
    from auditor.integrations import bootstrap

    bootstrap.watch_for_torch()


try:
    _run_the_other()
finally:
    if os.environ.get("AUDITOR_RUN_DIR"):
        try:
            _watch()
        except Exception as error:  # noqa: BLE001
            sys.stderr.write(f"auditor: this process is not counted: {error!r}\n")
