"""One audited run of one process: a counter, the steps it is cut into, and the ledger it goes into.

On the training thread there is only counting and, at the end of an interval, the hand-over of a tally; everything else
is the recorder's. Whatever fails here is told once on stderr, written into the ledger as a gap, and ends the auditing;
the training goes on. With ``strict`` it is the other way round: the failure is raised on the training thread.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import queue
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from auditor import ending
from auditor.config import Settings
from auditor.console import say
from auditor.counting import attachment
from auditor.counting.counter import Cut, open_counter
from auditor.counting.coverage import Sampler, WorkedOut
from auditor.counting.membership import Membership
from auditor.counting.second_opinion import Watcher
from auditor.counting.steps import StepClock
from auditor.counting.updates import Looked, UpdateWatch
from auditor.distributed import Place, claim_rank, find_place, release_rank
from auditor.errors import AuditorError, CountingError
from auditor.ledger import SegmentBook
from auditor.records import SecondOpinion
from auditor.session.checkpoints import Checkpoints
from auditor.session.companions import Companions
from auditor.session.interval_writer import IntervalWriter
from auditor.session.recorder import Recorder, Task
from auditor.session.state import State
from auditor.tally import CounterKind, Purpose

_SHORTEST_INTERVAL_S = 1.0
_WAIT_FOR_STATE_S = 2.0
_WAIT_FOR_FIRST_STATE_S = 60.0  # the recorder is still being loaded
_WAIT_FOR_OPINION_S = 1.0
_WAIT_FOR_OPERATOR_S = 0.5  # where a signal ends the process: for a thread that counts to come to rest
_INTERVAL_SHARE = 0.1  # an interval is at most this share of the time since the start, so that a short run is not lost


class Session:
    """Counts from `start` to `stop` and keeps the ledger in ``directory``."""

    def __init__(
        self, directory: Path, settings: Settings, *, run_id: str, command: tuple[str, ...], eager: bool = False
    ) -> None:
        self.directory = directory
        self.settings = settings
        self.purpose = settings.purpose
        self._run_id = run_id
        self._command = command
        self._forked = self._begun = False
        self._eager = eager
        self._reset()

    def _reset(self) -> None:
        self.counter = open_counter(
            self.settings.counter if self.settings.strict or self.settings.counter != "native" else CounterKind.AUTO,
            purpose=self.purpose,
            on_error=self._counting_failed,
            on_due=self._cut,
            on_fallback=lambda error: say(f"{error}. The portable counter counts instead. {error.remedy}"),
        )
        self.clock = StepClock(self.counter.phases, self._step_ended)
        self._watcher = Watcher(self.counter.peek) if self.settings.second_opinion else None
        self._sampler = self._open_sampler()
        self._renew()
        self._checkpoints = Checkpoints(self._submit, lambda: self.clock.steps - self._earlier_steps, say)
        self._membership = Membership(self._know_place, self._group_changed)
        self._updates = UpdateWatch(self.counter, self._updated, self._updates_failed)

    def _open_sampler(self) -> Sampler | None:
        every = self.settings.coverage_every
        return Sampler(every, on_profile=self._profiled, on_problem=self._coverage_failed) if every else None

    def _renew(self) -> None:
        """What a forked child must have of its own."""
        self._started_ns = time.monotonic_ns()
        self._next_cut_ns = self._started_ns + int(_SHORTEST_INTERVAL_S * 1e9)
        self._segment_began_ns = self._started_ns
        self._recorded_steps = self._earlier_steps = self._earlier_ops = 0  # the latter two: of closed segments
        self._place: Place | None = None
        self._member = self._heeds_signals = False
        self._counter_failed = False
        self._writer = IntervalWriter(self._sampler, on_error=self._formula_failed)
        self._error: AuditorError | None = None
        self._stopped = False
        self._cutting = threading.RLock()  # whichever thread counts may be asked to hand over
        self._stopping = threading.RLock()
        self._ender: int | None = None  # the thread that tells that a signal ends the process
        self._stopper: int | None = None
        self._at_rest = threading.Event()
        self._companions = Companions(
            self.directory, self.settings, self._run_id, submit=self._submit, stopped=lambda: self._stopped
        )
        self._recorder = Recorder(
            self._open_book,
            prepare=self._prepare,
            sync_every_s=self.settings.sync_every_s,
            on_failure=self._ledger_failed,
            tick=self._tick,
        )

    def start(self) -> None:
        """Count from here on. With ``eager`` the segment is begun now, else with the first operator counted."""
        self._begun = True
        self._recorder.start()
        if self._eager:
            self._recorder.submit(_nothing)
        if find_place().role == "rank":
            claim_rank()
        self._updates.attach()
        attachment.attach(self.counter, self.clock)
        self._membership.attach()
        self.counter.due = True  # the first operator begins the record
        if self.settings.checkpoints:
            self._checkpoints.attach()
        else:
            self._recorder.submit(_note_unnoticed)
        if self._sampler is not None:
            self._sampler.attach()
        if not self.counter.sees_all_threads:
            self._note_threads()
        if self._watcher is not None:
            self._watcher.start()

    def stop(self, reason: str = "finished") -> None:
        """Count no further, and seal what was counted; a second call does nothing."""
        with self._stopping:
            if not self._stopped:
                self._stopped = True
                self._stopper = threading.get_ident()
                self._stop(reason)
        self._raise_if_strict()

    def _stop(self, reason: str) -> None:
        if self._ender is None:
            self._detach()
        self._cut()
        self._companions.finish()
        if self._watcher is not None:
            with contextlib.suppress(OSError, ValueError):
                self._write_opinions(self._watcher.stop(_WAIT_FOR_OPINION_S if self._ender is None else 0))
        self._devices_seen()
        self._checkpoints.finish(self.settings.checkpoint_wait_s if self._ender is None else 0)
        self._companions.tell_last(wait=self._ender is None and self._recorder.failed is None)
        self._recorder.submit(self._writer.problems, opens=False)
        self._recorder.submit(lambda book: book.seal(reason), opens=False)
        if not self._recorder.stop():
            say(f"the ledger in {self.directory} did not take its last records within two seconds; it has no seal")
        ending.no_notice(self._ended_by)
        release_rank()

    def _ended_by(self, number: int) -> None:
        """A signal ends the process now: what was counted is sealed, with the threads held where they are.

        Each is held when its next operator has returned, so that none is executed that is not counted. Where none
        comes, all may wait, for data or another rank, or be inside of an operator, which is then not counted.
        """
        self._ender = threading.get_ident()
        self.counter.due = True
        whole = self._at_rest.wait(_WAIT_FOR_OPERATOR_S) or self.counter.idle
        name = signal.Signals(number).name
        message = f"{name} ended the process; " + (
            "every operator it had run is counted" if whole else "an operator that was under way is not counted"
        )
        self._recorder.submit(lambda book: book.gap("signal", message, lower_bound=not whole), opens=False)
        self.stop(f"ended by {name}")

    def _devices_seen(self) -> None:
        if not self._companions.finished():
            message = "the driver did not answer when the run ended: what the devices did last was not seen"
            self._recorder.submit(lambda book: book.gap("hardware", message, lower_bound=False))

    def _detach(self) -> None:
        if self._sampler is not None:
            self._sampler.detach()
        self._checkpoints.detach()
        self._membership.detach()
        self._updates.detach()
        attachment.detach(self.counter, self.clock)

    @property
    def counting(self) -> bool:
        """Whether it has been started and not stopped."""
        return self._begun and not self._stopped

    def mark_step(self) -> None:
        """A step has ended; for loops without an optimizer."""
        self.clock.mark()

    @contextlib.contextmanager
    def during(self, purpose: Purpose) -> Iterator[None]:
        """What is counted inside is for this purpose."""
        before = self.purpose
        self._change_purpose(purpose)
        try:
            yield
        finally:
            self._change_purpose(before)

    def saw(self, event: str, path: str | os.PathLike[str]) -> None:
        """A checkpoint was "saved" or "loaded"; for those that are not noticed by themselves."""
        self._checkpoints.tell(event, path)

    def state(self) -> State | None:
        """Where the record stands, all that was counted so far included; None where it has failed or does not answer.

        The training waits for it: for two seconds at most, on a dead disk.
        """
        answer: queue.SimpleQueue[State] = queue.SimpleQueue()
        if not self._stopped and self._recorder.failed is None:
            self._cut()
            self._recorder.submit(lambda book: answer.put(State.of(book)))
            self._recorder.start()
            with contextlib.suppress(queue.Empty):
                return answer.get(timeout=self._patience_s)
        book = self._recorder.book
        return State.of(book) if self._stopped and book is not None and self._recorder.failed is None else None

    @property
    def _patience_s(self) -> float:
        """How long the training waits for the record."""
        return _WAIT_FOR_STATE_S if self._recorder.book else _WAIT_FOR_FIRST_STATE_S

    def resume(self, state: State) -> None:
        """The training goes on from a checkpoint with this state in it."""
        self._cut()
        self._recorder.submit(lambda book: book.resumed(state.resumed()))

    def mistaken(self, error: AuditorError) -> None:
        """Something was asked of the auditor that it could not do; told once, and raised only when strict."""
        say(error.told)
        self._recorder.submit(lambda book: book.gap("weights", str(error), lower_bound=False))
        self._error = self._error or error
        self._raise_if_strict()

    def _change_purpose(self, purpose: Purpose) -> None:
        if purpose is self.purpose:
            return
        self._cut()
        self.purpose = self.counter.purpose = purpose
        self._recorder.submit(lambda book: book.purpose(purpose))

    def _submit(self, task: Task) -> None:
        """To the recorder that there is by then: a forked child has another."""
        self._recorder.submit(task)

    def _note_threads(self) -> None:
        """Say which threads the counter cannot see: it holds for this one and for those begun from now on."""
        here = threading.current_thread()
        others = [thread.name for thread in threading.enumerate() if thread is not here and not _is_own(thread)]
        if here is not threading.main_thread():
            message = (
                "the auditor was attached on another than the main thread: what the main thread runs is not counted"
            )
            self._recorder.submit(lambda book: book.gap("thread", message, lower_bound=True))
        elif others:
            told = f"threads that were there before the auditor are not counted: {', '.join(others[:5])}"
            self._recorder.submit(lambda book: book.gap("thread", told, lower_bound=False))

    # What runs on the training thread.

    def _step_ended(self) -> None:
        if self._error is not None:
            self._raise_if_strict()
        if time.monotonic_ns() >= self._next_cut_ns:
            self._cut()
        if self._sampler is not None:
            self._sampler.step_ended(self.clock.steps)

    def _profiled(self, coverage: WorkedOut) -> None:
        """A step has been profiled: what was counted in it is handed over first, and what it shows worked out after."""
        self._cut()
        self._recorder.submit(lambda book: self._writer.coverage(book, coverage))

    def _updated(self, looked: Looked) -> None:
        step = self.clock.steps - self._earlier_steps
        self._recorder.submit(lambda book: self._writer.updated(book, step, looked))

    def _updates_failed(self, error: Exception) -> None:
        message = f"which parameters the optimizers update on this rank is not recorded: {error!r}"
        self._recorder.submit(lambda book: self._writer.once(book, "updates", message, lower_bound=False))

    def _coverage_failed(self, message: str) -> None:
        self._recorder.submit(lambda book: self._writer.once(book, "coverage", message, lower_bound=False))

    def _cut(self) -> None:
        """Hand over what was counted since the last time."""
        if self._ender is not None and threading.get_ident() not in (self._ender, self._stopper):
            self._at_rest.set()
            threading.Event().wait()  # until the process ends
        if self._sampler is not None and self._sampler.overdue:
            self._sampler.give_up("it takes too long")
        try:
            with self._cutting:
                self.clock.settle()
                self._cut_here()
        except Exception as error:  # noqa: BLE001 - nothing of the auditor's may reach the training
            self._counting_failed(error)

    def _cut_here(self) -> None:
        cut = self.counter.cut()
        steps = self.clock.steps - self._recorded_steps
        now_ns = time.monotonic_ns()
        elapsed_ns = now_ns - self._started_ns
        self._next_cut_ns = now_ns + int(self._pause_s(elapsed_ns / 1e9) * 1e9)
        if cut is None and not steps:
            return
        if self._forked:
            self._recorder.open_now()  # a child may end without a word: that it began must be on record
        self._recorded_steps = self.clock.steps
        self._updates.ask()
        self._recorder.submit(lambda book: self._record(book, steps, now_ns, cut))
        if not self._stopped:
            self._recorder.start()

    def _pause_s(self, elapsed_s: float) -> float:
        return min(max(elapsed_s * _INTERVAL_SHARE, _SHORTEST_INTERVAL_S), self.settings.interval_s)

    def _know_place(self) -> Place:
        """The place of the process, from the first time that somebody asks until it joins a group or leaves one."""
        self._place = self._place or self._find_place()
        return self._place

    def _group_changed(self, joined: bool) -> None:
        """The process has joined a process group, or left it: it may be another rank from here on.

        What was counted before is closed. It is on the disk when a rank has left: its launcher may kill it now.
        """
        self._cut()
        self._updates.forget()
        self._member = joined
        place, steps, now_ns = self._find_place(), self.clock.steps, time.monotonic_ns()
        settled = self._recorder.turn(lambda book: self._closes(book, place, joined, steps, now_ns))
        if joined:
            self._recorder.submit(_nothing)  # that it began must be on record
        else:
            settled.wait(self._patience_s)

    def _counting_failed(self, error: Exception) -> None:
        """Counting has failed: say so, note the gap, and count no further."""
        failure = CountingError(f"counting failed and has ended: {error!r}")
        if not self._counter_failed:
            self._counter_failed = True
            say(str(failure))
            self._recorder.submit(lambda book: book.gap("counter", str(failure), lower_bound=True))
            with contextlib.suppress(Exception):
                self._detach()
        self._error = self._error or failure
        self._raise_if_strict()

    def _raise_if_strict(self) -> None:
        if self.settings.strict and self._error is not None:
            error, self._error = self._error, None
            raise error

    # What runs on the recorder's thread.

    def _record(self, book: SegmentBook, steps: int, now_ns: int, cut: Cut | None) -> None:
        self._writer.interval(book, book.steps + 1, steps, (now_ns - self._segment_began_ns) // 1000, cut)
        self._companions.recorded(book, self._earlier_ops)

    def _closes(self, book: SegmentBook | None, place: Place, joined: bool, steps: int, now_ns: int) -> bool:
        """Whether the book ends here, sealed, since the process has another place from now on."""
        if joined and place == self._place:
            return False
        self._place = place
        self._earlier_steps, self._segment_began_ns = steps, now_ns
        if book is not None:
            self._earlier_ops += book.operations.total
            self._writer.problems(book)
            book.seal(f"became rank {place.rank} of {place.expected_ranks}" if joined else "left its process group")
        self._companions.closed(now_ns / 1e9)
        return True

    def _formula_failed(self, error: CountingError) -> None:
        self._error = self._error or error

    def _prepare(self) -> None:
        """Load and ask what takes long, off the training thread, where it would hold up the start."""
        with contextlib.suppress(Exception):  # what is wrong shows when it is used
            importlib.import_module("auditor.session.genesis")
            self._companions.survey(self._started_ns / 1e9)

    def _open_book(self) -> SegmentBook:
        from auditor.session import genesis  # noqa: PLC0415 - loaded by the recorder, see _prepare

        place = self._know_place()
        if place.role == "rank":
            claim_rank()
        self._writer.key_watch = genesis.KeyWatch(self.settings.key)
        book = genesis.open_book(
            self.directory,
            self.settings,
            place,
            run_id=self._run_id,
            command=self._command,
            counter=self.counter.name,
            devices=self._companions.devices,
        )
        if not self._heeds_signals:
            ending.before_signal(self._ended_by, self.counter.catcher)
            self._heeds_signals = True
        self._companions.opened(place)
        return book

    def _find_place(self) -> Place:
        """A forked child is a rank only in a process group that it has joined itself."""
        return find_place(forked=self._forked and not self._member)

    def _ledger_failed(self, error: AuditorError) -> None:
        say(f"{error}; nothing more is recorded. {error.remedy}")
        self._error = self._error or error

    def _tick(self) -> None:
        """Ask the counting thread for an interval where no step has ended for long."""
        overdue = self._sampler is not None and self._sampler.overdue
        if overdue or time.monotonic_ns() >= self._next_cut_ns:
            self.counter.due = True
        self._companions.check()
        if self._watcher is not None:
            with contextlib.suppress(OSError, ValueError):  # a second opinion that cannot be had is none
                self._write_opinions(self._watcher.poll())

    def _write_opinions(self, opinions: list[SecondOpinion]) -> None:
        for opinion in opinions:
            self._recorder.submit(functools.partial(SegmentBook.second_opinion, opinion=opinion))

    # Forks.

    def before_fork(self) -> None:
        """In the parent: the recorder comes to rest, and no child goes on with a profile."""
        if self._sampler is not None:
            self._sampler.give_up("a process was forked in it")
        self._recorder.hold()
        self._companions.hold()

    def after_fork_in_parent(self) -> None:
        """In the parent: the recorder goes on."""
        self._recorder.release()
        self._companions.release()

    def after_fork(self) -> None:
        """In a forked child: leave the parent's record to the parent, and begin one of its own when it counts."""
        self._forked = True
        if self._watcher is not None:
            self._watcher.forget()
            self._watcher = None
        if self._sampler is not None:
            self._sampler.forget()
            self._sampler = self._open_sampler()
        self._eager = False
        self.counter.forget()
        self._checkpoints.forget()
        self._updates.forget()
        self.clock.steps = 0
        stopped, at_rest = self._stopped, self._recorder.held
        self._renew()
        self._stopped = stopped or not at_rest
        self.counter.due = not self._stopped
        if not at_rest:
            self._detach()
            say("a process was forked while the ledger was stuck; what the child does is not counted")


def _is_own(thread: threading.Thread) -> bool:
    return getattr(thread, "auditor_uncounted", False)


def _note_unnoticed(book: SegmentBook) -> None:
    book.gap("weights", "checkpoints were not noticed, as was asked", lower_bound=False)


def _nothing(book: SegmentBook) -> None:
    """Opens the book, which is all that is wanted."""
