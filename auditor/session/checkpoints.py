"""Notices the checkpoints that a training saves and loads, and takes their digests on a thread of its own.

What saves and loads is wrapped: the wrapper calls it, hands on what it answers or raises, and does no more on the
training's thread than to open the file. Reading is left to a thread of the lowest priority, which nobody waits for
but the end of the run, and that not longer than told. What cannot be had is recorded as that.
"""

from __future__ import annotations

import contextlib
import functools
import os
import queue
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from auditor import threads
from auditor.counting.patching import Patch, Patches
from auditor.lineage.files import Digest, Missed, digest_file, digest_path, form_of, open_file
from auditor.records import Weights
from auditor.session.recorder import Task

SAVED, LOADED = "saved", "loaded"
_MOST_WAITING = 64  # each keeps a file open
_MOST_LOADS = 1000  # beyond it they are data, as a rule, and the rest is told as one gap
_CLOSED_WITHIN_S = 60.0  # a file object that was saved to is read once it is closed, or after this
_LOOK_S = 0.05
_NICEST = 19
# Names under which libraries import what is wrapped: transformers, accelerate and diffusers do so.
_IMPORTED_AS = frozenset(("save", "load", "save_file", "load_file", "safe_open", "safe_save_file", "safe_load_file"))
_SAY_AFTER_S = 1.0


@dataclass(slots=True, kw_only=True)
class _Sight:
    """A checkpoint that was noticed. ``file``: it, held open, so that it can be renamed or removed; None for others."""

    event: str
    path: Path
    step: int
    explicit: bool  # somebody says that it is one, whatever it holds
    file: IO[bytes] | None = None
    missed: str = ""
    writer: Callable[[], Any] = field(default=lambda: None)  # the file object that it is saved through, while it lives
    until_s: float = 0.0  # how long that may stay open, on the monotonic clock

    @property
    def is_open(self) -> bool:
        """Whether what is saved may not stand in the file yet."""
        writer = self.writer()
        return writer is not None and not writer.closed


