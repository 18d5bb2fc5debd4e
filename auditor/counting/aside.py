"""A static count made aside, in a copy of the process: the forward pass it runs leaves the training alone.

The copy is the child of a child that ends at once, so the training never has a child that it did not start:
nothing of ours turns up in ``os.wait()`` or `multiprocessing`. The copy keeps no way to the outside: every
file descriptor but the result's leads to ``/dev/null``, files cannot grow, and Python code that would write
files, start processes or connect is stopped. It runs on one thread at the lowest priority, never touches a
GPU (tensors there are replaced by zeros of the same shape), and the kernel ends it when its time is up,
whatever it is doing.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import random
import resource
import select
import signal
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch

from auditor.counting.static import StaticCount, analyse
from auditor.errors import AuditorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_WRITE_TIME_S = 30.0  # for handing over the result, after the analysis
_RESULT_BYTES = 1 << 20
_LONGEST_REASON = 300
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_OUTWARD = tuple(
    """os.chmod
    os.chown os.exec os.fork os.forkpty os.kill os.killpg os.link os.mkdir os.posix_spawn os.remove
    os.rename os.rmdir os.spawn os.symlink os.system os.truncate pty.spawn shutil. socket.bind
    socket.connect socket.sendmsg socket.sendto sqlite3.connect subprocess.Popen""".split()  # noqa: SIM905 - a list of names
)
_DATA_LOADER = "torch.utils.data._utils.signal_handling"

_forking = False


def forking() -> bool:
    """Whether the fork under way is this module's own; what runs at every fork can leave the copy alone."""
    return _forking


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a module, and the state of the random generators when it began."""

    module: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    random_state: Any
    torch_state: Any


class Analysis:
    """A static count under way in a copy of the process."""

    def __init__(self, source: int, limit_s: float, started_s: float) -> None:
        self._source = source
        self._limit_s = limit_s
        self._started_s = started_s  # before the copy's own clock began
        self._inode = os.fstat(source).st_ino
        self._received = b""
        self._outcome: StaticCount | str | None = None

    def poll(self, wait_s: float = 0.0) -> StaticCount | str | None:
        """The count, or why there is none; None while it is not known, after ``wait_s`` at most."""
        deadline_s = time.monotonic() + wait_s
        while self._outcome is None:
            left_s = max(0.0, deadline_s - time.monotonic())
            if not self._is_ours():
                self._outcome = "the training closed the descriptor that its result was to come by"
                break
            poller = select.poll()  # select() knows no descriptors above 1023
            poller.register(self._source, select.POLLIN)
            if not poller.poll(left_s * 1e3):
                return None
            self._receive()
        return self._outcome

    def end(self, why: str) -> StaticCount | str:
        """Stop the copy if it is still at work; its count, or ``why`` there is none."""
        outcome = self.poll()
        if outcome is not None:
            return outcome
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self.pid:  # it holds the other end of the pipe, so the number is still its own
                os.kill(self.pid, signal.SIGKILL)
        self._finish(why)
        return why

    @property
    def pid(self) -> int:
        """The copy's process id; 0 while it is not known."""
        first, newline, _ = self._received.partition(b"\n")
        return int(first) if newline else 0

    def _is_ours(self) -> bool:
        """Whether the descriptor is still the pipe: a training may close what it does not know, and open another."""
        try:
            return os.fstat(self._source).st_ino == self._inode
        except OSError:
            return False

    def _receive(self) -> None:
        chunk = os.read(self._source, _RESULT_BYTES)
        self._received += chunk
        lines = self._received.split(b"\n")
        if len(lines) > 2:
            self._finish(_read_outcome(lines[1].decode()))
        elif not chunk:
            elapsed_s = time.monotonic() - self._started_s
            late = elapsed_s >= self._limit_s
            self._finish(f"it took more than {self._limit_s:g} s" if late else "the process that ran it died")

    def _finish(self, outcome: StaticCount | str) -> None:
        self._outcome = outcome
        if self._is_ours():
            os.close(self._source)
        if self.pid:  # where orphans come back to this process, nobody else clears them away
            with contextlib.suppress(OSError):
                os.waitpid(self.pid, os.WNOHANG)


def _read_outcome(line: str) -> StaticCount | str:
    if not line.startswith("count "):
        return line.removeprefix("none ")
    try:
        return StaticCount.from_json(line.removeprefix("count "))
    except AuditorError as error:
        return str(error)


def obstacle() -> str:
    """Why this process cannot be copied now without the training noticing, or ""."""
    handler = signal.getsignal(signal.SIGCHLD)
    if callable(handler) and getattr(handler, "__module__", "") != _DATA_LOADER:
        return "the training handles SIGCHLD itself and would see a child that it did not start"
    if _resident_bytes() > _available_bytes():
        return "there is not enough memory for a copy of the process"
    return ""


def _resident_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return 0


def _available_bytes() -> int:
    """What the machine, and the control group where there is one, still has."""
    amounts = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        amounts += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    with contextlib.suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        most = int((group / "memory.max").read_text(encoding="ascii"))  # "max" where there is no limit
        amounts.append(most - int((group / "memory.current").read_text(encoding="ascii")))
    return min(amounts, default=sys.maxsize)


