"""A command as a child process, with the auditor attached to every Python process below it.

The child has our standard streams, our working directory and our environment, and gets every signal that we get; we end
with its code. Nothing is between it and its terminal.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from auditor.config import Settings
from auditor.console import say
from auditor.distributed import RANK_PID

_HOOK = Path(__file__).resolve().parent / "hook"
_LAUNCHER_PID = "AUDITOR_LAUNCHER_PID"
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126
_FROM_KERNEL = 128  # si_code of a signal that the terminal sent, to the child as well
_PASSED_ON = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGCONT,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How the command ended: ``code`` is what a shell would show, 128 + n for signal n."""

    code: int
    signal: int


def command_of(words: Sequence[str]) -> list[str]:
    """The command that is meant: a script's name stands for the Python that we run in and the script."""
    if words and words[0].endswith(".py") and not os.access(words[0], os.X_OK):
        return [sys.executable, *words]
    return list(words)


def environment_for(
    settings: Settings, directory: Path, run_id: str, command: Sequence[str], base: Mapping[str, str], *, launcher: str
) -> dict[str, str]:
    """The environment in which Python processes attach themselves; no rank that we run in is above them.

    ``launcher``: the process that records how the command ends; "" where there is none.
    """
    path = os.pathsep.join(filter(None, (str(_HOOK), base.get("PYTHONPATH"))))
    return (
        {name: value for name, value in base.items() if name not in (RANK_PID, _LAUNCHER_PID)}
        | settings.environment()
        | ({_LAUNCHER_PID: launcher} if launcher else {})
        | {
            "AUDITOR_RUN_DIR": str(directory),
            "AUDITOR_RUN_ID": run_id,
            "AUDITOR_RUN_COMMAND": json.dumps(list(command)),
            "PYTHONPATH": path,
        }
    )


def run_child(command: Sequence[str], environment: Mapping[str, str]) -> Ended:
    """Start the command, pass signals on to it, and wait for its end."""
    watched = {*_PASSED_ON, signal.SIGCHLD}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    try:
        pid = os.posix_spawnp(
            command[0],
            list(command),
            dict(environment),
            setsigmask=mask,
            setsigdef=_ignored_by_python(),
        )
    except OSError as error:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return Ended(code=_not_started(command, error), signal=0)
    try:
        return _wait(pid, watched)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def become(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Turn this process into the command: its streams, signals and end are the command's own.

    Returns: the code to exit with, where there is no such command.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    for number in _ignored_by_python():
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(command[0], list(command), dict(environment))  # noqa: S606 - as the user gave it
    except OSError as error:
        return _not_started(command, error)


def _not_started(command: Sequence[str], error: OSError) -> int:
    say(f"{command[0]}: {error.strerror}")
    return _NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE


def _ignored_by_python() -> list[signal.Signals]:
    """Signals that Python ignores for itself; a child expects them as they are by default."""
    return [number for number in (signal.SIGPIPE, signal.SIGXFSZ) if signal.getsignal(number) is signal.SIG_IGN]


def _wait(pid: int, watched: set[signal.Signals]) -> Ended:
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done == pid:
            code = os.waitstatus_to_exitcode(status)
            return Ended(code=code, signal=0) if code >= 0 else Ended(code=128 - code, signal=-code)
        info = signal.sigwaitinfo(watched)
        if info.si_signo != signal.SIGCHLD and info.si_code != _FROM_KERNEL:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, info.si_signo)
