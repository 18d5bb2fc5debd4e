"""Asking a vendor's library: each question by itself, and what it did not answer kept as a reason.

A driver's library may be absent, older than ours, without permission, without its device, or hang. Nothing
here raises for any of that.
"""

from __future__ import annotations

import importlib
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

from auditor import threads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_HURRIED_S = 1.0
_PATIENCE_S = 0.02
_LONGEST_TEXT = 200  # characters; NVML's names have at most 96
Answer = TypeVar("Answer")


def find(name: str) -> tuple[Any, str]:
    """The library's module and "", or None and why it cannot be imported."""
    try:
        return importlib.import_module(name), ""
    except Exception as error:  # noqa: BLE001 - an optional dependency may be absent or broken in any way
        return None, f"cannot be imported ({said(error)})"


def attempt(call: Callable[..., Any], *arguments: Any) -> tuple[Any, str]:
    """The answer and "", or None and the reason."""
    try:
        return call(*arguments), ""
    except Exception as error:  # noqa: BLE001 - see the module's first lines
        return None, said(error)


def answers(questions: Mapping[str, Callable[[], object]]) -> tuple[dict[str, str], dict[str, str]]:
    """The answers as text by name, and the reasons for those that there are none to."""
    given: dict[str, str] = {}
    not_given: dict[str, str] = {}
    for name, question in questions.items():
        answer, reason = attempt(question)
        if reason or answer is None or answer == "":
            not_given[name] = reason or "the device gave nothing"
        else:
            given[name] = text(answer)
    return given, not_given


def said(error: BaseException) -> str:
    """What an error says, printable and short."""
    try:
        return text(str(error) or type(error).__name__)
    except Exception:  # noqa: BLE001 - NVML's errors ask the library for their text
        return type(error).__name__


def text(answer: object) -> str:
    """An answer as text that can be printed, and is short."""
    plain = answer.decode("utf-8", errors="replace") if isinstance(answer, bytes) else str(answer)
    return "".join(letter if letter.isprintable() else "?" for letter in plain).strip()[:_LONGEST_TEXT]


def whole(answer: str | None) -> int | None:
    """The whole number that a text writes in digits, as far as 64 bits go; None for any other text."""
    if answer is None or not (answer.isascii() and answer.isdigit() and len(answer) < 20):
        return None
    return int(answer)


def within(
    seconds: float, calls: Sequence[Callable[[], Answer]], hurry: Callable[[], bool] = lambda: False
) -> list[Answer | None]:
    """What each call answers, all asked at once; None for one that does not come back in time or fails.

    hurry: from when on it is true, there is a second left at most.
    """
    came: dict[int, Answer] = {}

    def ask(place: int) -> None:
        answer, reason = attempt(calls[place])
        if not reason:
            came[place] = answer

    asking = [_asking(ask, place) for place in range(len(calls))]
    until, hurried = time.monotonic() + seconds, False
    while any(thread.is_alive() for thread in asking) and time.monotonic() < until:
        if hurry() and not hurried:
            until, hurried = min(until, time.monotonic() + _HURRIED_S), True
        next(thread for thread in asking if thread.is_alive() or thread is asking[-1]).join(_PATIENCE_S)
    return [came.get(place) for place in range(len(calls))]


def _asking(ask: Callable[[int], None], place: int) -> threading.Thread:
    thread = threading.Thread(target=ask, args=(place,), name="auditor-hardware", daemon=True)
    threads.start(thread)
    return thread
