"""The auditor of this process, for a script under `auditor run`, which has no object to ask.

Where nobody audits, all of it does nothing: a script can call it either way.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auditor.session.session import Session


def state_dict() -> dict[str, str | int]:
    """Where the record of this process stands, to be kept in a checkpoint; empty where nobody audits."""
    return next(map(state_of, _sessions()), {})


def load_state_dict(state: Mapping[str, object]) -> None:
    """The training goes on from a checkpoint that held this state: what came after it is abandoned."""
    for session in _sessions():
        resume(session, state)


def saved(path: str | PathLike[str]) -> None:
    """A checkpoint stands at this path, a file or a directory; for those that torch and safetensors do not save."""
    for session in _sessions():
        session.saw("saved", path)


def loaded(path: str | PathLike[str]) -> None:
    """The training goes on from the weights at this path; for those that torch and safetensors do not load."""
    for session in _sessions():
        session.saw("loaded", path)


def state_of(session: Session) -> dict[str, str | int]:
    """As `state_dict`, of this session."""
    state = session.state()
    return {} if state is None else state.to_plain()


def resume(session: Session, state: Mapping[str, object]) -> None:
    """As `load_state_dict`, of this session."""
    from auditor.errors import StateError  # noqa: PLC0415 - not loaded where nobody audits
    from auditor.session.state import State  # noqa: PLC0415

    if state:
        try:
            session.resume(State.read(state))
        except StateError as error:
            session.mistaken(error)


def _sessions() -> list[Session]:
    lifecycle = sys.modules.get("auditor.integrations.lifecycle")
    return lifecycle.running() if lifecycle else []