def begin(call: Call, limit_s: float) -> Analysis:
    """A static count of the call, begun in a copy of this process.

    Raises: OSError: no process or pipe can be had.
    """
    started_s = time.monotonic()
    source, sink = os.pipe()
    with contextlib.suppress(OSError):  # over the user's share of pipe memory: the copy waits until it is read
        fcntl.fcntl(sink, fcntl.F_SETPIPE_SZ, _RESULT_BYTES)
    try:
        _fork(lambda: _orphan(call, sink, limit_s))
    except OSError:
        os.close(source)
        raise
    finally:
        os.close(sink)
    os.set_blocking(source, False)
    return Analysis(source, limit_s, started_s)


def _fork(work: Callable[[], None]) -> None:
    """``work`` begins in an orphan: a child's child whose parent has ended before this returns."""
    global _forking  # noqa: PLW0603 - handlers at a fork are called without arguments
    _forking = True
    try:
        with _quiet_fork():
            child = os.fork()
        if child == 0:
            try:
                if os.fork() == 0:
                    work()
            finally:
                os._exit(0)  # nothing that the training left to be done at exit
    finally:
        _forking = False
    with contextlib.suppress(ChildProcessError):  # a thread of the training was waiting for any child
        os.waitpid(child, 0)


@contextlib.contextmanager
def _quiet_fork() -> Iterator[None]:
    """No word about forking with threads; before 3.12 there is none, and the filters are left alone."""
    if sys.hexversion < 0x030C0000:
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# From here on in the copy.


def _orphan(call: Call, sink: int, limit_s: float) -> NoReturn:
    """Analyse the call and hand over the result; ends the process."""
    try:
        gc.disable()  # what the training's objects do when they go away is not for the copy to do
        _cut_off(sink)
        os.write(sink, f"{os.getpid()}\n".encode())
        _limit(limit_s)
        kept: list[Any] = []  # tensors of a device stay alive to the end: giving them back would touch the device
        line = _outcome(call, kept)
        signal.setitimer(signal.ITIMER_REAL, _WRITE_TIME_S)
        _write(sink, f"{line}\n".encode())
    finally:
        os._exit(0)


def _cut_off(sink: int) -> None:
    """A session of its own, and every descriptor but ``sink`` on ``/dev/null``."""
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        if number not in (sink, nowhere):
            with contextlib.suppress(OSError):
                os.fstat(number)  # the listing's own descriptor is gone by now
                os.dup2(nowhere, number, inheritable=False)


def _limit(limit_s: float) -> None:
    os.nice(19)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    sys.dont_write_bytecode = True
    tempfile.tempdir = tempfile.tempdir or "/tmp"  # noqa: S108 - looking for a better one would write a file
    for kind in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        resource.setrlimit(kind, (0, resource.getrlimit(kind)[1]))
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    torch.set_num_threads(1)


def _outcome(call: Call, kept: list[Any]) -> str:
    warnings.simplefilter("ignore")
    try:
        return f"count {_analyse(call, kept).to_json()}"
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is told
        message = " ".join(f"{type(error).__name__}: {error}".split())
        return f"none {message[:_LONGEST_REASON]}"


def _analyse(call: Call, kept: list[Any]) -> StaticCount:
    from torch.utils._python_dispatch import _disable_current_modes  # noqa: PLC0415

    if "torch._dynamo.eval_frame" in sys.modules:
        torch.compiler.set_stance("force_eager")
    args, kwargs = _on_host(call, kept)
    random.setstate(call.random_state)
    torch.set_rng_state(call.torch_state)
    import fvcore.nn.jit_analysis  # noqa: F401, PLC0415 - before files are kept shut

    sys.addaudithook(_refuse)
    with _disable_current_modes():
        count = analyse(call.module, args, kwargs)
    kept.clear  # noqa: B018
    return count


def _refuse(event: str, details: tuple[Any, ...]) -> None:
    """Stop what would be seen outside of the copy."""
    if event == "open":
        path, _, flags = details
        if isinstance(flags, int) and flags & _WRITING and path != os.devnull:
            raise PermissionError(f"the forward pass opens a file for writing ({path}) and is not run a second time")
    elif event.startswith(_OUTWARD):
        raise PermissionError(f"the forward pass has effects outside ({event}) and is not run a second time")


def _on_host(call: Call, kept: list[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The call's inputs as private tensors of the host, its module's replaced likewise; what was is kept."""
    from torch.utils._pytree import tree_map_only  # noqa: PLC0415

    kept += [call.args, call.kwargs]
    with torch.no_grad():
        for part in call.module.modules():
            for table in (part._parameters, part._buffers, vars(part)):  # noqa: SLF001 - setattr would register anew
                for name, value in list(table.items()):
                    if isinstance(value, torch.Tensor) and (private := _private(value)) is not value:
                        kept.append(value)
                        table[name] = private
        args, kwargs = tree_map_only(torch.Tensor, _private, (call.args, call.kwargs))
    return args, kwargs


def _private(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor itself where it is this process's own; else a copy, or zeros for what a device holds."""
    if tensor.device.type not in ("cpu", "meta"):
        copy = torch.zeros(tensor.shape, dtype=tensor.dtype)
    elif tensor.device.type == "cpu" and tensor.layout is torch.strided and _is_shared(tensor):
        copy = tensor.detach().clone()
    else:
        return tensor
    if isinstance(tensor, torch.nn.Parameter):
        return torch.nn.Parameter(copy, tensor.requires_grad)
    return copy.requires_grad_(tensor.requires_grad)


def _is_shared(tensor: Any) -> bool:
    """Whether another process sees what is written into the tensor."""
    return bool(tensor.is_shared())


def _write(sink: int, data: bytes) -> None:
    while data:
        data = data[os.write(sink, data) :]
