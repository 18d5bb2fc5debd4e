"""Digests of checkpoints: of the bytes of their files, and of their tensors whatever the files.

A file alone has the SHA-256 of its bytes. A directory has the SHA-256 of the list that ``sha256sum`` prints of those of
its files that hold tensors, in the order of their names' bytes. The digest of the tensors, where it can be had without
torch (safetensors), is the same however they are ordered or spread over files.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

_BLOCK_BYTES = 8 * 2**20
_HEADER_LIMIT_BYTES = 2**20  # a longer one would hold the training up while it is parsed
_LENGTH_BYTES = 8  # of a safetensors file: how long its header is
_MOST_FILES = 10_000
_LONGEST_NAMES = 10**6  # together: they stand in one line of a ledger
_NAME_AT = 66  # in a line of sha256sum: 64 digits and two spaces
_LEGACY = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")  # how torch's files began before they were archives
_STORAGE = re.compile(r"(?:.*/)?data/[0-9]+")
_UNPRINTABLE = re.compile(r"[\\\r\n]")  # sha256sum writes such names in another way

Stop = Callable[[], bool]


class Missed(Exception):
    """A digest that cannot be had; the message says why."""


class FileDigest(NamedTuple):
    """One file: SHA-256 of its bytes, how many, its name below the directory, its format, its tensors."""

    sha256: str
    size_bytes: int
    name: str
    form: str
    tensors: tuple[bytes, ...] | None  # a line for each; None where they were not looked into


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """One file or a set of files. ``tensors``: "" where they were not looked into."""

    form: str
    digest: str
    tensors: str
    size_bytes: int
    files: tuple[FileDigest, ...]


def never() -> bool:
    """Nobody asks for an end."""
    return False


def digest_path(path: Path, stop: Stop = never) -> Digest:
    """The digest of a file, or of the files below a directory that hold tensors; of all, where none is known to.

    Raises: Missed: there is none, it changed while it was read, or ``stop`` said so.
    """
    with _readable(path.name):
        if not path.is_dir():
            with open_file(path) as file:
                return digest_file(file, path.name, stop)
        return _set(_digest_all(path, stop))


def digest_file(file: IO[bytes], name: str, stop: Stop = never) -> Digest:
    """The digest of one open file of this name.

    Raises: Missed: it changed while it was read, or ``stop`` said so.
    """
    with _readable(name):
        found = _digest_one(file, "", form_of(file, name), stop)
    tensors = _tensors_digest([found])
    return Digest(
        form=found.form or "other",
        digest=found.sha256,
        tensors=tensors,
        size_bytes=found.size_bytes,
        files=(found,),
    )


def digest_of_set(files: Iterable[tuple[str, str]]) -> str:
    """SHA-256 of what ``sha256sum`` prints of these files, given as digest and name, in the order of their names."""
    lines = sorted((os.fsencode(f"{sha256}  {name}\n") for sha256, name in files), key=lambda line: line[_NAME_AT:])
    return hashlib.sha256(b"".join(lines)).hexdigest()


def form_of(file: IO[bytes], name: str) -> str:
    """What holds tensors in the file: "safetensors", "torch", "distributed"; "" where nothing that is known does."""
    file.seek(0)
    start = file.read(len(_LEGACY))
    if name.endswith(".distcp"):
        return "distributed"
    if start.startswith(b"PK"):
        return "torch" if _is_archive_of_tensors(file) else ""
    if start == _LEGACY:
        return "torch"
    return "safetensors" if _header_bytes(start, _size(file)) else ""


def open_file(path: Path) -> IO[bytes]:
    """The file, open and unbuffered; links lead to it, a pipe is none.

    Raises: OSError: it cannot be opened, or is no regular file.
    """
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a regular file")
    return file


@contextlib.contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Missed(f"{name} could not be read: {error.strerror or error}") from error


def _digest_all(directory: Path, stop: Stop) -> list[FileDigest]:
    """The files below the directory that hold tensors; all of them, where none is known to."""
    names = sorted(_names(directory), key=os.fsencode)
    if not names:
        raise Missed(f"{directory.name} holds no files")
    forms = {}
    for name in names:
        with open_file(directory / name) as file:
            forms[name] = form_of(file, name)
    taken = [name for name in names if forms[name]] or names
    found = []
    for name in taken:
        with open_file(directory / name) as file:
            found.append(_digest_one(file, name, forms[name], stop))
    return found


def _names(directory: Path) -> list[str]:
    """The names of the files below, relative to it; directories that are links are not entered."""
    names: list[str] = []
    for folder, _, files in os.walk(directory, onerror=_raise):
        names += [str((Path(folder) / file).relative_to(directory)) for file in files]
        if len(names) > _MOST_FILES or sum(map(len, names)) > _LONGEST_NAMES:
            raise Missed(f"{directory.name} holds more than {_MOST_FILES} files, or their names are too long")
    strange = next((name for name in names if _UNPRINTABLE.search(name)), None)
    if strange is not None:
        raise Missed(f"{directory.name} holds a file whose name has a backslash or a line break: {strange!r}")
    return names


def _raise(error: OSError) -> None:
    raise error


def _set(files: list[FileDigest]) -> Digest:
    forms = {file.form for file in files}
    return Digest(
        form=(forms.pop() if len(forms) == 1 else "") or "other",
        digest=digest_of_set((file.sha256, file.name) for file in files),
        tensors=_tensors_digest(files),
        size_bytes=sum(file.size_bytes for file in files),
        files=tuple(files),
    )


def _tensors_digest(files: Sequence[FileDigest]) -> str:
    if any(file.tensors is None for file in files):
        return ""
    lines = sorted(line for file in files for line in file.tensors or ())
    return hashlib.sha256(b"".join(lines)).hexdigest() if lines else ""


def _digest_one(file: IO[bytes], name: str, form: str, stop: Stop) -> FileDigest:
    before = os.fstat(file.fileno())
    tensors = _Tensors.of(file, before.st_size) if form == "safetensors" else None
    file.seek(0)
    whole, block, read = hashlib.sha256(), memoryview(bytearray(min(_BLOCK_BYTES, before.st_size + 1))), 0
    while read <= before.st_size and (number := file.readinto(block)):  # type: ignore[attr-defined]
        if stop():
            raise Missed("the run ended before all of it was read")
        whole.update(block[:number])
        if tensors is not None:
            tensors.update(block[:number])
        read += number
    after = os.fstat(file.fileno())
    if (read, after.st_size, after.st_mtime_ns) != (before.st_size, before.st_size, before.st_mtime_ns):
        raise Missed("it was changed while it was read")
    lines = tensors.lines() if tensors is not None else None
    return FileDigest(whole.hexdigest(), read, name, form, lines)


def _size(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_size


def _is_archive_of_tensors(file: IO[bytes]) -> bool:
    try:
        with zipfile.ZipFile(file) as archive:
            return any(_STORAGE.fullmatch(name) for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return False


def _header_bytes(start: bytes, size: int) -> int:
    """The length of the header of a safetensors file that begins like this; 0 where it is none."""
    length = int.from_bytes(start[:_LENGTH_BYTES], "little")
    fits = len(start) > _LENGTH_BYTES and 2 <= length <= size - _LENGTH_BYTES
    return length if fits and start[_LENGTH_BYTES : _LENGTH_BYTES + 1] == b"{" else 0


class _Tensors:
    """Takes the bytes of a safetensors file in their order and hashes each tensor by itself."""

    def __init__(self, names: Mapping[str, tuple[str, list[int]]], bounds: Sequence[tuple[int, int, str]]) -> None:
        self._names = names
        self._bounds = list(reversed(bounds))  # the next one last
        self._at = 0
        self._open = hashlib.sha256()
        self._lines: list[bytes] = []
        self._close_finished()

    @classmethod
    def of(cls, file: IO[bytes], size: int) -> _Tensors | None:
        """For this file; None where its header is not what the format asks for, or too long."""
        file.seek(0)
        length = _header_bytes(file.read(_LENGTH_BYTES + 1), size)
        if not 0 < length <= _HEADER_LIMIT_BYTES:
            return None
        file.seek(_LENGTH_BYTES)
        try:
            header = json.loads(file.read(length))
            return cls(*_layout(header, _LENGTH_BYTES + length, size))
        except (ValueError, TypeError, KeyError, RecursionError):
            return None

    def update(self, data: memoryview) -> None:
        """The next bytes of the file."""
        until = self._at + len(data)
        while self._bounds and self._bounds[-1][0] < until:
            start, end, _ = self._bounds[-1]
            self._open.update(data[max(start - self._at, 0) : end - self._at])
            if end > until:
                break
            self._close()
        self._at = until
        self._close_finished()

    def lines(self) -> tuple[bytes, ...] | None:
        """A line for each tensor; None where bytes of one were missing."""
        return None if self._bounds else tuple(self._lines)

    def _close_finished(self) -> None:
        """Tensors without bytes have no part in any update."""
        while self._bounds and self._bounds[-1][1] <= self._at:
            self._close()

    def _close(self) -> None:
        _, _, name = self._bounds.pop()
        dtype, shape = self._names[name]
        line = json.dumps([name, dtype, shape, self._open.hexdigest()], separators=(",", ":"))
        self._lines.append(line.encode() + b"\n")
        self._open = hashlib.sha256()


def _layout(
    header: Any, data_at: int, size: int
) -> tuple[dict[str, tuple[str, list[int]]], list[tuple[int, int, str]]]:
    """Type and shape of each tensor, and where in the file it lies, in that order."""
    names: dict[str, tuple[str, list[int]]] = {}
    bounds: list[tuple[int, int, str]] = []
    for name, entry in header.items():
        if name != "__metadata__":
            start, end = (data_at + int(offset) for offset in entry["data_offsets"])
            names[name] = str(entry["dtype"]), [int(length) for length in entry["shape"]]
            bounds.append((start, end, name))
    bounds.sort()
    ends = [data_at, *(end for _, end, _ in bounds)]
    if any(start < before or end < start for (start, end, _), before in zip(bounds, ends, strict=False)):
        raise ValueError("tensors overlap")
    if ends[-1] > size:
        raise ValueError("a tensor lies behind the end")
    return names, bounds
