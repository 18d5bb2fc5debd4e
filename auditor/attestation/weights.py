"""The files of a model's weights, each by its name and digest; read as a stream, however large."""

from __future__ import annotations

import hashlib
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from auditor.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Iterator

_READERS = 4  # files that are read at a time


class Subject(NamedTuple):
    """A file: its path below what was named, and its SHA-256 in hexadecimal."""

    name: str
    sha256: str


def digest_weights(path: Path) -> tuple[Subject, ...]:
    """The file, or every file of the directory and those below it, in the order of their names.

    Raises: WeightsError: there is none; one cannot be read, changes while it is, is a link, a pipe or a device, or has
    a name that is not text.
    """
    try:
        directory = path.is_dir()
        files = dict(_files(path)) if directory else {path.name: path}
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not files:
        raise WeightsError(f"{path}: the directory holds no file")
    names = sorted(files)
    with ThreadPoolExecutor(_READERS) as readers:
        # What is found below a directory is not followed elsewhere; what a person names may be a link.
        digests = readers.map(lambda name: _digest(files[name], follow=not directory), names)
        return tuple(map(Subject, names, digests))


def _files(directory: Path) -> Iterator[tuple[str, Path]]:
    for folder, _, _ in os.walk(directory, onerror=_raise):
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    path = Path(entry.path)
                    yield _text_of(path.relative_to(directory)), path


def _raise(error: OSError) -> NoReturn:
    raise error


def _text_of(name: Path) -> str:
    text = name.as_posix()
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise WeightsError(
            f"{os.fsencode(name)!r}: the name is not UTF-8, so no attestation can hold it", remedy="Rename the file."
        ) from error
    return text


def _digest(path: Path, *, follow: bool) -> str:
    flags = os.O_RDONLY | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    if path.is_symlink() and not follow:
        raise WeightsError(f"{path}: a link: what it leads to may be changed without a trace here")
    try:
        with os.fdopen(os.open(path, flags), "rb") as file:
            before = os.fstat(file.fileno())
            if not stat.S_ISREG(before.st_mode):
                raise WeightsError(f"{path}: a {_kind(before.st_mode)}, not a file")
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            after = os.fstat(file.fileno())
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise WeightsError(f"{path}: it was written to while it was read", remedy="Wait until the weights are saved.")
    return digest


def _kind(mode: int) -> str:
    kinds = {stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket", stat.S_IFDIR: "directory"}
    return kinds.get(stat.S_IFMT(mode), "device")
