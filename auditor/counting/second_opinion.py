"""A second opinion on a training that knows nothing of it: a few forward passes are counted by fvcore, too.

After the first optimizer step, for the next few steps, outermost calls of modules are watched; each new
combination of a module's class and input shapes is counted a second time, aside (see `aside`), and both
counts are compared.

How a call is seen. A hook that torch calls before every module's forward pass finds the outermost one and
puts a hook on that one module, which is gone when the call returns. The global hook stays for the few steps
only: it costs a little on each call of a module, and while it is there a `torch.compile`d module warns, and
what is compiled is compiled again once it is gone. So where torch.compile is in use, none is set, and the
compiled modules themselves are watched, from outside of what is compiled. Waiting for the first step is
what makes that known in time.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.modules.module import (
    register_module_forward_pre_hook,
    register_module_module_registration_hook,
)
from torch.optim.optimizer import register_optimizer_step_post_hook

from auditor.counting.aside import Analysis, Call, begin, obstacle
from auditor.counting.reconcile import priced, reconcile, unavailable
from auditor.counting.static import StaticCount
from auditor.counting.step_hooks import take_off
from auditor.formulas import Pricer
from auditor.tally import NUMBER, Argument, Shape, Tally, difference, encode_arguments

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditor.records import SecondOpinion

LIMIT_S = 60.0
_COUNTER = "fvcore"
_NO_TASK = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pending:
    """A call that was seen, and the count under way; ``why``: there is none."""

    model: str
    inputs: str
    ours: Tally
    analysis: Analysis | None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """An outermost call under way."""

    module: Any
    hook: Any
    before: Tally
    random_state: Any
    torch_state: Any


class Watcher:
    """Watches from `start` on; `poll` and `stop` give opinions, each once, and may be called on any thread.

    snapshot: all that was counted so far, cumulative; called on the training thread around a watched call.
    """

    def __init__(
        self,
        snapshot: Callable[[], Tally],
        *,
        limit_s: float = LIMIT_S,
        most_signatures: int = 2,
        most_calls: int = 50,
        most_steps: int = 3,
    ) -> None:
        self._snapshot = snapshot
        self._limit_s = limit_s
        self._most_signatures, self._most_calls, self._most_steps = most_signatures, most_calls, most_steps
        self._step_hooks: list[Any] = []
        self._hooks: list[Any] = []
        self._armed = False
        self._steps = self._calls = 0
        self._signatures: set[tuple[str, str]] = set()
        self._seen: _Seen | None = None
        self._thread = self._process = 0
        self._lock = threading.Lock()
        self._pending: list[_Pending] = []

    def start(self) -> None:
        """Watch once the next optimizer step has ended; without an optimizer, call `arm` after a step."""
        if not self._step_hooks:
            self._step_hooks = [register_optimizer_step_post_hook(self._step_ended)]

    def arm(self) -> None:
        """Watch from now on: calls of this thread, for a few steps."""
        if self._armed or self._steps >= self._most_steps:
            return
        self._armed = True
        self._thread, self._process = threading.get_ident(), os.getpid()
        compiled = _compiled_modules()
        if compiled is None:
            self._hooks = [
                register_module_forward_pre_hook(self._before),
                register_module_module_registration_hook(self._registered),
            ]
        else:
            self._hooks = [module.register_forward_pre_hook(self._before) for module in compiled]

    def disarm(self) -> None:
        """Watch no longer; counts under way go on."""
        self._armed = False
        self._steps = self._most_steps
        hooks, self._hooks = self._hooks, []
        if self._seen is not None:
            hooks.append(self._seen.hook)
            self._seen = None
        for hook in hooks:
            hook.remove()
        self._step_hooks = take_off(self._step_hooks)

    @property
    def watching(self) -> bool:
        """Whether a call could still be watched."""
        return self._armed or (bool(self._step_hooks) and self._steps < self._most_steps)

    def poll(self) -> list[SecondOpinion]:
        """The opinions that have come in since the last time; never waits."""
        return self._collect(lambda analysis: analysis.poll())

    def stop(self, wait_s: float = 0.0) -> list[SecondOpinion]:
        """Watch no longer, and end what is under way after ``wait_s`` at most; the opinions that are left."""
        self.disarm()
        opinions = self._collect(lambda analysis: analysis.poll(wait_s))
        return opinions + self._collect(lambda analysis: analysis.end("the training ended before it was done"))

    def forget(self) -> None:
        """In a forked child: the parent watches and gets the opinions."""
        self.disarm()
        self._lock = threading.Lock()
        self._pending = []

    def _collect(self, outcome_of: Callable[[Analysis], StaticCount | str | None]) -> list[SecondOpinion]:
        with self._lock:
            pending, self._pending = self._pending, []
        opinions = []
        for item in pending:
            outcome = outcome_of(item.analysis) if item.analysis else item.why
            if outcome is None:
                with self._lock:
                    self._pending.append(item)
            else:
                opinions.append(_opinion(item, outcome))
        return opinions

    # What torch calls on the training thread. Nothing but the training's own exceptions may pass.

    def _step_ended(self, *_: Any) -> None:
        if not self._armed:
            self.arm()
            return
        self._steps += 1
        if self._steps >= self._most_steps or self._process != os.getpid():
            self.disarm()

    def _registered(self, parent: Any, _name: str, _child: Any) -> None:
        """A module is being compiled: go before it is called."""
        if type(parent).__name__ == "OptimizedModule":
            self.disarm()

    def _before(self, module: Any, _args: Any) -> None:
        if torch.compiler.is_compiling() or self._seen is not None:
            return
        try:
            if self._is_outermost(module):
                before = self._snapshot()
                self._seen = _Seen(
                    module=module,
                    hook=module.register_forward_hook(self._after, with_kwargs=True, always_call=True),
                    before=before,
                    random_state=random.getstate(),
                    torch_state=torch.get_rng_state(),
                )
        except Exception as error:  # noqa: BLE001
            self._give_up(module, error)

    def _after(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if torch.compiler.is_compiling() or self._seen is None or self._seen.module is not module:
            return
        try:
            seen, self._seen = self._seen, None
            seen.hook.remove()
            if output is not None:  # None where the forward pass raised
                self._note(seen, args, kwargs)
            self._calls += 1
            if self._calls >= self._most_calls or len(self._signatures) >= self._most_signatures:
                self.disarm()
        except Exception as error:  # noqa: BLE001
            self._give_up(module, error)

    def _is_outermost(self, module: Any) -> bool:
        """Whether to compare this call: of a model, on the watched thread, in no backward pass or trace."""
        if self._process != os.getpid():
            self.disarm()
            return False
        return (
            threading.get_ident() == self._thread
            and torch._C._current_graph_task_id() == _NO_TASK  # noqa: SLF001 - the only way to ask
            and torch._C._get_tracing_state() is None  # noqa: SLF001
            and next(module.parameters(), None) is not None
        )

    def _note(self, seen: _Seen, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        model = _unwrapped(seen.module)
        signature = (type(model).__name__, describe(args, kwargs))
        if signature in self._signatures:
            return
        ours = difference(seen.before, self._snapshot())
        if ours is None:  # the count was cut in between; another call will do
            return
        self._signatures.add(signature)
        why = obstacle() or _objection(model)
        analysis = None
        if not why:
            call = Call(
                module=model,
                args=args,
                kwargs=kwargs,
                random_state=seen.random_state,
                torch_state=seen.torch_state,
            )
            try:
                analysis = begin(call, self._limit_s)
            except OSError as error:
                why = f"no process could be started: {error}"
        self._add(*signature, ours, analysis, why)

    def _add(self, model: str, inputs: str, ours: Tally, analysis: Analysis | None, why: str) -> None:
        with self._lock:
            self._pending.append(_Pending(model=model, inputs=inputs, ours=ours, analysis=analysis, why=why))

    def _give_up(self, module: Any, error: Exception) -> None:
        with contextlib.suppress(Exception):
            self.disarm()
            self._add(type(module).__name__, "[]", Tally({}), None, f"watching failed: {error!r}")


def _opinion(item: _Pending, outcome: StaticCount | str) -> SecondOpinion:
    ours = priced(item.ours, Pricer())
    if isinstance(outcome, StaticCount):
        return reconcile(ours, outcome, inputs=item.inputs)
    return unavailable(ours, counter=_COUNTER, model=item.model, inputs=item.inputs, why=outcome)


def describe(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """The canonical text of a call's inputs: shapes and types, not values."""
    named = tuple((name, _argument(value)) for name, value in sorted(kwargs.items()))
    return encode_arguments((*map(_argument, args), *named))


