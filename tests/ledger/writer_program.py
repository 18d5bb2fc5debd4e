"""Writes a segment: ``writer_program.py DIR KEY MODE``.

forever: tells each interval's number on stdout once it was acknowledged, and at a full disk why it stopped.
once: one segment with two intervals. race: at a line on stdin, twenty segments, one after the other.
"""

from __future__ import annotations

import itertools
import runpy
import sys
from pathlib import Path

from auditor.errors import AuditorError
from auditor.ledger import SegmentBook, SegmentWriter, load_or_create, recover

Run = runpy.run_path(str(Path(__file__).with_name("conftest.py")))["Run"]


def main(directory: Path, key: Path, mode: str) -> None:
    run = Run(directory, load_or_create(key))
    if mode == "race":
        print("ready", flush=True)
        input()
        for _ in range(20):
            run.segment(intervals=1)
        return
    recovered = recover(directory)
    book = SegmentBook(SegmentWriter.create(directory, run.genesis(), run.key), recovered)
    print(book.writer.path.name, flush=True)
    if mode == "once":
        run.interval(book, 0)
        run.interval(book, 1)
        book.seal("finished")
        return
    for number in itertools.count():
        try:
            run.interval(book, number)
        except AuditorError as error:
            print(type(error).__name__, book.writer.alive, error, flush=True)
            break
        print(number, flush=True)


main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
