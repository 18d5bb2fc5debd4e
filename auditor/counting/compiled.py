"""Counts what torch.compile has compiled: each compiled graph is described when it is made, and counted when it runs.

A graph's description is made from the graph itself (`auditor.counting.describing`) and stays with the compiled code, in
torch's caches too. A run of the code adds what the description says, under the phase that is current; the operators
that the code hands to libraries meanwhile are part of that, and hidden from the counter. Nothing that compiling runs
itself is counted: it is hidden as well.

What cannot be described is named. A graph that was compiled while nobody counted, or that comes from a cache entry
which nobody described, counts as one call of ``torch.compile::undescribed_graph``, a package of AOTInductor without a
description as ``torch.compile::undescribed_package``, and other backends' work is said to be unseen. An entry of
AOTAutograd's cache without a description is not used, as if it were not there: the graph is traced again and described,
while the code itself still comes from Inductor's own cache. A count that depends on who filled the cache would be none.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Protocol

from torch import is_grad_enabled as _grad_enabled

from auditor.counting.attribution import accounted
from auditor.counting.decomposed import marking
from auditor.counting.graphs import UNKNOWN, Calls, Description
from auditor.counting.patching import Patch, Patches
from auditor.counting.phases import Phases, phase_kept
from auditor.tally import Signature

_NAME = "auditor_description"
_UNDESCRIBED_GRAPH = Signature(f"{UNKNOWN}undescribed_graph", "[]")
_UNDESCRIBED_PACKAGE = Signature(f"{UNKNOWN}undescribed_package", "[]")
# Backends whose graphs run operator by operator, or are described here.
_SEEN_BACKENDS = ("inductor", "eager", "aot_eager", "pre_dispatch_eager")


class CompiledCounter(Protocol):
    """What a counter does for compiled code."""

    @property
    def phases(self) -> Phases:
        """Which phase the training is in."""

    @property
    def measures_for(self) -> Hashable:
        """For whom is measured what it hears of: counters of one kind may share it."""

    def hidden(self) -> AbstractContextManager[None]:
        """Operators of this thread are executed and not noted inside."""

    def note_calls(self, calls: Calls) -> None:
        """Add executed calls, as if they had run on this thread."""


_counters: tuple[CompiledCounter, ...] = ()
_unseen: Counter[str] = Counter()
before_runs: list[Callable[[], None]] = []  # called before compiled code is run: what it left to be done is done
_under_way: ContextVar[Description | None] = ContextVar("description of the graph that is being compiled", default=None)


def attach(counter: CompiledCounter) -> None:
    """From now on, compiled graphs are described when they are made, and their runs are told to the counter."""
    global _counters  # noqa: PLW0603 - the patches are the process's, and so are those whom they tell
    if not _counters:
        _patches.install()
    _counters = (*_counters, counter)


def detach(counter: CompiledCounter) -> None:
    """The counter is told nothing more."""
    global _counters  # noqa: PLW0603
    _counters = tuple(each for each in _counters if each is not counter)
    if not _counters:
        _patches.remove()


def unseen() -> Mapping[str, int]:
    """Graphs that other backends have compiled while somebody counted, by name: what these compute may be unseen."""
    return dict(_unseen)


@contextmanager
def _hidden() -> Iterator[None]:
    with ExitStack() as stack:
        for counter in reversed(_counters):  # the last one attached is the innermost
            stack.enter_context(counter.hidden())
        yield


def _hiding(original: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with nothing of what it runs counted."""

    @functools.wraps(original)
    def hiding(*args: Any, **kwargs: Any) -> Any:
        with _hidden():
            return original(*args, **kwargs)

    return hiding


# What is described, and where the description is kept.


def _describe(graph: Any, *, backward: bool) -> Description | None:
    from auditor.counting.describing import describe  # noqa: PLC0415 - loads what only compiling needs

    with suppress(Exception):  # whatever a graph holds, it must not keep it from being compiled
        return describe(graph, backward=backward)
    return None


def _description_of(owner: Any) -> Description | None:
    """What was kept with a compiled graph, or with its entry in a cache."""
    kept = getattr(owner, _NAME, None)
    if isinstance(kept, str):
        with suppress(ValueError, LookupError, TypeError):
            kept = Description.read(kept)
            _keep(owner, kept)
    return kept if isinstance(kept, Description) else None