def _argument(value: Any) -> Argument:
    if isinstance(value, torch.Tensor):
        return Shape(map(int, value.shape), str(value.dtype).removeprefix("torch."))
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float, complex)):
        return NUMBER
    if isinstance(value, (tuple, list)):
        return tuple(_argument(part) for part in value)
    if isinstance(value, dict):
        return tuple((str(name), _argument(part)) for name, part in value.items())
    return type(value).__name__


def _unwrapped(module: Any) -> Any:
    """The model itself, without what compiles it or hands it to several devices."""
    wrappers = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)
    while True:
        if isinstance(module, wrappers):
            module = module.module
        elif type(module).__name__ == "OptimizedModule":
            module = module._orig_mod  # noqa: SLF001 - its only name
        else:
            return module


def _objection(model: Any) -> str:
    """Why this model's forward pass cannot be run by one process alone, or ""."""
    if isinstance(model, torch.jit.ScriptModule):
        return "the model is a compiled script, whose inside a trace does not show"
    tensors = [*model.parameters(), *model.buffers()]
    if any(type(tensor).__name__ in ("DTensor", "FlatParameter") for tensor in tensors):
        return "the model's parameters are spread over several processes"
    if any(type(part).__name__.startswith("FullyShardedDataParallel") for part in model.modules()):
        return "the model's parameters are spread over several processes"
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized() and distributed.get_rank() > 0:
        return "left to the process of rank 0"
    return ""


def _compiled_modules() -> list[Any] | None:
    """The modules that torch.compile has wrapped; None where nothing was compiled in this process."""
    compiler = sys.modules.get("torch._dynamo.eval_frame")
    if compiler is None or not _has_compiled():
        return None
    return [thing for thing in gc.get_objects() if type(thing) is compiler.OptimizedModule]


def _has_compiled() -> bool:
    """Whether torch.compile was asked for, or has already compiled something."""
    compiler, utils = sys.modules.get("torch._dynamo.eval_frame"), sys.modules.get("torch._dynamo.utils")
    backends = getattr(compiler, "cached_backends", {})  # those that switch compilation off are not callable
    frames = getattr(utils, "counters", {}).get("frames", {})
    return any(map(callable, backends.values())) or any(frames.values())
