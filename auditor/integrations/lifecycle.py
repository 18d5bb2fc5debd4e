"""Sessions across forks: a forked child counts for itself, and seals what it counted when it ends."""

from __future__ import annotations

import os
import weakref
from multiprocessing import util

from auditor.counting.aside import forking
from auditor.session.session import Session

_sessions: weakref.WeakSet[Session] = weakref.WeakSet()
_registered: list[bool] = []


def follow(session: Session) -> None:
    """Children that this process forks from now on are counted on their own."""
    if not _registered:
        os.register_at_fork(before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
        _registered.append(True)
    _sessions.add(session)
    # multiprocessing's children end in os._exit, after these finalizers; it forgets those of the parent.
    util.register_after_fork(session, _finish_with_the_process)


def running() -> list[Session]:
    """The sessions of this process that count now."""
    return [session for session in _sessions if session.counting]


def _before_fork() -> None:
    for session in _audited():
        session.before_fork()


def _after_in_parent() -> None:
    for session in _audited():
        session.after_fork_in_parent()


def _after_in_child() -> None:
    for session in _audited():
        session.after_fork()


def _audited() -> list[Session]:
    """The sessions; none where it is our own second opinion that forks, which must count nothing."""
    return [] if forking() else list(_sessions)


def _finish_with_the_process(session: Session) -> None:
    util.Finalize(None, session.stop, exitpriority=-100)
