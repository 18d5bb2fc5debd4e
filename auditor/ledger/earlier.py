"""What a reading that was interrupted had read, so that the next one goes on from there.

It is a file of whoever reads, a line for each segment that was read to its end: which file it was (its place on the
disk, size and times), how much of it was kept for drawing, and what was found. A segment whose file has changed since
is read again. The verdict rests on this file as on the reader itself, so it is to be kept where nobody else can write.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any

from auditor.errors import AuditorError, LedgerUnwritable, UsageError
from auditor.ledger.curve import Point
from auditor.ledger.detail import Detail
from auditor.ledger.inspection import SegmentReading
from auditor.ledger.notes import Head
from auditor.ledger.notices import NotedGap
from auditor.ledger.progress import ResumedAt
from auditor.lines import read_record, write_record
from auditor.operations import Operations
from auditor.records import Body, Genesis, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from auditor.ledger.inspection import Unreadable

_SCHEMAS = "auditor.verifying/"
SCHEMA = f"{_SCHEMAS}1"
_ANOTHER = "Name another file with --resume: this one is left as it is."
_CUT_BYTES = len('{"formulas":"')  # a header begins with these, whatever follows
_PLAIN = {"str": str, "int": int, "bool": bool}
Mark = tuple[int, ...]
_Key = tuple[str, Mark, Detail]


class Earlier:
    """Readings by file; each new one is with the operating system before the next is begun."""

    def __init__(self, file: IO[bytes], known: dict[_Key, SegmentReading]) -> None:
        self._file = file
        self._known = known

    def __len__(self) -> int:
        return len(self._known)

    @staticmethod
    def mark(path: Path) -> Mark | None:
        """Which file it is, as the operating system tells files and their changes apart; None where it does not."""
        try:
            status = path.lstat()
        except OSError:
            return None
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns

    def find(self, path: Path, detail: Detail) -> SegmentReading | None:
        """What was found in the file when it was as it is now, where so much of it was kept."""
        mark = self.mark(path)
        return self._known.get((path.name, mark, detail)) if mark else None

    def add(self, path: Path, mark: Mark | None, detail: Detail, reading: SegmentReading | Unreadable) -> None:
        """It was read, and was this file before that; kept, unless it may still change or could not be read."""
        if mark is None or mark != self.mark(path) or not isinstance(reading, SegmentReading) or reading.live:
            return
        plain = {"file": path.name, "mark": list(mark), "detail": list(detail), "reading": _to_plain(reading)}
        self._file.write(_line(plain))
        self._file.flush()


@contextlib.contextmanager
def open_earlier(path: Path, formulas: str) -> Iterator[Earlier]:
    """The readings in the file, by these formulas; it is made where there is none, and anew where they were others.

    Raises: LedgerUnwritable: it cannot be read or written. UsageError: it is something else, and is left as it is.
    """
    header = {"schema": SCHEMA, "formulas": formulas}
    try:
        lines = _lines_of(path)
        sound = lines[0] + b"\n" == _line(header)
        if not sound and not _is_ours(lines):
            raise UsageError(f"{path}: holds something else than what a verification has read", remedy=_ANOTHER)
        with path.open("ab" if sound else "wb") as file:
            if not sound:
                file.write(_line(header))
            elif lines[-1]:  # of a process that was killed while it wrote
                file.truncate(sum(map(len, lines[:-1])) + len(lines) - 1)
            yield Earlier(file, dict(_known(lines[1:-1]) if sound else ()))
    except OSError as error:
        raise LedgerUnwritable(f"{path}: cannot be used: {error.strerror or error}") from error


def _lines_of(path: Path) -> list[bytes]:
    """Never of a pipe, which would block, or a device."""
    if not path.exists():
        return [b""]
    if not path.is_file():
        raise OSError(errno.EINVAL, "not a regular file")
    return path.read_bytes().split(b"\n")


def _is_ours(lines: Sequence[bytes]) -> bool:
    """Whether it is such a file, of this or another version, or the beginning of one that was cut short."""
    if len(lines) == 1:
        return _line({"formulas": "", "schema": SCHEMA}).startswith(lines[0][:_CUT_BYTES])
    with contextlib.suppress(ValueError, RecursionError):
        header = json.loads(lines[0])
        return isinstance(header, dict) and str(header.get("schema", "")).startswith(_SCHEMAS)
    return False


def _known(lines: list[bytes]) -> Iterator[tuple[_Key, SegmentReading]]:
    for line in lines:
        with contextlib.suppress(AuditorError, ValueError, LookupError, TypeError, RecursionError):
            plain = json.loads(line)
            detail = Detail(*_row(plain["detail"], int, int))
            yield (*_row([plain["file"]], str), tuple(_all(plain["mark"], int)), detail), _read_plain(plain["reading"])


def _line(plain: object) -> bytes:
    return json.dumps(plain, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def _text(body: Body) -> str:
    return write_record(Record(time_us=0, body=body)).decode()


def _body(text: str) -> Any:
    return read_record(text.encode()).body


def _amounts(operations: Operations) -> object:
    return [operations.to_rows(), dict(operations.unpriced)]


def _read_amounts(plain: Any) -> Operations:
    rows, unpriced = plain
    return Operations.from_rows(rows, unpriced)


def _points(points: Sequence[Point]) -> object:
    """Points alike share their amounts, in the file as in memory."""
    amounts = {id(point.operations): point.operations for point in points}
    numbers = {name: number for number, name in enumerate(amounts)}
    rows = [(*point[:-1], numbers[id(point.operations)]) for point in points]
    return {"amounts": list(map(_amounts, amounts.values())), "rows": rows}


def _read_points(plain: Any) -> tuple[Point, ...]:
    amounts = list(map(_read_amounts, plain["amounts"]))
    return tuple(
        Point(int(first_step), int(steps), int(elapsed_us), str(time), amounts[number])
        for first_step, steps, elapsed_us, time, number in plain["rows"]
    )


def _row(plain: Any, *kinds: type) -> tuple[Any, ...]:
    """The values, if they are as many, and of these kinds."""
    if list(map(type, plain)) != list(kinds):
        raise TypeError(f"expected {kinds}")
    return tuple(plain)


def _all(plain: Any, kind: type) -> tuple[Any, ...]:
    return _row(plain, *[kind] * len(plain))


def _time(text: str) -> str:
    datetime.fromisoformat(text)
    return text


def _each(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda values: tuple(map(convert, values))


_RECORDS = ("second_opinions", "updates", "hardware", "recovered", "rotations", "weights", "alerts")
# How fields are written that are not plain themselves, and read again.
_WRITERS: dict[str, Callable[[Any], Any]] = {
    "genesis": _text,
    "points": _points,
    **dict.fromkeys(("operations", "recorded", "folded", "abandoned"), _amounts),
    **dict.fromkeys(_RECORDS, _each(_text)),
    "resumed": _each(lambda one: (one.line, one.step, _text(one.body))),
    "exit": lambda body: body and _text(body),
}
_READERS: dict[str, Callable[[Any], Any]] = {
    "genesis": _body,
    "head": lambda plain: Head(*_row(plain, int, str)),
    "gaps": _each(lambda plain: NotedGap(*_row(plain, str, str, bool, int))),
    "keys": lambda plain: _all(plain, str),
    "noted": _each(lambda plain: _row(plain, str, int, str)),
    "started": _time,
    "ended": _time,
    "points": _read_points,
    **dict.fromkeys(("operations", "recorded", "folded", "abandoned"), _read_amounts),
    **dict.fromkeys(_RECORDS, _each(_body)),
    "resumed": _each(lambda plain: ResumedAt(plain[0], plain[1], _body(plain[2]))),
    "exit": lambda text: text and _body(text),
}


def _to_plain(reading: SegmentReading) -> dict[str, Any]:
    fields = ((field.name, getattr(reading, field.name)) for field in dataclasses.fields(reading))
    return {name: _WRITERS[name](value) if name in _WRITERS else value for name, value in fields}


def _read_plain(plain: dict[str, Any]) -> SegmentReading:
    reading = SegmentReading(
        **{name: _READERS[name](value) if name in _READERS else value for name, value in plain.items()}
    )
    for field in dataclasses.fields(reading):
        if not isinstance(getattr(reading, field.name), _PLAIN.get(str(field.type), object)):
            raise TypeError(f"{field.name}: expected {field.type}")
    if not isinstance(reading.genesis, Genesis):
        raise TypeError("expected a first record")
    if not reading.keys:
        raise TypeError("expected the keys that sign it")
    return reading