class Checkpoints:
    """Notices checkpoints from `attach` to `detach`, and whatever it is told of.

    submit: takes what is to be recorded. steps: how many steps have ended. say: tells the user.
    """

    def __init__(self, submit: Callable[[Task], None], steps: Callable[[], int], say: Callable[[str], None]) -> None:
        self._submit = submit
        self._steps = steps
        self._say = say
        self._active = False
        self._inside = threading.local()
        self._wrapped_by_id: dict[int, tuple[Any, Any]] = {}  # originals and their wrappers
        self._patches = Patches(self._wrappers())
        self._renew()

    def _renew(self) -> None:
        self._sights: queue.SimpleQueue[_Sight | None] = queue.SimpleQueue()
        self._waiting: set[int] = set()  # sights that have not been dealt with, by id
        self._seen: set[tuple[int, ...]] = set()
        self._told: set[str] = set()
        self._ending = False
        self._thread: threading.Thread | None = None

    def attach(self) -> None:
        """From now on what torch and safetensors save and load is noticed."""
        self._active = True
        self._patches.install()
        self._rebind({id(original): (original, wrapper) for original, wrapper in self._wrapped_by_id.values()})

    def detach(self) -> None:
        """It is not any more; what was noticed is still dealt with."""
        self._active = False
        self._patches.remove()
        self._rebind({id(wrapper): (wrapper, original) for original, wrapper in self._wrapped_by_id.values()})
        self._wrapped_by_id.clear()

    def forget(self) -> None:
        """In a forked child: what the parent noticed stays the parent's."""
        while True:
            try:
                sight = self._sights.get_nowait()
            except queue.Empty:
                break
            if sight is not None and sight.file is not None:
                sight.file.close()
        self._inside = threading.local()
        self._renew()

    def tell(self, event: str, path: str | os.PathLike[str]) -> None:
        """Weights were saved to or loaded from this file or directory, whatever else is known of it."""
        self._guarded(lambda: self._put(self._sight(event, path, explicit=True)))

    def finish(self, within_s: float) -> None:
        """All that was noticed is recorded; what takes longer than this, as missed."""
        if self._thread is None:
            return
        self._sights.put(None)
        self._thread.join(min(within_s, _SAY_AFTER_S))
        if self._thread.is_alive() and within_s > _SAY_AFTER_S:
            self._say(f"reading checkpoints for their digests, for {within_s:g} s at most")
            self._thread.join(within_s - _SAY_AFTER_S)
        self._ending = True
        self._thread.join(_SAY_AFTER_S)

    # On the training's thread.

    def _wrappers(self) -> list[Patch]:
        def of(module: str, name: str, wrap: Callable[[Any], Any]) -> Patch:
            return Patch(module, name, wrap, optional=True)

        save = functools.partial(self._wrapped, event=SAVED, target=_second)
        load = functools.partial(self._wrapped, event=LOADED, target=_first)
        patches = [of("torch", "save", save), of("torch", "load", load)]
        patches += [of("torch.serialization", "save", save), of("torch.serialization", "load", load)]
        patches += [of("safetensors.torch", "save_file", save), of("safetensors.torch", "load_file", load)]
        patches += [of("safetensors", "safe_open", load)]
        for package in ("", ".state_dict_saver"):
            wrap = functools.partial(self._wrapped, event=SAVED, target=_distributed)
            patches.append(of(f"torch.distributed.checkpoint{package}", "save", wrap))
        for package in ("", ".state_dict_loader"):
            wrap = functools.partial(self._wrapped, event=LOADED, target=_distributed)
            patches.append(of(f"torch.distributed.checkpoint{package}", "load", wrap))
        return patches

    def _wrapped(self, original: Any, *, event: str, target: Callable[..., Any]) -> Any:
        """The function, noticing what it saves to or loads from; inside of another such it notices nothing."""
        if id(original) in self._wrapped_by_id:  # it stands under several names
            return self._wrapped_by_id[id(original)][1]

        # Of a class, what is its own stays with it.
        @functools.wraps(original, updated=() if isinstance(original, type) else functools.WRAPPER_UPDATES)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if not self._active or getattr(self._inside, "one", False):
                return original(*args, **kwargs)
            self._inside.one = True
            try:
                answer = original(*args, **kwargs)
            finally:
                self._inside.one = False
            self._guarded(lambda: self._notice(event, target(args, kwargs)))
            return answer

        self._wrapped_by_id[id(original)] = original, wrapper
        return wrapper

    @staticmethod
    def _rebind(replaced: Mapping[int, tuple[Any, Any]]) -> None:
        """Modules that imported one of these by name before have the other."""
        for module in list(sys.modules.values()):
            names = getattr(module, "__dict__", {})
            if names.keys().isdisjoint(_IMPORTED_AS):  # most of thousands
                continue
            for name in _IMPORTED_AS & names.keys():
                if id(names[name]) in replaced:
                    names[name] = replaced[id(names[name])][1]

    def _guarded(self, work: Callable[[], None]) -> None:
        """Whatever goes wrong in noticing is told once and goes no further."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - nothing of the auditor's may reach the training
            self._gap(f"a checkpoint could not be noticed: {error!r}")

    def _notice(self, event: str, target: Any) -> None:
        if target is None or (event == LOADED and _in_data_loader()):
            return
        name = target if isinstance(target, (str, os.PathLike)) else getattr(target, "name", None)
        if isinstance(name, (str, os.PathLike)):
            self._put(self._sight(event, name, through=target))

    def _sight(
        self, event: str, target: str | os.PathLike[str], *, explicit: bool = False, through: Any = None
    ) -> _Sight:
        sight = _Sight(event=event, path=Path(os.fspath(target)), step=self._steps(), explicit=explicit)
        try:
            if not sight.path.is_dir():
                sight.file = open_file(sight.path)
        except OSError as error:
            sight.missed = f"it could not be opened: {error.strerror or error}"
        if event == SAVED and hasattr(through, "closed"):
            with contextlib.suppress(TypeError):  # of a kind that cannot be referred to: it is read as it is
                sight.writer = weakref.ref(through)
                sight.until_s = time.monotonic() + _CLOSED_WITHIN_S
        return sight

    def _put(self, sight: _Sight) -> None:
        if self._is_known(sight):
            if sight.file is not None:
                sight.file.close()
            return
        if len(self._waiting) >= _MOST_WAITING and sight.file is not None:
            sight.file.close()
            sight.file, sight.missed = None, "too many others were waiting to be read"
        self._waiting.add(id(sight))
        self._sights.put(sight)
        self._start()

    def _is_known(self, sight: _Sight) -> bool:
        """Whether the same bytes were loaded before; a checkpoint is recorded each time that it is saved."""
        if sight.event == SAVED or sight.file is None:
            return False
        found = os.fstat(sight.file.fileno())
        key = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        if key in self._seen:
            return True
        if len(self._seen) < _MOST_LOADS:
            self._seen.add(key)
            return False
        self._gap(f"more than {_MOST_LOADS} files with tensors were loaded: the later ones are not recorded")
        return True

    def _gap(self, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            self._submit(lambda book: book.gap("weights", message, lower_bound=False))

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="auditor-checkpoints", daemon=True)
            threads.start(self._thread)

    # On a thread of its own.

    def _work(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICEST)
        unfinished: list[_Sight] = []  # what they are saved to is still open
        while True:
            with contextlib.suppress(queue.Empty):
                sight = self._sights.get(timeout=_LOOK_S if unfinished else None)
                if sight is None:
                    break
                unfinished.append(sight)
            waiting, unfinished = unfinished, []
            for sight in waiting:
                if sight.is_open and time.monotonic() < sight.until_s:
                    unfinished.append(sight)
                else:
                    self._deal_with(sight)
        for sight in unfinished:
            self._deal_with(sight)

    def _deal_with(self, sight: _Sight) -> None:
        try:
            record = self._record(sight)
        except Exception as error:  # noqa: BLE001 - what goes wrong here is that there is no digest
            record = _without(sight, f"it could not be read: {error!r}")
        finally:
            if sight.file is not None:
                sight.file.close()
        self._waiting.discard(id(sight))
        if record is not None:
            self._submit(functools.partial(_append, record))

    def _record(self, sight: _Sight) -> Weights | None:
        """What is to be recorded; None for a file without tensors, unless somebody says that it is a checkpoint."""
        if sight.missed or self._ending:
            return _without(sight, sight.missed or "the run ended before it was read")
        if sight.is_open:
            return _without(sight, "the file that it was saved to was not closed")
        try:
            if sight.file is None:
                return _with(sight, digest_path(sight.path, lambda: self._ending))
            sight.path = _now_at(sight.file, sight.path)
            if not sight.explicit and not form_of(sight.file, sight.path.name):
                return None
            return _with(sight, digest_file(sight.file, sight.path.name, lambda: self._ending))
        except (Missed, OSError) as missed:
            return _without(sight, str(missed))


def _append(record: Weights, book: Any) -> None:
    book.weights(record)


def _with(sight: _Sight, digest: Digest) -> Weights:
    return Weights(
        event=sight.event,
        name=sight.path.name,
        form=digest.form,
        step=sight.step,
        digest=digest.digest,
        tensors=digest.tensors,
        size_bytes=digest.size_bytes,
        files=tuple((file.sha256, file.size_bytes, file.name) for file in digest.files),
        missed="",
    )


def _without(sight: _Sight, why: str) -> Weights:
    return Weights(
        event=sight.event,
        name=sight.path.name,
        form="",
        step=sight.step,
        digest="",
        tensors="",
        size_bytes=0,
        files=(),
        missed=why,
    )


def _now_at(file: IO[bytes], opened_at: Path) -> Path:
    """Where the open file is by now: checkpoints are written under a passing name, as a rule, and renamed."""
    try:
        now = Path(f"/proc/self/fd/{file.fileno()}").readlink()
    except OSError:
        return opened_at
    return opened_at if now.name.endswith(" (deleted)") else now


def _in_data_loader() -> bool:
    """Whether this process works for a data loader: what it loads is data."""
    worker = sys.modules.get("torch.utils.data._utils.worker")
    return getattr(worker, "_worker_info", None) is not None


# What a call saves to or loads from: a path or a file object; None where it is none that is to be noticed.


def _first(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    return args[0] if args else kwargs.get("f", kwargs.get("filename"))


def _second(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    return args[1] if len(args) > 1 else kwargs.get("f", kwargs.get("filename"))


def _distributed(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:  # noqa: ARG001 - all but the state are keywords
    """The directory, in one process of those that save or load it together."""
    distributed: Any = sys.modules["torch.distributed"]
    together = distributed.is_available() and distributed.is_initialized() and not kwargs.get("no_dist")
    if together and distributed.get_rank(kwargs.get("process_group")) > 0:
        return None
    door = kwargs.get("storage_writer") or kwargs.get("storage_reader")
    return kwargs.get("checkpoint_id") or getattr(door, "path", None)
