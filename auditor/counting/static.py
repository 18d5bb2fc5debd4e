"""fvcore on one call of a module: what it expects the forward pass to cost, by module and by operator.

fvcore traces the forward pass and asks a handle for each operator in the trace. Only matrix work is asked
for (products, attention, convolutions, recurrent layers), because only there do counters agree on what an
operation is; fvcore's estimates for normalisation, pooling and resampling are left out. It counts a
multiply-add as one.

What a trace cannot show: work whose result the forward pass does not use is cut out of it, and the inside
of an `autograd.Function` or of a scripted module is one node.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import json
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from auditor.errors import CountingError, MissingExtra
from auditor.units import OPS_PER_MULTIPLY_ADD

_ROOT = "model"  # the name of the analysed module inside its adapter
# Operators of a trace that hold no matrix work whatever the shapes: no handle is needed.
_NO_MATRIX_WORK = frozenset(
    """__and__ __or__ abs adaptive_avg_pool1d adaptive_avg_pool2d adaptive_max_pool2d add add_ addcdiv addcmul
    all alpha_dropout amax amin any argmax argmin as_strided avg_pool1d avg_pool2d batch_norm bernoulli_
    bitwise_and bitwise_not bitwise_or celu clamp_max clamp_min clone col2im cos cross_entropy_loss cumsum
    div div_ dropout_ elu elu_ embedding embedding_bag erf exp expand_as expm1 feature_dropout
    feature_dropout_ fill_ flip gelu glu grid_sampler group_norm gumbel_softmax hardsigmoid hardswish
    hardswish_ hardtanh hardtanh_ im2col index_add index_add_ index_copy_ index_put index_select
    instance_norm isnan layer_norm le leaky_relu leaky_relu_ lift_fresh linspace log log1p log_sigmoid
    log_softmax logical_and logical_not logical_or logsumexp lt masked_fill_ max_pool1d max_pool2d
    max_pool3d mean min mish mish_ movedim mse_loss mul mul_ multinomial native_layer_norm ne neg new_ones
    nll_loss nll_loss_nd norm normal_ numpy_T one_hot ones_like outer pad pixel_shuffle pixel_unshuffle pow
    prelu prod rand rand_like randint randn randn_like reciprocal reflection_pad1d reflection_pad2d relu6
    repeat repeat_interleave replication_pad1d replication_pad2d rms_norm rrelu rsqrt rsub scatter scatter_
    scatter_add scatter_add_ select_scatter selu sigmoid sigmoid_ sign silu silu_ sin slice_scatter softmax
    softplus sort sqrt square std sub sub_ sum swapaxes tanh tanh_ tensor_split tile topk tril triu
    unflatten unfold uniform_ unsafe_chunk unsafe_split upsample_bicubic2d upsample_bilinear2d
    upsample_nearest1d upsample_nearest2d var view_as where zero_""".split()  # noqa: SIM905 - a list of names
)


class Work(NamedTuple):
    """Calls of an operator at the same cost. ``where``: a module's path, or the arguments' canonical text."""

    op: str
    where: str
    ops: int  # of one call; a multiply-add is two
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticCount:
    """What fvcore expects of one call; operations of matrix work, a multiply-add is two."""

    counter: str  # "fvcore 0.1.5.post20221221"
    model: str  # the module's class
    total_ops: int
    modules: tuple[tuple[str, str, int], ...]  # (path, class, operations with those of its parts), in the model's order
    work: tuple[Work, ...]
    unsupported: tuple[tuple[str, str, int], ...]  # (operator, module path, calls) of what may hold matrix work

    @property
    def by_operator(self) -> dict[str, int]:
        """Operations by operator, by fvcore's names."""
        sums: Counter[str] = Counter()
        for op, _, ops, calls in self.work:
            sums[op] += ops * calls
        return dict(sorted(sums.items()))

    def to_json(self) -> str:
        """One line of text that `from_json` reads; integers stay exact."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> StaticCount:
        """What `to_json` wrote.

        Raises: CountingError: the text is not of that form.
        """
        try:
            plain = json.loads(text)
            return cls(
                counter=str(plain["counter"]),
                model=str(plain["model"]),
                total_ops=int(plain["total_ops"]),
                modules=tuple((str(path), str(kind), int(ops)) for path, kind, ops in plain["modules"]),
                work=tuple(Work(str(op), str(at), int(ops), int(n)) for op, at, ops, n in plain["work"]),
                unsupported=tuple((str(op), str(path), int(n)) for op, path, n in plain["unsupported"]),
            )
        except (ValueError, TypeError, KeyError) as error:
            raise CountingError(f"not a static count: {error}") from error


def analyse(module: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> StaticCount:
    """What fvcore expects ``module(*args, **kwargs)`` to cost. Runs the forward pass, with all that it does.

    Raises: MissingExtra: no fvcore. Whatever the forward pass or the tracing of it raises.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        analysis_class, handles = _fvcore()
    adapter, tensors = _adapt(module, args, kwargs or {})
    log: list[tuple[str, str, int]] = []
    failed: list[tuple[str, str]] = []
    analysis = analysis_class(adapter, tensors)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    for op, handle in handles.items():
        analysis.set_op_handle(op, _noting(op, handle, log, failed))
    with warnings.catch_warnings(), _checkpoints_inlined(), _hooks_restored(adapter):
        warnings.simplefilter("ignore")
        inclusive = analysis.by_module()
    return StaticCount(
        counter=f"fvcore {importlib.metadata.version('fvcore')}",
        model=type(module).__name__,
        total_ops=OPS_PER_MULTIPLY_ADD * int(analysis.total()),
        modules=tuple(_module_rows(module, inclusive)),
        work=tuple(_sorted_work(log)),
        unsupported=tuple(_unsupported(analysis, module, failed)),
    )


