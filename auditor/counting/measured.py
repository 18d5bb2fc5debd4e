"""Calls whose sizes do not tell what they compute: what of their values is to be measured.

What is measured of a call is noted in its place, as calls of the units in `auditor.formulas.measured`; a call whose
sizes do tell is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import torch

from auditor.counting.graphs import Masked
from auditor.device.quantities import OPEN, Blocks, Lengths, Pairs, Quantity, Steps
from auditor.formulas import Pricer
from auditor.formulas.measured import GROUPED_STEP, PAIR, PAIR_BACKWARD
from auditor.formulas.packed import BATCHED
from auditor.tally import Shape, Signature, encode_arguments

_TOP_LEFT, _BOTTOM_RIGHT = 1, 2  # CustomMaskType of the memory-efficient kernels
_MOST_PRICES = 1 << 12  # remembered; packed batches are of ever other sizes


class Measurement(NamedTuple):
    """A quantity, and of what each of its results is the number of calls."""

    quantity: Quantity
    units: tuple[Signature, ...]


class _Given:
    """The arguments of a call; the same thing has other names in other operators."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self._arguments = arguments

    def __call__(self, *names: str) -> Any:
        return next((value for name in names if (value := self._arguments.get(name)) is not None), None)


def _attention(given: _Given, unit: str, *, at_the_end: bool = True) -> Measurement | None:
    """``at_the_end``: whether, where the operator does not say, sequences of queries and keys stand together there."""
    query, key, value = given("query", "q"), given("key", "k"), given("value", "v")
    queries, keys = _lengths(given, query, "q"), _lengths(given, key, "k")
    if queries is None or keys is None or given("leftpad_k") is not None or not _on_one_device(queries, keys):
        return None
    before, after, at_the_end = _window(given, at_the_end)
    number = _sequences(queries, keys)
    quantity = Pairs(queries=queries, keys=keys, sequences=number, before=before, after=after, at_the_end=at_the_end)
    biased = isinstance(given("bias", "attn_bias", "alibi_slopes"), torch.Tensor)
    return Measurement(quantity, _by_mask(unit, _unit(query, 2), _unit(value, 2), biased=biased))


def _cudnn(given: _Given, unit: str) -> Measurement | None:
    """Sequences stand together where they begin; packed ones have no batch."""
    return _attention(given, unit, at_the_end=False) if given("query").dim() < BATCHED else None


def _lengths(given: _Given, tensor: torch.Tensor, side: str) -> Lengths | None:
    """How long the sequences of queries (``q``) or keys (``k``) are; None where it is not known how to tell."""
    offsets = given(f"cum_seq_{side}", f"cu_seqlens_{side}", f"cu_seq_{side}")
    used = given("seqused_k", "seqlen_k") if side == "k" else None
    paged = side == "k" and given("block_table") is not None
    longest = given(f"max_{side}", f"max_seqlen_{side}")
    longest = longest if isinstance(longest, int) else None
    if used is not None:
        most = longest if paged else _positions(tensor)
        return None if most is None else Lengths(each=most, used=used)
    if offsets is not None and offsets.numel() > 0:
        return Lengths(each=min(filter(None, (longest, _positions(tensor))), default=0), offsets=offsets)
    return Lengths(each=tensor.shape[1]) if tensor.dim() == BATCHED and not paged else None


def _positions(tensor: torch.Tensor) -> int:
    """The dimension before heads and width."""
    return tensor.shape[-3]


def _sequences(queries: Lengths, keys: Lengths) -> int:
    if queries.offsets is not None:
        return queries.offsets.numel() - 1
    return keys.used.numel() if keys.used is not None else keys.offsets.numel() - 1  # type: ignore[union-attr]


def _on_one_device(*lengths: Lengths) -> bool:
    return len({device for each in lengths if (device := each.device) is not None}) == 1


def _window(given: _Given, at_the_end: bool) -> tuple[int, int, bool]:
    """Keys before and after the one beside a query that it meets, and whether sequences stand together at the end."""
    kind, window = given("custom_mask_type"), given("window_size")
    if kind is not None:
        before = window - 1 if isinstance(window, int) and window > 0 else OPEN
        return (before, 0, kind == _BOTTOM_RIGHT) if kind in (_TOP_LEFT, _BOTTOM_RIGHT) else (OPEN, OPEN, False)
    sides = window if isinstance(window, (list, tuple)) else (given("window_size_left"), given("window_size_right"))
    before, after = (side if isinstance(side, int) and side >= 0 else OPEN for side in sides)
    return before, 0 if given("is_causal", "causal") else after, at_the_end