def _keep(owner: Any, description: Description | None) -> None:
    with suppress(AttributeError, TypeError):  # what holds no operator is compiled into a plain method
        setattr(owner, _NAME, description)


def _compiling(original: Callable[..., Any]) -> Callable[..., Any]:
    """Inductor's way from a graph to code: the graph is described before it is rewritten, whatever a cache may hold."""

    @functools.wraps(original)
    def compile_inner(gm: Any, *args: Any, **kwargs: Any) -> Any:
        with _hidden():
            description = _describe(gm, backward=kwargs.get("is_backward", False))
            token = _under_way.set(description)
            try:
                code = original(gm, *args, **kwargs)
            finally:
                _under_way.reset(token)
            _keep(code, description)
        return code

    return compile_inner


def _generating(original: Callable[..., Any]) -> Callable[..., Any]:
    """Inductor's code generation, after which the code is saved: the description is with it by then."""

    @functools.wraps(original)
    def generate(*args: Any, **kwargs: Any) -> Any:
        description = _under_way.get()
        with _packaged(description):
            code = original(*args, **kwargs)
        _keep(code, description)
        return code

    return generate


@contextmanager
def _packaged(description: Description | None) -> Iterator[None]:
    """Inside, a package of AOTInductor takes the description with it."""
    from torch._inductor import config  # noqa: PLC0415 - imported by now
    from torch._inductor.virtualized import V  # noqa: PLC0415

    if description is None or not V.aot_compilation:
        yield
        return
    with config.patch({"aot_inductor.metadata": {**config.aot_inductor.metadata, _NAME: description.text}}):
        yield


def _saving(original: Callable[..., Any]) -> Callable[..., Any]:
    """An entry of AOTAutograd's cache keeps the descriptions of its graphs."""

    @functools.wraps(original)
    def make_entry(compiled_fw_func: Any, compiled_bw_func: Any, *args: Any, **kwargs: Any) -> Any:
        entry = original(compiled_fw_func, compiled_bw_func, *args, **kwargs)
        for saved, code in ((entry.compiled_fw, compiled_fw_func), (entry.compiled_bw, compiled_bw_func)):
            if saved is not None:
                _keep(saved, _description_of(code))
        return entry

    return make_entry


