"""The auditor in code: ``with Auditor() as audit:`` around a training loop."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Self

from auditor import config
from auditor.integrations import here, lifecycle
from auditor.integrations.naming import new_directory, new_run_id
from auditor.session.session import Session
from auditor.tally import Purpose


class Auditor:
    """Counts what runs inside the ``with`` block and keeps the ledger in ``directory``.

    out: the ledger's directory; one that holds a ledger already is continued as a new attempt. Other settings: see
    configs/defaults.yaml; None takes what the environment or ``./auditor.yaml`` says.
    Raises: ConfigError: a setting does not fit. With strict, also what goes wrong while counting.
    """

    def __init__(
        self,
        out: str | Path | None = None,
        *,
        model: str | None = None,
        purpose: str | Purpose | None = None,
        strict: bool | None = None,
        **settings: str,
    ) -> None:
        given = {
            "out": None if out is None else str(out),
            "model": model,
            "purpose": purpose,
            "strict": None if strict is None else str(strict).lower(),
        }
        self.settings = config.load(given | settings)
        self.directory = (self.settings.out or new_directory()).absolute()
        self._session: Session | None = None

    def __enter__(self) -> Self:
        if self._session is None:
            command = (Path(sys.argv[0] or "python").name, *sys.argv[1:])
            self._session = Session(
                self.directory, self.settings, run_id=new_run_id(self.directory), command=command, eager=True
            )
            lifecycle.follow(self._session)
            self._session.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.stop("finished" if error is None else f"stopped by {type(error).__name__}")

    @property
    def _running(self) -> Session:
        if self._session is None:
            raise RuntimeError("the auditor has not been entered: use `with Auditor() as audit:`")
        return self._session

    def step(self) -> None:
        """A step has ended; for loops without an optimizer, whose steps mark themselves."""
        self._running.mark_step()

    def saved(self, path: str | PathLike[str]) -> None:
        """A checkpoint stands at this path, a file or a directory; for those that torch and safetensors do not save."""
        self._running.saw("saved", path)

    def loaded(self, path: str | PathLike[str]) -> None:
        """The training goes on from the weights at this path; for those that torch and safetensors do not load."""
        self._running.saw("loaded", path)

    def state_dict(self) -> dict[str, str | int]:
        """Where the record stands, to be kept in a checkpoint: text and whole numbers.

        Empty where the record has failed. The training waits until what was counted is on the disk.
        """
        return here.state_of(self._running)

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """The training goes on from a checkpoint that held this state: what came after it is abandoned.

        An empty one says nothing. Raises: StateError: it is something else, where strict; otherwise that is told.
        """
        here.resume(self._running, state)

    def purpose(self, purpose: str | Purpose) -> AbstractContextManager[None]:
        """What is counted inside ``with audit.purpose("evaluation"):`` is for that purpose."""
        return self._running.during(config.parse_purpose(str(purpose), "Auditor.purpose"))
