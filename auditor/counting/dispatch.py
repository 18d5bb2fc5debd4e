"""The portable counter: a TorchDispatchMode that notes every operator below autograd, on every Python thread.

It sees what reaches a backend: after autograd, autocast and functorch have unpacked the call, so nothing is seen twice.
Tensor subclasses are left to unpack themselves and are seen by what they run. An operator is noted once it has
returned: one that raises half-way has not been executed.

What is only traced, on fake and meta tensors, computes nothing and is not noted. A counter that ``simulates`` notes
that and nothing else: what a run would execute whose tensors need no memory.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Hashable, Iterable
from contextlib import AbstractContextManager
from functools import cache, reduce
from typing import Any

import torch
from torch._ops import HigherOrderOperator
from torch.utils._python_dispatch import (
    TorchDispatchMode,
    _get_current_dispatch_mode,
    _get_current_dispatch_mode_stack,
    _pop_mode,
    _push_mode,
)

from auditor.counting import devices
from auditor.counting.arguments import Schema, describe
from auditor.counting.captured import Aside
from auditor.counting.devices import Replays
from auditor.counting.graphs import Calls
from auditor.counting.heard import DeviceCalls, both
from auditor.counting.patching import Patches
from auditor.counting.phases import PhaseTracker
from auditor.counting.thread_calls import Key, ThreadCalls
from auditor.counting.traced import ASKING, is_traced, passed, shapes_of_wholes, taken, tensors_of
from auditor.ending import Catcher
from auditor.formulas import TABLE
from auditor.operations import MATRIX_FAMILIES
from auditor.tally import Entry, Phase, Purpose, Signature, Tally

_COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd  # noqa: SLF001
_BACKENDS = torch._C._dispatch_get_backend_keyset_from_autograd(torch._C.DispatchKey.AutogradCPU)  # noqa: SLF001
_BELOW = torch._C._dispatch_keyset_full_after(torch._C.DispatchKey.Python)  # noqa: SLF001
_has_backend_kernel = torch._C._dispatch_has_kernel_for_any_dispatch_key  # noqa: SLF001
_EXPLICIT = torch._C.DispatchKey.CompositeExplicitAutograd  # noqa: SLF001
_NO_KEYS = torch._C.DispatchKeySet(torch._C.DispatchKey.Undefined)  # noqa: SLF001
_has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key  # noqa: SLF001
# Operators of higher order whose own kernel computes something that no operator inside it shows.
_OPAQUE = ("triton_kernel_wrapper",)
# Those that take functions and refuse to run under a mode; what they call is counted instead.
_BRANCHING = frozenset({"cond", "invoke_subgraph", "scan", "strict_mode"})


class _Local(threading.local):
    hidden = 0  # how many reasons there are not to note what this thread runs


class _Hidden:
    """Operators of the thread that is inside are executed and not noted; once only.

    Where the mode is the innermost it is taken off meanwhile, which costs nothing per operator; else it is told.
    """

    __slots__ = ("_counter", "_local", "_mode")

    def __init__(self, counter: DispatchCounter, local: _Local) -> None:
        self._counter = counter
        self._local = local
        self._mode: _Mode | None = None

    def __enter__(self) -> None:
        innermost = _get_current_dispatch_mode()
        if isinstance(innermost, _Mode) and innermost.counter is self._counter:
            self._mode = _pop_mode()
        else:
            self._local.hidden += 1

    def __exit__(self, *_: object) -> None:
        if self._mode is not None:
            _push_mode(self._mode)
        else:
            self._local.hidden -= 1


class DispatchCounter:
    """Counts while attached; `take` gives what came since the last time.

    on_error: called with the exception where counting a call failed; the call itself has been executed.
    due: set it, and `on_due` is called on the counting thread after the next operator.
    simulates: what is traced is noted, in the place of what is executed.
    """

    name = "dispatch"
    sees_all_threads = False
    catcher: Catcher | None = None

    def __init__(
        self,
        *,
        purpose: Purpose = Purpose.PRE_TRAINING,
        on_error: Callable[[Exception], None] | None = None,
        on_due: Callable[[], None] | None = None,
        simulates: bool = False,
    ) -> None:
        self.phases = PhaseTracker()
        self.purpose = purpose
        self.simulates = simulates
        self.takes, self.passes = taken(simulates), passed(simulates)
        self.due = False
        self._on_error = on_error
        self._on_due = on_due
        self._local = _Local()
        self._threads = ThreadCalls()
        self._schemas: dict[Any, Schema] = {}
        self._signatures: dict[tuple[Any, tuple[Any, ...]], Signature] = {}
        self._composites: dict[Any, bool] = {}
        self._aside = Aside(self._take_noted)
        self._devices = DeviceCalls()
        self._mode = _Mode(self)
        self._shapes = Patches([shapes_of_wholes(self._unseen)] if simulates else [])
        self._attached = False
        self._original_bootstrap: Callable[[threading.Thread], None] | None = None

    def attach(self) -> None:
        """From now on every operator of this thread, and of threads begun from now on, is counted."""
        if self._attached:
            return
        self._attached = True
        self._devices.begin(devices.new_owner())
        self.phases.attach()
        self._watch_threads()
        self._shapes.install()
        self._mode.__enter__()  # type: ignore[no-untyped-call]

    def detach(self) -> None:
        """Nothing is counted any more; what was counted can still be taken."""
        if not self._attached:
            return
        self._attached = False
        self._shapes.remove()
        self._unwatch_threads()
        self.phases.detach()
        _leave(self._mode)
        self._devices.end(self.purpose)
        devices.give_back(self.measures_for)

    @property
    def attached(self) -> bool:
        """Whether operators are being counted."""
        return self._attached

    @property
    def idle(self) -> bool:
        """Whether no thread is inside of an operator that is not noted yet: it cannot tell."""
        return False

    @property
    def counting(self) -> bool:
        """Whether an operator that runs now on this thread is to be noted."""
        return self._attached and not self._local.hidden

    def take(self) -> Tally:
        """What was counted since the last call, on all threads, under the purpose that was set meanwhile."""
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
        return self._devices.owner

    @property
    def hides(self) -> bool:
        """Whether what this thread runs is not noted."""
        return not self.counting or not self._holds_here()

    def note_replay(self, calls: Calls, replays: Replays | None = None) -> None:
        """Add executed calls, or leave them to the device that counts them, unless what this thread runs is hidden."""
        if self.hides:
            return
        if replays is None:
            self.note_calls(calls)
        else:
            self._hear(calls)
            self._devices.replayed(replays)
            self._tell_due()

    def _take_noted(self) -> Tally:
        return self._tally(self._threads.take())

    def _tally(self, noted: Iterable[tuple[Key, int]]) -> Tally:
        calls: dict[Entry, int] = {}
        for (called, phase, described), number in noted:
            entry = Entry(self._signatures[called, described], phase, self.purpose)
            calls[entry] = calls.get(entry, 0) + number
        return Tally(calls)

    def cut(self) -> Callable[[], Tally] | None:
        """What `take` gives, behind a call, without waiting for devices while attached; None where it is nothing."""
        tally = both(self._aside.take(), self._devices.take(self.purpose, wait=not self._attached))
        return (lambda: tally) if tally else None

    def peek(self) -> Tally:
        """What this thread has counted and nobody has taken yet; it stays to be taken."""
        return self._tally(self._threads.peek())

    def forget(self) -> None:
        """Drop what was counted; for a forked child, whose parent keeps it."""
        self._threads = ThreadCalls()
        self._local = _Local()
        self._aside = Aside(self._take_noted)
        self._devices.forget()
        devices.forget()

    def note(self, func: Any, args: Any, kwargs: Any) -> None:
        """Add one executed call; a failure goes to ``on_error``, if there is one."""
        try:
            schema = self._schemas.get(func)
            if schema is None:
                schema = self._schemas[func] = Schema(func)
            if not schema.plain and (schema.free or self._measured(schema, args, kwargs)):
                return
            described = schema.key(args, kwargs)
            if (func, described) not in self._signatures:
                self._signatures[func, described] = schema.signature(args, kwargs)
            phase = self.phases.current()
            if phase is Phase.FORWARD and self.phases.updating and schema.matrix:
                self.phases.end_update()
            self._add((func, phase, described))
        except Exception as error:
            if self._on_error is None:
                raise
            self._on_error(error)

    def _measured(self, schema: Schema, args: Any, kwargs: Any) -> bool:
        """Whether what the call computes is a matter of values, and has been measured."""
        if self.simulates:  # there are no values
            return False
        phase, arguments = self.phases.current(), {**dict(zip(schema.names, args, strict=False)), **kwargs}
        measured = devices.measure(schema.signature(args, kwargs), arguments, phase, self.measures_for)
        if measured is None:
            return False
        self._hear((unit, phase) for unit in measured.units)
        self._add_all(measured.calls)
        return True

    def note_opaque(self, op: str, args: tuple[Any, ...]) -> None:
        """Add one call of something that is not an operator of the dispatcher: seen, and without a price."""
        described = describe(args)
        self._signatures.setdefault((op, described), Signature(op, "[]"))
        self._add((op, self.phases.current(), described))

    def hidden(self) -> AbstractContextManager[None]:
        """Inside, operators of this thread are executed and not noted."""
        return _Hidden(self, self._local)

    def note_calls(self, calls: Calls) -> None:
        """Add calls that compiled code has executed, where operators of this thread are counted."""
        if not self._attached or not self._holds_here():
            return
        try:
            self._hear(calls)
            self._add_all(calls)
        except Exception as error:
            if self._on_error is None:
                raise
            self._on_error(error)

    def _hear(self, calls: Iterable[tuple[Signature, Phase]]) -> None:
        """Such calls have run: an update of the parameters has ended where a forward has begun."""
        if self.phases.updating and _goes_forward(calls):
            self.phases.end_update()

    def _add_all(self, calls: Calls) -> None:
        known, signatures = self._threads.here(), self._signatures
        for (signature, phase), number in calls.items():
            key = (signature, phase, ())
            known[key] = known.get(key, 0) + number
            signatures[signature, ()] = signature
        self._tell_due()

    def _holds_here(self) -> bool:
        """Whether the mode, or its like on another thread, is on this thread's stack."""
        stack = _get_current_dispatch_mode_stack()
        return any(isinstance(mode, _Mode) and mode.counter is self for mode in stack)

    def _add(self, key: Key) -> None:
        calls = self._threads.here()
        calls[key] = calls.get(key, 0) + 1
        if self.due:
            self._tell_due()

    def _tell_due(self) -> None:
        if self.due and self._on_due is not None:
            self.due = False
            self._on_due()

    def counts(self, out: Any, args: Any, kwargs: Any) -> bool:
        """Whether a call that returned ``out`` is of the kind that is noted: executed, or only traced."""
        return is_traced(out, args, kwargs) is self.simulates

    def _unseen(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, what it runs not noted."""

        def unseen(*args: Any, **kwargs: Any) -> Any:
            with self.hidden():
                return function(*args, **kwargs)

        return unseen

    def is_composite(self, func: Any) -> bool:
        """Whether the operator is only made of others, which will be seen themselves."""
        composite = self._composites.get(func)
        if composite is None:
            name = func.name()
            composite = _COMPOSITE in func.py_kernels or _has_kernel(name, _COMPOSITE)
            composite = self._composites[func] = composite and not _has_backend_kernel(name, _BACKENDS)
        return composite

    def is_unpriced(self, func: Any) -> bool:
        """Whether there is no formula for the operator."""
        schema = self._schemas.get(func)
        if schema is None:
            schema = self._schemas[func] = Schema(func)
        return schema.unpriced

    def _watch_threads(self) -> None:
        """Threads begun from now on count as well: a dispatch mode holds for one thread only."""
        mode = self._mode
        original: Callable[[threading.Thread], None] = threading.Thread._bootstrap_inner  # type: ignore[attr-defined]  # noqa: SLF001

        def bootstrap(thread: threading.Thread) -> None:
            if not self._attached or getattr(thread, "auditor_uncounted", False):
                original(thread)
                return
            with mode.again():
                original(thread)

        self._original_bootstrap = original
        threading.Thread._bootstrap_inner = bootstrap  # type: ignore[attr-defined]  # noqa: SLF001

    def _unwatch_threads(self) -> None:
        if self._original_bootstrap is not None:
            threading.Thread._bootstrap_inner = self._original_bootstrap  # type: ignore[attr-defined]  # noqa: SLF001
            self._original_bootstrap = None


class _Mode(TorchDispatchMode):
    """Hands every operator on, and tells the counter."""

    supports_higher_order_operators = True

    def __init__(self, counter: DispatchCounter) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counter = counter

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        """Compilation goes on as if this mode were not there; what compiled code calls is seen."""
        return True

    def again(self) -> _Mode:
        """A mode of the same counter for another thread."""
        return _Mode(self.counter)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        counter = self.counter
        if not counter.counting:
            return func(*args, **kwargs)
        if isinstance(func, HigherOrderOperator):
            return self._higher_order(func, args, kwargs)
        if types and not _all_plain(types, counter.takes):
            return func(*args, **kwargs) if _any_of(types, counter.passes) else NotImplemented
        if func.namespace == ASKING:
            return func(*args, **kwargs)
        if counter.is_composite(func) and not _any_nested(args):
            with self:
                return func.decompose(*args, **kwargs)
        opened = counter.is_unpriced(func) and not counter.simulates
        out = self._open(func, args, kwargs) if opened else func(*args, **kwargs)
        if counter.counts(out, args, kwargs):
            counter.note(func, args, kwargs)
        return out

    def _open(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operator that nobody has priced, and count what it runs inside."""
        keys = reduce(operator.or_, map(torch._C._dispatch_keys, tensors_of((args, kwargs))), _NO_KEYS) & _BELOW  # noqa: SLF001
        if keys == _NO_KEYS:
            return func(*args, **kwargs)
        with self:
            return func.redispatch(keys, *args, **kwargs)

    def _higher_order(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operator of higher order with what it calls counted; name it where nothing inside shows its work."""
        name = func.name()
        if name in _BRANCHING:
            return func(*map(self._counted, args), **{key: self._counted(arg) for key, arg in kwargs.items()})
        kernel = func.py_kernels.get(_EXPLICIT)
        if kernel is None or name.startswith(_OPAQUE) or isinstance(kernel, torch._C.DispatchKey):  # noqa: SLF001
            out = func(*args, **kwargs)
            self.counter.note_opaque(f"higher_order::{name}", args)
            return out
        with self:
            return kernel(*args, **kwargs)

    def _counted(self, argument: Any) -> Any:
        """A function among the arguments, so wrapped that what it runs is counted; anything else as it is."""
        if isinstance(argument, torch.Tensor) or not callable(argument):
            return argument

        def counted(*args: Any, **kwargs: Any) -> Any:
            with self:
                return argument(*args, **kwargs)

        return counted


def _goes_forward(calls: Iterable[tuple[Signature, Phase]]) -> bool:
    """Whether a matrix operator of the forward is among the calls."""
    return any(phase is Phase.FORWARD and _is_matrix(signature.op) for signature, phase in calls)


@cache
def _is_matrix(op: str) -> bool:
    formula = TABLE.find(op)
    return formula is not None and formula.family in MATRIX_FAMILIES


def _all_plain(types: Any, takes: tuple[type, ...]) -> bool:
    """Whether none of the types, but those that are taken as they are, unpacks itself by a dispatch of its own."""
    return all(kind.__torch_dispatch__ is torch.Tensor.__torch_dispatch__ or issubclass(kind, takes) for kind in types)


def _any_of(types: Any, kinds: tuple[type, ...]) -> bool:
    return any(issubclass(kind, kinds) for kind in types)


def _any_nested(args: Any) -> bool:
    """Whether a tensor without sizes is among the arguments: kernels of its own do what others are taken apart into."""
    return any(
        arg.is_nested if isinstance(arg, torch.Tensor) else isinstance(arg, (list, tuple)) and _any_nested(arg)
        for arg in args
    )


def _leave(mode: _Mode) -> None:
    """Take the mode off this thread's stack; where another was entered after it, it stays and hands everything on."""
    if _get_current_dispatch_mode() is mode:
        mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]
