"""Somebody is told of a level that was passed: a webhook, a command, or both; a few tries each, and no longer."""

from __future__ import annotations

import contextlib
import http.client
import os
import queue
import shlex
import signal
import subprocess
import threading
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from auditor import threads
from auditor.errors import AlertError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MOST_TRIES = 3
_PAUSES_S = (1.0, 4.0)  # between tries
_OURS = "AUDITOR_"  # what `auditor run` tells the processes below it
_HOOK = "integrations/hook"


class Teller:
    """Tells ``webhook`` and ``command``, each where it is not empty, within ``timeout_s`` a try.

    ``wait``: waits so many seconds between tries, and says whether to give up.
    """

    def __init__(self, webhook: str, command: str, timeout_s: float, wait: Callable[[float], bool]) -> None:
        self._wait = wait
        self._ways: dict[str, Callable[[bytes], None]] = {}
        if webhook:
            self._ways["webhook"] = lambda body: post(webhook, body, timeout_s)
        if command:
            self._ways["command"] = lambda body: run(shlex.split(command), body, timeout_s)

    def tell(self, body: bytes) -> tuple[list[str], list[str]]:
        """The ways that took it, and what went wrong with the others, in words."""
        took, failed = [], []
        for way, tell in self._ways.items():
            failure = self._try(tell, body)
            if failure:
                failed.append(f"{way}: {failure}")
            else:
                took.append(way)
        return took, failed

    def _try(self, tell: Callable[[bytes], None], body: bytes) -> str:
        """Why it was not taken; "" where it was."""
        failure = ""
        for pause_s in (*_PAUSES_S, 0.0):
            try:
                tell(body)
            except AlertError as error:
                failure = str(error)
            else:
                return ""
            if pause_s and self._wait(pause_s):
                break
        return failure


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Whoever moves is told where it was configured, and nowhere else."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def post(url: str, body: bytes, timeout_s: float) -> None:
    """The body has been taken by whoever answers at that address.

    Raises: AlertError: nobody did in that time, or the answer is no success; a redirection is none.
    """
    failed: queue.SimpleQueue[str] = queue.SimpleQueue()
    thread = threading.Thread(
        target=lambda: failed.put(_posted(url, body, timeout_s)), name="auditor-post", daemon=True
    )
    thread.auditor_uncounted = True  # type: ignore[attr-defined]
    try:
        thread.start()
        # A socket's own limit begins anew with each byte, and names are looked up without any: the whole is waited for.
        failure = failed.get(timeout=timeout_s)
    except queue.Empty:
        raise AlertError(f"it took longer than {timeout_s:g} s") from None
    except RuntimeError as error:
        raise AlertError("no thread can be had") from error
    if failure:
        raise AlertError(failure)


def _posted(url: str, body: bytes, timeout_s: float) -> str:
    """Why it was not taken, "" where it was; the address, which may hold a secret, is never told."""
    try:
        request = urllib.request.Request(  # noqa: S310 - the setting takes http and https alone
            url, data=body, headers={"Content-Type": "application/json", "User-Agent": "auditor"}, method="POST"
        )
        opener = urllib.request.build_opener(_NoRedirect)
        with opener.open(request, timeout=timeout_s):
            return ""
    except urllib.error.HTTPError as error:
        with contextlib.closing(error):
            return f"it answered {error.code}"
    except OSError as error:
        return f"it cannot be reached: {getattr(error, 'reason', None) or error or type(error).__name__}"
    except (http.client.HTTPException, ValueError) as error:
        return f"it cannot be reached: {type(error).__name__}"


def run(words: Sequence[str], body: bytes, timeout_s: float) -> None:
    """The command has taken the body from its standard input and ended well. It is no part of what is audited.

    Raises: AlertError: it cannot be started, ends with another code than 0, or takes too long (it is killed then).
    """
    try:
        with threads.as_any_other():
            process = subprocess.Popen(
                list(words),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_environment(),
                start_new_session=True,  # signals of the terminal are the training's
            )
    except (OSError, ValueError) as error:
        raise AlertError(f"{words[0]}: {getattr(error, 'strerror', None) or error}") from error
    with process:
        _hand_over(process, body, timeout_s)
    if process.returncode:
        raise AlertError(f"{words[0]} ended with {process.returncode}")


def _hand_over(process: subprocess.Popen[bytes], body: bytes, timeout_s: float) -> None:
    try:
        process.communicate(body, timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        raise AlertError(f"it took longer than {timeout_s:g} s") from error
    except OSError as error:
        raise AlertError(f"it did not take its input: {error}") from error


def _environment() -> dict[str, str]:
    """The environment without what attaches the auditor to the processes of a run."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    paths = kept.pop("PYTHONPATH", "").split(os.pathsep)
    own = os.pathsep.join(path for path in paths if path and not path.endswith(_HOOK))
    return kept | ({"PYTHONPATH": own} if own else {})
