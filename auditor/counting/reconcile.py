"""Two counts of the same forward pass, side by side: where they differ, which operator in which module it is.

The counts name operators differently: a tally has what reached the backend (``aten::addmm``, or
``aten::mm`` step by step inside a recurrent layer), a trace what the program called (``aten::linear``,
``aten::lstm``). So operators are compared by kind. A call that both sides have at the same cost cancels;
what remains on either side is the explanation. By construction the remainders add up to the difference
exactly.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from auditor.counting.static import StaticCount, Work
from auditor.operations import MATRIX_FAMILIES, Family
from auditor.records import SecondOpinion
from auditor.units import wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from auditor.formulas import Pricer
    from auditor.tally import Tally

_MOST_EXPLAINED = 24  # rows of one opinion; the rest is summed up in one row more
_MOST_MODULES = 2000
_MOST_SUMS = 4096  # partial sums looked at to find the parts of a layer
_NO_MODULE, _OUTERMOST = "(not known)", "(outermost)"


class Kind(StrEnum):
    """Operators that are compared with one another."""

    PRODUCT = "matrix products"
    ATTENTION = "attention"
    CONVOLUTION = "convolutions"
    RECURRENT = "recurrent layers"


_KIND_OF_FAMILY = {
    Family.MATMUL: Kind.PRODUCT,
    Family.ATTENTION: Kind.ATTENTION,
    Family.CONVOLUTION: Kind.CONVOLUTION,
    Family.RECURRENT: Kind.RECURRENT,
}
_KIND_OF_TRACED = {
    "aten::_convolution": Kind.CONVOLUTION,
    "aten::convolution": Kind.CONVOLUTION,
    "aten::_convolution_mode": Kind.CONVOLUTION,
    "aten::conv_tbc": Kind.CONVOLUTION,
    "aten::scaled_dot_product_attention": Kind.ATTENTION,
    "aten::_scaled_dot_product_flash_attention_for_cpu": Kind.ATTENTION,
    "aten::_scaled_dot_product_flash_attention": Kind.ATTENTION,
    "aten::_scaled_dot_product_efficient_attention": Kind.ATTENTION,
    "aten::_scaled_dot_product_cudnn_attention": Kind.ATTENTION,
    "aten::_scaled_dot_product_fused_attention_overrideable": Kind.ATTENTION,
    "aten::_native_multi_head_attention": Kind.ATTENTION,
    "aten::_transformer_encoder_layer_fwd": Kind.ATTENTION,
    "aten::lstm": Kind.RECURRENT,
    "aten::gru": Kind.RECURRENT,
    "aten::rnn_tanh": Kind.RECURRENT,
    "aten::rnn_relu": Kind.RECURRENT,
    "aten::lstm_cell": Kind.RECURRENT,
    "aten::gru_cell": Kind.RECURRENT,
    "aten::rnn_tanh_cell": Kind.RECURRENT,
    "aten::rnn_relu_cell": Kind.RECURRENT,
}
# What the backend's operators of a kind have in their names.
_WORDS = {
    Kind.PRODUCT: ("mm", "mv", "dot", "linear", "attention", "encoder", "trilinear"),
    Kind.ATTENTION: ("attention", "encoder"),
    Kind.CONVOLUTION: ("conv",),
    Kind.RECURRENT: ("rnn", "lstm", "gru"),
}


class Rest(NamedTuple):
    """What one side has and the other has not."""

    op: str
    where: str
    ops: int
    calls: int
    ours: bool


class Counted(NamedTuple):
    """Our count of the pass: matrix work by kind, and operators that were seen without a price."""

    work: Mapping[Kind, tuple[Work, ...]]
    unpriced: Mapping[str, int]

    @property
    def total_ops(self) -> int:
        """Operations of matrix work."""
        return _sum(work for kind in self.work.values() for work in kind)


def priced(tally: Tally, pricer: Pricer) -> Counted:
    """The matrix work of a tally, each signature a piece of work with its arguments as its place."""
    work: dict[Kind, list[Work]] = {}
    unpriced: Counter[str] = Counter()
    for (signature, _, _), calls in sorted(tally.items()):
        price = pricer.of(signature)
        if price.amount is None:
            unpriced[signature.op] += calls
        for family, amount in price.parts:
            if family in MATRIX_FAMILIES:
                piece = Work(signature.op, signature.arguments, amount.executed_ops, calls)
                work.setdefault(_KIND_OF_FAMILY[family], []).append(piece)
    return Counted({kind: tuple(pieces) for kind, pieces in work.items()}, dict(unpriced))


def reconcile(ours: Counted, theirs: StaticCount, *, inputs: str) -> SecondOpinion:
    """Both totals, and the operators and modules that account for the difference; none where they agree."""
    rests = _rests(ours, theirs) if ours.total_ops != theirs.total_ops else []
    return SecondOpinion(
        counter=theirs.counter,
        model=theirs.model,
        inputs=inputs,
        ours=wire(ours.total_ops),
        theirs=wire(theirs.total_ops),
        unavailable="",
        explained=tuple(_rows(rests, ours, theirs)),
        modules=tuple((path, kind, wire(ops)) for path, kind, ops in theirs.modules[:_MOST_MODULES]),
    )


def unavailable(ours: Counted | None, *, counter: str, model: str, inputs: str, why: str) -> SecondOpinion:
    """No opinion, and why: ``theirs`` is empty, which is not zero."""
    return SecondOpinion(
        counter=counter,
        model=model,
        inputs=inputs,
        ours=wire(ours.total_ops) if ours is not None else "",
        theirs="",
        unavailable=why,
        explained=(),
        modules=(),
    )


def _sum(work: Iterable[Work]) -> int:
    return sum(piece.ops * piece.calls for piece in work)


def _rests(ours: Counted, theirs: StaticCount) -> list[Rest]:
    """What does not cancel, kind by kind. A kind that one side has in parts is compared with its products."""
    mine = {kind: list(ours.work.get(kind, ())) for kind in Kind}
    other: dict[Kind, list[Work]] = {kind: [] for kind in Kind}
    for piece in theirs.work:
        other[_KIND_OF_TRACED.get(piece.op, Kind.PRODUCT)].append(piece)
    for kind in (Kind.ATTENTION, Kind.RECURRENT):
        if bool(mine[kind]) != bool(other[kind]):
            for side in (mine, other):
                side[Kind.PRODUCT] += side[kind]
                side[kind] = []
    rests: list[Rest] = []
    for kind in Kind:
        if _sum(mine[kind]) != _sum(other[kind]):
            rests += _cancel(mine[kind], other[kind])
    return sorted(rests, key=lambda rest: -rest.ops * rest.calls)


def _cancel(mine: list[Work], other: list[Work]) -> list[Rest]:
    """What is left once equal calls cancel, and layers that one side has whole cancel with their parts."""
    left_mine = [Rest(*piece, ours=True) for piece in _left(mine, other)]
    left_other = [Rest(*piece, ours=False) for piece in _left(other, mine)]
    for whole, parts in ((left_other, left_mine), (left_mine, left_other)):
        for layers in _composites(whole):
            made_of = _adding_up_to(sum(rest.ops * rest.calls for rest in layers), parts)
            if made_of and all(rest in whole for rest in layers):
                for rest in layers:
                    whole.remove(rest)
                for part in made_of:
                    parts.remove(part)
    return left_mine + left_other


def _composites(rests: list[Rest]) -> list[list[Rest]]:
    """Layers made of parts: those alike together, since equal parts are one piece of work; then each alone."""
    alike: dict[tuple[str, int], list[Rest]] = {}
    for rest in rests:
        if any(word in rest.op for word in ("lstm", "gru", "rnn", "attention", "encoder_layer", "einsum")):
            alike.setdefault((rest.op, rest.ops), []).append(rest)
    return [*alike.values(), *([rest] for layers in alike.values() if len(layers) > 1 for rest in layers)]


def _adding_up_to(target_ops: int, parts: list[Rest]) -> list[Rest]:
    """Some of the parts that add up to the target exactly; none where no few of them do."""
    reachable: dict[int, list[Rest]] = {0: []}
    for part in parts:
        for total_ops, chosen in list(reachable.items()):
            sum_ops = total_ops + part.ops * part.calls
            if sum_ops <= target_ops and sum_ops not in reachable and len(reachable) < _MOST_SUMS:
                reachable[sum_ops] = [*chosen, part]
    return reachable.get(target_ops, [])


def _left(side: list[Work], against: list[Work]) -> list[Work]:
    """The calls of one side that the other has not at the same cost."""
    spare: Counter[int] = Counter()
    for piece in against:
        spare[piece.ops] += piece.calls
    left: list[Work] = []
    for piece in side:
        cancelled = min(piece.calls, spare[piece.ops])
        spare[piece.ops] -= cancelled
        if piece.calls > cancelled:
            left.append(piece._replace(calls=piece.calls - cancelled))
    return left


def _rows(rests: list[Rest], ours: Counted, theirs: StaticCount) -> Iterator[dict[str, str]]:
    for rest in rests[:_MOST_EXPLAINED]:
        if rest.ours:
            module, note = _why_ours(rest, theirs)
        else:
            kind = _KIND_OF_TRACED.get(rest.op, Kind.PRODUCT)
            module, note = rest.where, _why_theirs(_WORDS[kind], ours)
        yield _row(rest.op, module or _OUTERMOST, note, [rest])
    if more := rests[_MOST_EXPLAINED:]:
        yield _row(f"({len(more)} more)", "", "smaller differences, summed up", more)


def _row(op: str, module: str, note: str, rests: list[Rest]) -> dict[str, str]:
    mine_ops = sum(rest.ops * rest.calls for rest in rests if rest.ours)
    other_ops = sum(rest.ops * rest.calls for rest in rests if not rest.ours)
    return {"operator": op, "module": module, "ours": wire(mine_ops), "theirs": wire(other_ops), "note": note}


def _why_ours(rest: Rest, theirs: StaticCount) -> tuple[str, str]:
    """The module and the reason for work that the trace has not."""
    stem = rest.op.rpartition("::")[2].partition(".")[0].strip("_")
    seen = f"{rest.calls} x {rest.op} {rest.where}"
    named = [(op, path) for op, path, _ in theirs.unsupported if _same_operator(op, stem)]
    opaque = [(op, path) for op, path, _ in theirs.unsupported if op.startswith("prim::")]
    likely = named or opaque or [(op, path) for op, path, _ in theirs.unsupported]
    if not likely:
        return _NO_MODULE, f"unexplained: not in the trace, or its result is not used; {seen}"
    modules = sorted({path or _OUTERMOST for _, path in likely})
    names = ", ".join(sorted({op for op, _ in likely}))
    reason = "has no handle for" if named or not opaque else "does not see inside"
    doubt = "" if named or len(likely) == 1 else "probably: "
    return ", ".join(modules[:4]), f"{doubt}fvcore {reason} {names}; {seen}"


def _same_operator(traced: str, stem: str) -> bool:
    name = traced.rpartition("::")[2].strip("_")
    return name == stem or stem.startswith(f"{name}_") or (len(name) > 3 and name in stem)


def _why_theirs(kind_words: tuple[str, ...], ours: Counted) -> str:
    """The reason for work that the tally has not: an operator of the kind without a price, or unknown."""
    likely = [op for op in ours.unpriced if any(word in op for word in kind_words) or not op.startswith("aten::")]
    if likely:
        return f"seen here without a price: {', '.join(sorted(likely))}"
    return "unexplained: the tally has no call of this cost"