def _choosing(original: Callable[..., Any]) -> Callable[..., Any]:
    """Of the entries in AOTAutograd's cache, those whose graphs are described."""

    @functools.wraps(original)
    def candidates(cache: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        for candidate in original(cache, *args, **kwargs):
            entry = candidate[0]
            graphs = [getattr(entry, name, None) for name in ("compiled_fw", "compiled_bw")]
            if all(graph is None or _described(graph) for graph in graphs):
                yield candidate

    return candidates


def _described(saved: Any) -> bool:
    """Whether a saved graph has a description, of its own or of the code that it is bundled with."""
    return _is_current(_description_of(saved)) or _is_current(_description_of(getattr(saved, "result", None)))


def _is_current(description: Description | None) -> bool:
    return description is not None and description.current


def _loading(original: Callable[..., Any]) -> Callable[..., Any]:
    """A graph that AOTAutograd's cache finds in Inductor's has the description of AOTAutograd's entry."""

    @functools.wraps(original)
    def load(saved: Any, *args: Any, **kwargs: Any) -> Any:
        code = original(saved, *args, **kwargs)
        if _description_of(code) is None:
            _keep(code, _description_of(saved))
        return code

    return load


def _calling_backend(original: Callable[..., Any]) -> Callable[..., Any]:
    """A backend compiles a graph of Dynamo's: remember it where what it makes may be seen by nobody."""

    @functools.wraps(original)
    def call(output: Any, *args: Any, **kwargs: Any) -> Any:
        compiled = original(output, *args, **kwargs)
        name = getattr(output.compiler_fn, "__name__", type(output.compiler_fn).__name__)
        if not name.startswith(_SEEN_BACKENDS):
            _unseen[f"{UNKNOWN}backend {name}"] += 1
        return compiled

    return call


# What is counted when compiled code runs.


def _running(original: Callable[..., Any]) -> Callable[..., Any]:
    """A compiled graph that counts what it is described to execute, once it has."""

    @functools.wraps(original)
    def run(graph: Any, inputs: Sequence[Any]) -> Any:
        if not _counters:
            return original(graph, inputs)
        for settle in before_runs:
            settle()
        description = _description_of(graph)
        if description is None:
            return _named(_UNDESCRIBED_GRAPH, original, graph, inputs)
        return _counted(description, inputs, original, graph, inputs)

    return run


def _wrapping(original: Callable[..., Any]) -> Callable[..., Any]:
    """AOTAutograd's wrapper around a graph, which switches gradients off: the phase is that of the call."""

    @functools.wraps(original)
    def create(*args: Any, **kwargs: Any) -> Any:
        wrapper = original(*args, **kwargs)

        @functools.wraps(wrapper)
        def call(arguments: Any) -> Any:
            if not _counters or not _grad_enabled():
                return wrapper(arguments)
            with phase_kept():
                return wrapper(arguments)

        return wrapper if kwargs.get("trace_joint", True) else call

    return create


def _running_package(original: Callable[..., Any]) -> Callable[..., Any]:
    """A package of AOTInductor that counts what its metadata describe."""

    @functools.wraps(original)
    def run(package: Any, *args: Any, **kwargs: Any) -> Any:
        if not _counters:
            return original(package, *args, **kwargs)
        if not hasattr(package, _NAME):
            with suppress(Exception):  # an older runtime has no metadata
                setattr(package, _NAME, package.get_metadata().get(_NAME))
        description = _description_of(package)
        if description is None:
            return _named(_UNDESCRIBED_PACKAGE, original, package, *args, **kwargs)
        return _counted(description, _tensors((args, kwargs)), original, package, *args, **kwargs)

    return run


def _tensors(arguments: Any) -> list[Any]:
    import torch  # noqa: PLC0415 - imported by now
    from torch.utils._pytree import tree_leaves  # noqa: PLC0415

    return [part for part in tree_leaves(arguments) if isinstance(part, torch.Tensor)]


def _counted(
    description: Description, inputs: Sequence[Any], original: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> Any:
    with _hidden():
        values, tensors = description.values_of(inputs), description.tensors_of(inputs)
        with accounted():
            out = original(*args, **kwargs)
    for counter in _counters:
        counter.note_calls(description.calls(values, counter.phases.current()))
    if tensors:
        _measure(description, values, tensors)
    return out


def _measure(description: Description, values: tuple[int, ...], tensors: Sequence[tuple[Any, Any]]) -> None:
    """What hangs on the values of block masks: measured once for all counters that measure together."""
    from auditor.counting import devices  # noqa: PLC0415 - loads what only counting needs
    from auditor.counting.measured import unmasked  # noqa: PLC0415

    owners: dict[Any, list[CompiledCounter]] = {}
    for counter in _counters:
        owners.setdefault(counter.measures_for, []).append(counter)
    for owner, counters in owners.items():
        for what in description.masked(values, tensors, counters[0].phases.current()):
            measured = devices.measure_masked(what, owner)
            calls = measured.calls if measured is not None else {(unmasked(what), what.phase): what.times}
            for counter in counters:
                counter.note_calls(calls)


def _named(signature: Signature, original: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """What it hands to libraries is seen; that there was more is said."""
    out = original(*args, **kwargs)
    for counter in _counters:
        counter.note_calls({(signature, counter.phases.current()): 1})
    return out


_CACHE = "torch._functorch._aot_autograd.autograd_cache"
_patches = Patches(
    [
        Patch("torch._dynamo.convert_frame", "_compile", _hiding),
        Patch("torch._dynamo.output_graph", "OutputGraph._call_user_compiler", _calling_backend),
        Patch("torch.fx.experimental.proxy_tensor", "maybe_handle_decomp", marking),
        Patch("torch._inductor.compile_fx", "fw_compiler_freezing", _hiding),
        Patch("torch._inductor.compile_fx", "compile_fx_aot", _hiding),
        Patch("torch._inductor.compile_fx", "_compile_fx_inner", _compiling),
        Patch("torch._inductor.compile_fx", "fx_codegen_and_compile", _generating),
        Patch("torch._inductor.output_code", "CompiledFxGraph.__call__", _running),
        Patch("torch._functorch._aot_autograd.runtime_wrappers", "_create_runtime_wrapper", _wrapping),
        Patch(_CACHE, "AOTAutogradCache.make_entry", _saving),
        Patch("torch._inductor.codecache", "GuardedCache.iterate_over_candidates", _choosing),
        Patch("torch._functorch._aot_autograd.aot_autograd_result", "FxGraphCacheLoadable.load", _loading),
        Patch("torch.export.pt2_archive._package", "AOTICompiledModel.__call__", _running_package),
    ]
)