def _fvcore() -> tuple[Any, Mapping[str, Any]]:
    """The one door to fvcore: its analysis, and our handles, which use its own."""
    try:
        from fvcore.nn.jit_analysis import JitModelAnalysis  # noqa: PLC0415

        from auditor.counting.static_handles import HANDLES  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtra("fvcore", "train") from error
    return JitModelAnalysis, HANDLES


@contextlib.contextmanager
def _checkpoints_inlined() -> Iterator[None]:
    """Reentrant activation checkpoints are plain calls meanwhile: tracing one fails inside torch."""
    from torch.utils.checkpoint import CheckpointFunction  # noqa: PLC0415

    def call(function: Any, _preserve: bool, *args: Any) -> Any:
        return function(*args)

    CheckpointFunction.apply = staticmethod(call)  # type: ignore[method-assign]
    try:
        yield
    finally:
        del CheckpointFunction.apply


@contextlib.contextmanager
def _hooks_restored(module: Any) -> Iterator[None]:
    """Hooks that fvcore sets are gone afterwards; it leaves them where the forward pass raises."""
    tables = [table for part in module.modules() for table in (part._forward_hooks, part._forward_pre_hooks)]  # noqa: SLF001
    before = [list(table) for table in tables]
    try:
        yield
    finally:
        for table, known in zip(tables, before, strict=True):
            for number in [number for number in table if number not in known]:
                del table[number]


def _adapt(module: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, tuple[Any, ...]]:
    """A module that takes and gives tensors only, as a trace needs, and the tensors for it."""
    import torch  # noqa: PLC0415
    from torch.utils._pytree import tree_flatten, tree_unflatten  # noqa: PLC0415

    leaves, spec = tree_flatten((tuple(args), dict(kwargs)))
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]

    class Adapter(torch.nn.Module):
        def forward(self, *tensors: Any) -> tuple[Any, ...]:
            filled = list(leaves)
            for place, tensor in zip(places, tensors, strict=True):
                filled[place] = tensor
            inner_args, inner_kwargs = tree_unflatten(filled, spec)
            output = getattr(self, _ROOT)(*inner_args, **inner_kwargs)
            return tuple(_tensors_in(output)) or (torch.zeros(()),)

    adapter = Adapter()
    adapter.training = module.training
    adapter.add_module(_ROOT, module)
    return adapter, tuple(leaves[place] for place in places)


def _tensors_in(output: Any, depth: int = 0) -> Iterator[Any]:
    """The tensors in an output of any shape: nested containers, dataclasses, objects with attributes."""
    import torch  # noqa: PLC0415

    if isinstance(output, torch.Tensor):
        yield output
    elif depth < 8:
        if isinstance(output, Mapping):
            parts: Sequence[Any] = list(output.values())
        elif isinstance(output, (tuple, list)):
            parts = output
        else:
            parts = list(vars(output).values()) if hasattr(output, "__dict__") else ()
        for part in parts:
            yield from _tensors_in(part, depth + 1)


def _noting(op: str, handle: Any, log: list[tuple[str, str, int]], failed: list[tuple[str, str]]) -> Any:
    """The handle, with each answer noted beside the module; one that cannot answer is noted, too."""

    def noted(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
        where = _path(outputs[0].node().scopeName().split("/")[-1])
        try:
            answer = handle(inputs, outputs)
            multiply_adds = int(sum(answer.values()) if isinstance(answer, Counter) else answer)
        except Exception:  # noqa: BLE001 - shapes that the handle does not know make it an operator without a handle
            failed.append((op, where))
            return Counter()
        log.append((op, where, OPS_PER_MULTIPLY_ADD * multiply_adds))
        return Counter({op: multiply_adds})

    return noted


def _path(scope: str) -> str:
    return scope.removeprefix(_ROOT).removeprefix(".")


def _module_rows(module: Any, inclusive: Mapping[str, int]) -> Iterator[tuple[str, str, int]]:
    for path, part in module.named_modules():
        multiply_adds = int(inclusive.get(f"{_ROOT}.{path}" if path else _ROOT, 0))
        if multiply_adds or not path:
            yield path, type(part).__name__, OPS_PER_MULTIPLY_ADD * multiply_adds


def _sorted_work(log: list[tuple[str, str, int]]) -> Iterator[Work]:
    for (op, where, ops), calls in sorted(Counter(log).items()):
        if ops:
            yield Work(op, where, ops, calls)


def _unsupported(analysis: Any, module: Any, failed: list[tuple[str, str]]) -> Iterator[tuple[str, str, int]]:
    """Operators of the trace without a handle, each at the innermost module that runs it."""
    missing = Counter(failed)
    paths = [path for path, _ in module.named_modules()]
    for path in paths:
        children = [child for child in paths if child and child != path and child.rpartition(".")[0] == path]
        own = Counter(analysis.unsupported_ops(_name(path)))
        for child in children:
            own.subtract(analysis.unsupported_ops(_name(child)))
        for op, calls in own.items():
            if calls > 0 and op.removeprefix("aten::") not in _NO_MATRIX_WORK:
                missing[op, path] += calls
    for (op, path), calls in sorted(missing.items()):
        yield op, path, calls


def _name(path: str) -> str:
    return f"{_ROOT}.{path}" if path else _ROOT