def _unit(tensor: torch.Tensor, dims: int) -> Shape:
    """The last dimensions of a tensor, which are those of one position."""
    return Shape(tensor.shape[-dims:], str(tensor.dtype).removeprefix("torch."))


def _grouped(given: _Given, unit: str) -> Measurement | None:
    """The dimension that the groups cut, and what each step along it meets."""
    a, b, ends = given("self"), given("mat2"), given("offs")
    if ends is None:
        return None
    *_, rows, inner = a.shape
    columns = b.shape[-1]
    cut, met = {
        (2, 3): (rows, (inner, columns)),
        (3, 2): (columns, (rows, inner)),
        (2, 2): (inner, (rows, columns)),
    }[a.dim(), b.dim()]
    signature = Signature(unit, encode_arguments((Shape(met, _unit(a, 1).dtype),)))
    return Measurement(Steps(ends=ends, most=cut), (signature,))


class _Operator(NamedTuple):
    read: Callable[[_Given, str], Measurement | None]
    unit: str
    always: bool = False  # also where the sizes give it a price, which is the most that it can be


OPERATORS: Mapping[str, _Operator] = {
    "aten::_flash_attention_forward": _Operator(_attention, PAIR),
    "aten::_flash_attention_forward.quantized": _Operator(_attention, PAIR),
    "aten::_flash_attention_forward_no_dropout_inplace": _Operator(_attention, PAIR),
    "aten::_flash_attention_backward": _Operator(_attention, PAIR_BACKWARD),
    "aten::_efficient_attention_forward": _Operator(_attention, PAIR),
    "aten::_efficient_attention_backward": _Operator(_attention, PAIR_BACKWARD),
    "aten::_cudnn_attention_forward": _Operator(_cudnn, PAIR),
    "aten::_cudnn_attention_backward": _Operator(_cudnn, PAIR_BACKWARD),
    "torch_attn::_varlen_attn": _Operator(_attention, PAIR),
    "torch_attn::_varlen_attn_out": _Operator(_attention, PAIR),
    "torch_attn::_varlen_attn_backward": _Operator(_attention, PAIR_BACKWARD),
    "flash_attn::_flash_attn_varlen_forward": _Operator(_attention, PAIR),
    "flash_attn::_flash_attn_varlen_backward": _Operator(_attention, PAIR_BACKWARD),
    "aten::_grouped_mm": _Operator(_grouped, GROUPED_STEP, always=True),
    "aten::_scaled_grouped_mm": _Operator(_grouped, GROUPED_STEP, always=True),
    "aten::_scaled_grouped_mm_v2": _Operator(_grouped, GROUPED_STEP, always=True),
}


@lru_cache(_MOST_PRICES)
def _has_price(signature: Signature) -> bool:
    return Pricer().of(signature).amount is not None


def measurement(signature: Signature, arguments: Mapping[str, Any]) -> Measurement | None:
    """What is to be measured of a call; None where it is worth what its sizes say, or it cannot be read."""
    operator = OPERATORS[signature.op]
    if not operator.always and _has_price(signature):
        return None
    return operator.read(_Given(arguments), operator.unit)


def masked_attention(what: Masked) -> Measurement:
    """Attention written as functions of scores, of which a block mask keeps some.

    Scores are measured by the head: masks may differ between heads.
    """
    query, key, value, query_block, key_block = what.arguments
    assert isinstance(query, Shape) and isinstance(key, Shape) and isinstance(value, Shape)  # noqa: S101, PT018
    assert isinstance(query_block, int) and isinstance(key_block, int)  # noqa: S101, PT018
    batch, heads, queries, width = query
    masks = what.partial.shape[:-1].numel()
    quantity = Blocks(
        partial=what.partial,
        full=what.full,
        query_block=query_block,
        key_block=key_block,
        queries=queries,
        keys=key[2],
        times=what.times * batch * heads // max(masks, 1),
    )
    unit = PAIR_BACKWARD if what.op.endswith("_backward") else PAIR
    shapes = (Shape((1, width), query.dtype), Shape((1, value[-1]), value.dtype))
    return Measurement(quantity, _by_mask(unit, *shapes, biased=False))


def _by_mask(unit: str, query: Shape, value: Shape, *, biased: bool) -> tuple[Signature, Signature]:
    """A pair that the mask keeps, and one that it throws away."""
    within, outside = (Signature(unit, encode_arguments((query, value, masked, biased))) for masked in (False, True))
    return within, outside


def unmasked(what: Masked) -> Signature:
    """The same as one operator, of which nothing is known to be masked."""
    return Signature(what.op, encode_arguments((*what.arguments[:3], None)))
