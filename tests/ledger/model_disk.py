"""A model of what a disk keeps: a real run's calls are taped, and any state made that a loss of power may leave.

The model promises no more than POSIX and a powersafe overwrite: what was synced stays. Of what was not synced, each
sector of 512 bytes is kept, lost or torn on its own, in any order; what is lost reads as zeros or ends the file; a name
whose directory was not synced may be forgotten, and so may a rename, a cut or a whole directory.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, NamedTuple

from auditor.ledger import disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

SECTOR_BYTES = 512
CALLS = ("create", "append", "sync", "cut", "rename", "make_one_directory", "sync_directory")


class Call(NamedTuple):
    """One call that changed the disk: what it did, to which path, with what."""

    name: str
    path: Path
    argument: object = None


def path_of(target: object) -> Path:
    """The path that a call is about, given it or an open file."""
    return Path(f"/proc/self/fd/{target}").readlink() if isinstance(target, int) else Path(target).absolute()


@contextlib.contextmanager
def around_calls(wrap: Callable[[str, Callable[..., object]], Callable[..., object]]) -> Iterator[None]:
    """Inside, each call of `auditor.ledger.disk` is what ``wrap`` makes of it."""
    originals = {name: getattr(disk, name) for name in CALLS}
    try:
        for name, original in originals.items():
            setattr(disk, name, wrap(name, original))
        yield
    finally:
        for name, original in originals.items():
            setattr(disk, name, original)


@contextlib.contextmanager
def taped() -> Iterator[list[Call]]:
    """The calls that are made inside, in their order; each is carried out on the real disk too."""
    tape: list[Call] = []

    def wrap(name: str, original: Callable[..., object]) -> Callable[..., object]:
        def call(target: object, argument: object = None) -> object:
            path = path_of(target)
            result = original(target) if argument is None else original(target, argument)
            noted = bytes(argument)[:result] if name == "append" else argument  # type: ignore[call-overload]
            tape.append(Call(name, path, noted))
            return result

        return call

    with around_calls(wrap):
        yield tape


@dataclass
class _File:
    kept: bytes = b""  # on the disk for sure
    size: int = 0  # as the system sees it
    pending: list[tuple[int, bytes]] = field(default_factory=list)

    def write(self, data: bytes) -> None:
        self.pending.append((self.size, data))
        self.size += len(data)

    def sync(self) -> None:
        self.kept, self.pending = self.whole(), []

    def whole(self) -> bytes:
        """As it would be without a crash."""
        data = bytearray(self.kept.ljust(self.size, b"\0")[: self.size])
        for start, piece in self.pending:
            data[start : start + len(piece)] = piece
        return bytes(data)

    def after_crash(self, chance: Random) -> bytes:
        """What may be left: what is synced, and of the rest any sectors, whole or torn, up to any size."""
        whole, first = self.whole(), len(self.kept)
        if chance.random() < 0.3:  # nothing worse than a suffix that is gone
            return whole[: chance.randint(first, len(whole))]
        left = bytearray(self.kept.ljust(len(whole), b"\0"))
        likely = chance.choice([0.2, 0.5, 0.9])
        for start in range(first - first % SECTOR_BYTES, len(whole), SECTOR_BYTES):
            begin, end = max(start, first), min(start + SECTOR_BYTES, len(whole))
            if chance.random() > likely:
                continue
            if chance.random() < 0.2:  # torn
                middle = chance.randint(begin, end)
                begin, end = chance.choice([(begin, middle), (middle, end)])
            left[begin:end] = whole[begin:end]
        size = chance.choice([len(whole), chance.randint(first, len(whole)), end_of_sector(chance, first, len(whole))])
        return bytes(left[:size])


def end_of_sector(chance: Random, first: int, last: int) -> int:
    """A size at which a file may end where only whole sectors were written."""
    return min(max(chance.randint(first, last) // SECTOR_BYTES * SECTOR_BYTES, first), last)


class ModelDisk:
    """Files and names as a run makes them; `after_crash` is what a loss of power may leave of them.

    ``root``: the directory on the real disk that stands for the whole; what is in it at first is synced.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._kept: dict[PurePath, _File | None] = {PurePath(): None}  # names on the disk; None: a directory
        self._seen: dict[PurePath, _File | None] = {}  # names as the system sees them
        for path in sorted(root.rglob("*")):
            content = path.read_bytes() if path.is_file() else None
            self._kept[path.relative_to(root)] = None if content is None else _File(content, len(content))
        self._seen = dict(self._kept)

    def do(self, call: Call) -> None:
        """The call is done, as far as the system sees."""
        path = PurePath(call.path).relative_to(self._root)
        match call.name, call.argument:
            case "create", _:
                self._seen[path] = _File()
            case "make_one_directory", _:
                self._seen.setdefault(path, None)
            case "append", bytes(data):
                self._file(path).write(data)
            case "sync", _:
                self._file(path).sync()
            case "cut", int(size):
                file = self._file(path)
                file.size, file.kept, file.pending = size, file.whole()[:size], []
            case "rename", Path() as target:
                self._seen[target.relative_to(self._root)] = self._seen.pop(path)
            case "sync_directory", _:
                self._sync_names(path)
            case other:
                raise AssertionError(f"a call that the model does not know: {other}")

    def _file(self, path: PurePath) -> _File:
        file = self._seen[path]
        assert file is not None
        return file

    def _sync_names(self, folder: PurePath) -> None:
        gone = [name for name in self._kept if name.parent == folder and name != folder and name not in self._seen]
        for name in gone:
            del self._kept[name]
        self._kept |= {name: file for name, file in self._seen.items() if name.parent == folder}

    def after_crash(self, target: Path, chance: Random) -> None:
        """A state that a loss of power may leave now stands in ``target``."""
        names = dict(self._kept)
        forgotten = 0.5 if chance.random() < 0.5 else 0.0
        for name, file in self._seen.items():
            if names.get(name, self) is not file and chance.random() >= forgotten:
                names[name] = file
        for name in [name for name in self._kept if name not in self._seen]:  # renamed, and that is not synced
            if chance.random() >= forgotten:
                del names[name]
        made = {PurePath()}
        for name in sorted(names):
            if name != PurePath() and name.parent in made:
                file = names[name]
                if file is None:
                    made.add(name)
                    (target / name).mkdir()
                else:
                    (target / name).write_bytes(file.after_crash(chance))
