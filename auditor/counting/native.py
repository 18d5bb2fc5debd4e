"""The native counter: the same tally as the portable one's, at a small part of its cost, on every thread.

`native_tally.cpp` wraps the kernels that the dispatcher calls; here is decided which, and what it noted is given its
meaning. There is one native tally in a process; each counter hears of everything that runs while it is attached.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from functools import cache
from typing import Any

import torch

from auditor.counting import devices
from auditor.counting.arguments import is_marker, noted_name
from auditor.counting.captured import Aside
from auditor.counting.devices import HIDERS, Hider, Replays
from auditor.counting.graphs import Calls
from auditor.counting.heard import DeviceCalls, both
from auditor.counting.measured import OPERATORS
from auditor.counting.native_build import load
from auditor.counting.phases import KEEPERS, Keeper, watch_functions
from auditor.ending import Catcher
from auditor.formulas import TABLE
from auditor.operations import MATRIX_FAMILIES
from auditor.tally import NUMBER, Argument, Entry, Phase, Purpose, Shape, Signature, Tally, encode_arguments

# In the order of native_tally.cpp.
_PHASES = (Phase.FORWARD, Phase.BACKWARD, Phase.RECOMPUTE, Phase.OPTIMIZER, Phase.INFERENCE)
_TAG_BITS, _DTYPE_BITS, _STORAGE_BITS = 8, 8, 8
_LAYOUTS = ("", "sparse_coo", "sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc", "nested", "unknown")
_TORCHS_OWN = (
    *("aten::", "prim::", "prims::", "quantized::", "_quantized::", "quantization::", "sparse::", "export::"),
    *("c10d::", "_c10d_functional::", "_c10d_functional_autograd::", "symm_mem::", "profiler::", "torch_attn::"),
    *("mkldnn::", "mkl::", "onednn::", "mkldnn_prepacked::", "prepacked::", "xnnpack::", "static_runtime::"),
    *("inductor::", "inductor_prims::", "_inductor", "rngprims::", "debugprims::", "debug_mode_ops::", "_native::"),
    *("tensorexpr::", "_dtensor::", "cuda::"),
)
# Looking after others' operators leaves a few bytes with the dispatcher: often at first, then now and then.
_LOOKS_AT_FIRST, _LOOK_EVERY = 100, 100
_MOST_SIGNATURES = 1 << 16  # kept with their texts

Row = tuple[int, bytes, int, int]  # operator, words, phase, calls
Noted = dict[tuple[Signature, Phase], int]  # calls that compiled code has executed


class _Tag(IntEnum):
    NONE = 0
    NUMBER = 1
    BOOL = 2
    INT = 3
    STRING = 4
    LIST = 5
    TENSOR = 6


class _Role(IntEnum):
    NOTED = 0
    MATRIX = 1
    HIDING = 2  # not noted itself, and what it runs inside is not either
    OPEN = 3  # without a price: noted, and what it runs inside is noted as well
    MEASURED = 4  # what it computes is a matter of values: asked for what to note in its place


_PRODUCTS = (_Role.MATRIX, _Role.MEASURED)


class _Attention(IntEnum):
    DUE = 1
    LATE = 2
    FAILED = 4


class _Core:
    """The native tally of this process, and the counters that listen to it."""

    def __init__(self, library: Any) -> None:
        self.library = library
        self.counters: list[NativeCounter] = []
        self.dtypes: list[str] = library.dtype_names()
        self.signatures: dict[tuple[int, bytes], Signature] = {}
        self._revision = -1
        self._late = True
        self._looks = 0
        self._declared: set[str] = set()  # since, and without a kernel that could be wrapped
        self._foreign: set[str] = set()  # wrapped operators of others, which may get other kernels at any time
        self._lock = threading.RLock()
        self._unwatch: Callable[[], None] | None = None
        library.start(self._attend, self._measure)
        KEEPERS.append(Keeper(library.keep_phase, library.restore_phase))
        HIDERS.append(Hider(library.hide, library.show))

    def join(self, counter: NativeCounter) -> None:
        """From now on the counter hears of everything."""
        with self._lock:
            self.drain()
            if not self.counters:
                self.library.set_updating(False)
            self.counters.append(counter)
            if self._revision != TABLE.revision:
                self._wrap()
            if self._unwatch is None:
                self._unwatch = watch_functions()
            self.library.set_active(True)

    def leave(self, counter: NativeCounter) -> None:
        """The counter hears of nothing more."""
        with self._lock:
            self.drain()
            self.counters.remove(counter)
            if self.counters:
                return
            self.library.set_active(False)
            if self._unwatch is not None:
                self._unwatch()
                self._unwatch = None

    def drain(self) -> None:
        """Hand what came since the last time to every counter."""
        with self._lock:
            self._catch_up()
            rows = self.library.drain()
            for counter in self.counters:
                counter.received.extend(rows)

    def forget(self) -> None:
        """In a forked child."""
        self._lock = threading.RLock()
        self.library.forget()
        for counter in self.counters:
            counter.received.clear()

    def signature(self, index: int, words: bytes) -> Signature:
        """What the words of a call mean."""
        signature = self.signatures.get((index, words))
        if signature is None:
            op = noted_name(self.library.operator_name(index))
            signature = Signature(op, encode_arguments(_decode(words, self.dtypes)))
            if len(self.signatures) >= _MOST_SIGNATURES:
                self.signatures.clear()
            self.signatures[index, words] = signature
        return signature

    def _measure(self, index: int, words: bytes, phase: int, values: tuple[Any, ...]) -> bool:
        """Called by the native tally after an operator: whether its values were measured, and it need not be noted."""
        arguments = dict(zip(_names(self.library.operator_name(index)), values, strict=True))
        measured = devices.measure(self.signature(index, words), arguments, _PHASES[phase], self)
        if measured is None:
            return False
        for counter in list(self.counters) if measured.calls else ():
            counter.note_calls(measured.calls)
        return True

    def _wrap(self) -> None:
        """Wrap every operator, as the table of formulas has it."""
        self._revision = TABLE.revision
        self._put(self.library.operators())

    def _put(self, names: Iterable[str], *, look: bool = False) -> None:
        roles = [(name, _role(name)) for name in names]
        through = self.library.wrap([(name, role.value) for name, role in roles if role is not None], look)
        self._foreign.difference_update(names)
        self._foreign.update(name for name in through if not name.startswith(_TORCHS_OWN))

    def _catch_up(self) -> None:
        """Wrap what has been registered since, and see that nothing has come before the wrappers of others' operators.

        An operator is declared before it has a kernel, and may get another at any time; torch's own are left in peace.
        """
        declared = self.library.declared()
        if self._late or declared:
            self._late, self._looks = False, 0
            self._foreign.difference_update(self.library.unwrap_gone())
            self._declared.update(declared)
        if self._revision != TABLE.revision:
            self._wrap()
        self._looks += 1
        wanted = self._looks <= _LOOKS_AT_FIRST or self._looks % _LOOK_EVERY == 0
        if wanted and (names := self._declared | self._foreign):
            self._put(names, look=True)
            self._declared = {name for name in names - self._foreign if not name.startswith(_TORCHS_OWN)}

    def _attend(self, what: int) -> None:
        """Called by the native tally on the thread that counts, after an operator."""
        if self._lock._is_owned():  # type: ignore[attr-defined]  # noqa: SLF001 - a finalizer's operator, in the middle of it
            self.library.ask_again(what)
            return
        if what & _Attention.FAILED:
            for counter in list(self.counters):
                counter.failed(RuntimeError("the arguments of an operator could not be noted"))
        if what & _Attention.LATE:
            with self._lock:
                self._late = True
                self._catch_up()
        if what & _Attention.DUE:
            self.drain()
            for counter in list(self.counters):
                counter.fall_due()


def _role(name: str) -> _Role | None:
    """What is to be done with an operator; None where it is left as it is."""
    formula = TABLE.find(name) or TABLE.find_sparse(name)
    if is_marker(name):
        return None
    if formula is None:
        return _Role.OPEN
    if formula.function is None:
        return _Role.HIDING
    if name in OPERATORS:
        return _Role.MEASURED
    return _Role.MATRIX if formula.family in MATRIX_FAMILIES else _Role.NOTED


@cache
def _names(op: str) -> tuple[str, ...]:
    """The arguments of an operator, in the order of its schema."""
    name, _, overload = op.partition(".")
    return tuple(argument.name for argument in torch._C._get_schema(name, overload).arguments)  # noqa: SLF001


def _decode(words: bytes, dtypes: list[str]) -> list[Argument]:
    values = iter(struct.unpack(f"{len(words) // 8}q", words))
    return [_argument(word, values, dtypes) for word in values]


def _argument(word: int, values: Iterator[int], dtypes: list[str]) -> Argument:
    tag, payload = _Tag(word & (1 << _TAG_BITS) - 1), word >> _TAG_BITS
    if tag is _Tag.TENSOR:
        return _tensor(payload, values, dtypes)
    if tag is _Tag.LIST:
        return tuple(_argument(next(values), values, dtypes) for _ in range(payload))
    if tag is _Tag.STRING:
        packed = b"".join(struct.pack("q", next(values)) for _ in range(-(-payload // 8)))
        return packed[:payload].decode(errors="replace")
    if tag is _Tag.INT:
        return next(values)
    plain: dict[_Tag, Argument] = {_Tag.NONE: None, _Tag.NUMBER: NUMBER, _Tag.BOOL: bool(payload)}
    return plain[tag]


def _tensor(payload: int, values: Iterator[int], dtypes: list[str]) -> Shape:
    dtype = dtypes[payload & (1 << _DTYPE_BITS) - 1]
    layout = _LAYOUTS[payload >> _DTYPE_BITS & (1 << _STORAGE_BITS) - 1]
    sizes = [next(values) for _ in range(payload >> _DTYPE_BITS + _STORAGE_BITS)]
    return Shape(sizes, dtype, layout, next(values) if layout else 0)


class _NativePhases:
    """Tells the native tally of the optimizer's steps; `PhaseTracker` for the portable counter."""

    def __init__(self, library: Any) -> None:
        self._library = library

    def current(self) -> Phase:
        """The phase of an operator that runs now on this thread."""
        return _PHASES[self._library.phase()]

    @property
    def updating(self) -> bool:
        """Whether work without gradients is taken to belong to the update of the parameters."""
        return bool(self._library.is_updating())

    def end_update(self) -> None:
        """From now on, work without gradients is inference until another backward pass has run."""
        self._library.set_updating(False)

    def enter_optimizer(self) -> None:
        """An optimizer's step begins on this thread."""
        self._library.enter_optimizer()

    def leave_optimizer(self) -> None:
        """The optimizer's step has ended, and with it the update."""
        self._library.leave_optimizer()


