"""Segments that were compressed after they were sealed: the same bytes, so the same hashes, signatures and proofs.

A packed segment is a file in the seekable format of Zstandard: frames that are read one by one, and behind them a table
of their sizes in a frame that other tools pass over, so that `zstd -d` gives the segment back. The end of a segment
costs its last frame alone.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import struct
from bisect import bisect_right
from enum import Enum
from itertools import accumulate
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

from auditor.errors import LedgerInvalid, MissingExtra
from auditor.ledger.places import PACKED, open_regular

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from types import ModuleType

FRAME_BYTES = 256 * 2**10  # that we put into a frame
MOST_TIMES = 1000  # that a file may grow when it is unpacked, so that a small one keeps nobody busy for long
_MOST_FRAME_BYTES = 4 * 2**20  # that we unpack at once
_MOST_WINDOW_LOG = 23
_LEVEL = 9
_TABLE_MAGIC, _SEEKABLE_MAGIC = 0x184D2A5E, 0x8F92EAB1
_HEADER, _ENTRY, _FOOTER = struct.Struct("<II"), struct.Struct("<II"), struct.Struct("<IBI")


def zstd() -> ModuleType:
    """Python's own module for Zstandard, or the same for versions before 3.14.

    Raises: MissingExtra: neither is installed.
    """
    for name in ("compression.zstd", "backports.zstd"):
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    raise MissingExtra("backports.zstd, which reads and writes compressed segments,", "zstd")


@contextlib.contextmanager
def open_segment(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a segment, compressed or not; otherwise as `open_regular`.

    Raises: OSError: it cannot be opened or is not a regular file. MissingExtra: nothing here reads compressed ones.
    One that was compressed since somebody saw its name is found under its other name.
    A later read raises LedgerInvalid: what is compressed is damaged.
    """
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(open_regular(path))
        except FileNotFoundError:
            if path.name.endswith(PACKED):
                raise
            path = path.with_name(path.name + PACKED)
            file = stack.enter_context(open_regular(path))
        yield cast("IO[bytes]", Unpacked(file)) if path.name.endswith(PACKED) else file


class Likeness(Enum):
    """What a compressed segment is to a plain one."""

    SAME = "same"
    LONGER = "longer"  # it begins with all of the plain one's bytes, and goes on
    OTHER = "other"


def likeness(plain: Path, packed: Path) -> Likeness:
    """What the compressed segment is to the plain one, byte by byte.

    Raises: OSError, MissingExtra: one cannot be opened.
    """
    with open_regular(plain) as file, open_segment(packed) as other, contextlib.suppress(LedgerInvalid):
        while data := file.read(FRAME_BYTES):
            if other.read(len(data)) != data:
                return Likeness.OTHER
        return Likeness.LONGER if other.read(1) else Likeness.SAME
    return Likeness.OTHER


class _Frame(NamedTuple):
    start: int  # of the segment's bytes
    size: int
    at: int  # in the file
    packed_size: int


class Unpacked(io.RawIOBase):
    """Reads what a packed file holds, from any place of it, a frame at a time."""

    def __init__(self, file: IO[bytes]) -> None:
        self._zstd: Any = zstd()
        self._file = file
        self._file_bytes = os.fstat(file.fileno()).st_size
        self._table: list[_Frame] | None = None
        self._at = 0
        self._held: tuple[int, bytes] = (-1, b"")  # the frame that was unpacked last

    def fileno(self) -> int:
        """The descriptor of the packed file, for its lock."""
        return self._file.fileno()

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of any file. Raises: LedgerInvalid: the table of frames is damaged."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at}.get(whence)
        self._at = max(0, (self._size() if start is None else start) + offset)
        return self._at

    def read(self, size: int = -1) -> bytes:
        """So many bytes, or those that are left. Raises: LedgerInvalid: what is compressed is damaged."""
        end = self._size() if size < 0 else min(self._at + size, self._size())
        parts = []
        while self._at < end:
            data, start = self._frame_at(self._at)
            part = data[self._at - start : end - start]
            parts.append(part)
            self._at += len(part)
        return b"".join(parts)

    def _size(self) -> int:
        frames = self._frames()
        return frames[-1].start + frames[-1].size if frames else 0

    def _frame_at(self, place: int) -> tuple[bytes, int]:
        frames = self._frames()
        index = bisect_right(frames, place, key=lambda frame: frame.start) - 1
        if self._held[0] != index:
            self._held = (index, self._unpack(frames[index]))
        return self._held[1], frames[index].start

    def _unpack(self, frame: _Frame) -> bytes:
        self._file.seek(frame.at)
        packed = self._file.read(frame.packed_size)
        options = {self._zstd.DecompressionParameter.window_log_max: _MOST_WINDOW_LOG}
        decompressor = self._zstd.ZstdDecompressor(options=options)
        try:
            data: bytes = decompressor.decompress(packed, frame.size + 1)
        except self._zstd.ZstdError as error:
            raise LedgerInvalid(f"its compressed data is damaged from byte {frame.at} on: {error}") from error
        if len(data) != frame.size or not decompressor.eof or decompressor.unused_data:
            raise LedgerInvalid(f"its compressed data is damaged from byte {frame.at} on: it has another length")
        return data

    def _frames(self) -> list[_Frame]:
        if self._table is None:
            self._table = self._read_table()
        return self._table

    def _read_table(self) -> list[_Frame]:
        size = self._file_bytes
        if size < _HEADER.size + _FOOTER.size:
            raise _no_table()
        self._file.seek(size - _FOOTER.size)
        number, descriptor, magic = _FOOTER.unpack(self._file.read(_FOOTER.size))
        table_bytes = number * _ENTRY.size + _FOOTER.size
        if magic != _SEEKABLE_MAGIC or descriptor or _HEADER.size + table_bytes > size:
            raise _no_table()
        self._file.seek(size - table_bytes - _HEADER.size)
        data = self._file.read(_HEADER.size + number * _ENTRY.size)
        if _HEADER.unpack_from(data) != (_TABLE_MAGIC, table_bytes):
            raise _no_table()
        return _table_of(list(_ENTRY.iter_unpack(data[_HEADER.size :])), size - table_bytes - _HEADER.size)


def _table_of(sizes: list[tuple[int, int]], packed_bytes: int) -> list[_Frame]:
    at = list(accumulate((packed for packed, _ in sizes), initial=0))
    starts = list(accumulate((plain for _, plain in sizes), initial=0))
    if at[-1] != packed_bytes or any(not 0 < plain <= _MOST_FRAME_BYTES for _, plain in sizes):
        raise _no_table()
    if starts[-1] > MOST_TIMES * packed_bytes:
        raise LedgerInvalid(
            f"it says that it unpacks to {starts[-1]} bytes, more than {MOST_TIMES} times its size: not a segment that"
            " `auditor compress` wrote"
        )
    return [_Frame(starts[number], plain, at[number], packed) for number, (packed, plain) in enumerate(sizes)]


def _no_table() -> LedgerInvalid:
    return LedgerInvalid("it does not end like a compressed segment: it was cut short, or is none")


def pack(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The packed file of these blocks, each of which becomes a frame."""
    module: Any = zstd()
    table = []
    for block in blocks:
        packed: bytes = module.compress(block, _LEVEL)
        table.append(_ENTRY.pack(len(packed), len(block)))
        yield packed
    footer = _FOOTER.pack(len(table), 0, _SEEKABLE_MAGIC)
    entries = b"".join(table)
    yield _HEADER.pack(_TABLE_MAGIC, len(entries) + len(footer)) + entries + footer
