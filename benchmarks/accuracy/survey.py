"""All rows of the survey, each in a process of its own: a library that fails spoils one row, and the row says so."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Any

from benchmarks.accuracy.catalogue import models

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from multiprocessing.connection import Connection

Row = dict[str, Any]
_LONGEST_REASON = 300
_LEAVING_S = 10.0  # for what libraries tidy away when their process ends
# What every row needs takes longer to import than most take to measure; rows are forked from where it is loaded.
_PRELOADED = ["benchmarks.accuracy.one", "torch._dynamo", "fvcore.nn", "transformers.modeling_utils"]


def survey(
    names: Iterable[str], *, compile_too: bool, workers: int, limit_s: float, tell: Callable[[str], None]
) -> list[Row]:
    """The rows of the named models in the order of the catalogue, the compiled column filled where there is one."""
    known, wanted = models(), set(names)
    chosen = [name for name in known if name in wanted]
    tasks = [(name, True) for name in chosen if compile_too and known[name].compiled]  # these take longest
    tasks += [(name, False) for name in chosen]
    results: dict[tuple[str, bool], Row] = {}
    with _environment(), ThreadPoolExecutor(workers) as pool:
        running = {pool.submit(measure, *task, limit_s): task for task in tasks}
        for number, done in enumerate(as_completed(running), 1):
            name, compiled = task = running[done]
            results[task] = done.result()
            tell(f"{number}/{len(tasks)} {name}{', compiled' if compiled else ''}: {results[task]['seconds']} s")
    not_run = {"compiled": {"unavailable": "not run"}}
    return [{**results.get((name, True), not_run), **results[name, False]} for name in chosen]


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """Rows are measured on one thread each, offline, and with nothing that was compiled before, or half compiled."""
    with tempfile.TemporaryDirectory() as cache:
        ours = {
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "TORCHINDUCTOR_CACHE_DIR": cache,
            "TORCHINDUCTOR_COMPILE_THREADS": "1",
        }
        before = {name: os.environ.get(name) for name in ours}
        os.environ.update(ours)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def measure(name: str, compiled: bool, limit_s: float) -> Row:
    """One model's row from a process of its own, ``error`` in it where there is none."""
    began_s = time.monotonic()
    row = _measured_apart(name, compiled, limit_s)
    if "error" in row:
        row = {"compiled": {"unavailable": row["error"]}} if compiled else {"name": name, **row}
    return {**row, "seconds": round(time.monotonic() - began_s, 1)}


def _measured_apart(name: str, compiled: bool, limit_s: float) -> Row:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    source, sink = context.Pipe(duplex=False)
    process = context.Process(target=_send_row, args=(sink, name, compiled))
    process.start()
    sink.close()
    try:
        if not source.poll(limit_s):
            return {"error": f"it took more than {limit_s:g} s"}
        row: Row = source.recv()
        process.join(_LEAVING_S)
    except EOFError:
        process.join()
        return {"error": f"its process ended with code {process.exitcode}"}
    else:
        return row
    finally:
        process.kill()
        process.join()
        source.close()


def _send_row(sink: Connection, name: str, compiled: bool) -> None:
    """In the process apart: measure, and hand over the row or why there is none."""
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is not the report
    try:
        from benchmarks.accuracy import one

        row = one.compiled_row(models()[name]) if compiled else one.row(models()[name])
    except Exception as error:  # noqa: BLE001 - a library of somebody else's may raise anything
        row = {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"[:_LONGEST_REASON]}
    sink.send(row)