_core: _Core | None = None
_making = threading.Lock()


def _the_core() -> _Core:
    global _core  # noqa: PLW0603 - torch's dispatcher is one to a process, and so is what wraps its kernels
    with _making:
        if _core is None:
            _core = _Core(load())
        return _core


class _Mine(threading.local):
    """What compiled code has executed on this thread."""

    def __init__(self) -> None:
        self.noted: Noted = {}


class NativeCounter:
    """Counts while attached; `take` gives what came since the last time.

    on_error: called with the exception where counting a call failed; the call itself has been executed.
    due: set it, and `on_due` is called on a counting thread after the next operator.
    Raises: NativeUnavailable: the native tally is not built and cannot be.
    """

    name = "native"
    sees_all_threads = True

    def __init__(
        self,
        *,
        purpose: Purpose = Purpose.PRE_TRAINING,
        on_error: Callable[[Exception], None] | None = None,
        on_due: Callable[[], None] | None = None,
    ) -> None:
        self._core = _the_core()
        self.catcher: Catcher | None = self._core.library
        self.phases = _NativePhases(self._core.library)
        self.purpose = purpose
        self.received: list[Row] = []
        self._noted: Noted = {}
        self._mine = _Mine()
        self._lock = threading.Lock()
        self._aside = Aside(self._take_noted)
        self._devices = DeviceCalls()
        self._on_error = on_error
        self._on_due = on_due
        self._due = False
        self._raised: Exception | None = None
        self._attached = False

    def attach(self) -> None:
        """From now on every operator of every thread is counted."""
        if not self._attached:
            self._attached = True
            self._devices.begin(self._core)
            self._core.join(self)

    def detach(self) -> None:
        """Nothing is counted any more; what was counted can still be taken."""
        if self._attached:
            self._attached = False
            self._core.leave(self)
            self._devices.end(self.purpose)

    @property
    def attached(self) -> bool:
        """Whether operators are being counted."""
        return self._attached

    @property
    def idle(self) -> bool:
        """Whether no thread is inside of an operator that is not noted yet."""
        return not self._core.library.is_working()

    @property
    def due(self) -> bool:
        """Whether `on_due` is to be called after the next operator."""
        return self._due

    @due.setter
    def due(self, due: bool) -> None:
        self._due = due
        if due:
            self._core.library.set_due()

    def cut(self) -> Callable[[], Tally] | None:
        """What was counted since the last time, under the purpose that was set meanwhile; None where it is nothing.

        While attached, devices are not waited for: what they count comes with a later cut.
        """
        arrived = self._devices.take(self.purpose, wait=not self._attached)
        if arrived or self._aside.holds:
            tally = both(self._aside.take(), arrived)
            return (lambda: tally) if tally else None
        return self._cut_noted()

    def _cut_noted(self) -> Callable[[], Tally] | None:
        if self._attached:
            self._core.drain()
        rows, self.received = self.received, []
        with self._lock:
            noted, self._noted = self._noted, {}
        purpose = self.purpose
        self._raise()
        return (lambda: self._tally(rows, noted, purpose)) if rows or noted else None

    def take(self) -> Tally:
        """What was counted since the last call, on all threads and devices."""
        return both(self._aside.take(), self._devices.take(self.purpose, wait=True))

    def set_aside(self) -> None:
        """What is noted from now on does not count."""
        self._aside.begin()

    def taken_aside(self) -> Calls:
        """What was noted since `set_aside`; from now on everything counts again."""
        return self._aside.end()

    @property
    def measures_for(self) -> Hashable:
        """For whom is measured what it hears of: counters of one kind may share it."""
        return self._core

    @property
    def hides(self) -> bool:
        """Whether what this thread runs is not noted."""
        return bool(self._core.library.is_hidden())

    def note_replay(self, calls: Calls, replays: Replays | None = None) -> None:
        """Add executed calls, or leave them to the device that counts them, unless what this thread runs is hidden."""
        if self.hides or not self._attached:
            return
        if replays is None:
            self.note_calls(calls)
        else:
            self._hear(calls)
            self._devices.replayed(replays)

    def _take_noted(self) -> Tally:
        cut = self._cut_noted()
        return cut() if cut is not None else Tally({})

    def peek(self) -> Tally:
        """All that this thread has counted so far, taken or not; it stays to be taken."""
        return self._tally(self._core.library.peek(), self._mine.noted, self.purpose)

    def forget(self) -> None:
        """Drop what was counted; for a forked child, whose parent keeps it."""
        self._core.forget()
        devices.forget()
        self._devices.forget()
        self._aside = Aside(self._take_noted)
        self.received, self._noted, self._mine, self._lock = [], {}, _Mine(), threading.Lock()

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """What this thread runs inside is not noted."""
        library = self._core.library
        library.hide()
        try:
            yield
        finally:
            library.show()

    def note_calls(self, calls: Calls) -> None:
        """Add calls that compiled code has executed on this thread."""
        if not self._attached:
            return
        self._hear(calls)
        mine = self._mine.noted
        with self._lock:
            for key, number in calls.items():
                self._noted[key] = self._noted.get(key, 0) + number
                mine[key] = mine.get(key, 0) + number

    def _hear(self, calls: Calls) -> None:
        """Such calls have run: an update of the parameters has ended where a forward has begun."""
        if self.phases.updating and any(
            phase is Phase.FORWARD and _role(signature.op) in _PRODUCTS for signature, phase in calls
        ):
            self.phases.end_update()

    def _tally(self, rows: list[Row], noted: Noted, purpose: Purpose) -> Tally:
        calls = {Entry(signature, phase, purpose): number for (signature, phase), number in noted.items()}
        for index, words, phase, number in rows:
            entry = Entry(self._core.signature(index, words), _PHASES[phase], purpose)
            calls[entry] = calls.get(entry, 0) + number
        return Tally(calls)

    # What the core calls, on a thread of the training: nothing is raised there, but at the next cut.

    def failed(self, error: Exception) -> None:
        """A call could not be noted."""
        self._keep(lambda: self._on_error(error) if self._on_error is not None else self._remember(error))

    def fall_due(self) -> None:
        """Call `on_due`, if that was asked for."""
        if self._due and self._on_due is not None:
            self._due = False
            self._keep(self._on_due)

    def _keep(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001
            self._remember(error)

    def _remember(self, error: Exception) -> None:
        self._raised = self._raised or error

    def _raise(self) -> None:
        if self._raised is not None:
            error, self._raised = self._raised, None
            raise error
