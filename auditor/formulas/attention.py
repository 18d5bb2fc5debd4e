"""Scaled-dot-product attention in one kernel: FlashAttention, memory-efficient, cuDNN, and the CPU's own.

With queries ``[B,H,Sq,D]``, keys ``[B,Hk,Sk,D]`` and values ``[B,Hk,Sk,Dv]`` (fewer key heads than query
heads are read again for each query head), counting 2 operations per multiply-add:

==============  ==============================================================  ==========================
                products                                                        operations
==============  ==============================================================  ==========================
forward         scores (D), result (Dv)                                         ``2 B H Sq Sk (D + Dv)``
backward        gradients of values (Dv), scores (Dv), queries (D), keys (D)    ``4 B H Sq Sk (D + Dv)``
repeated        the scores again, in the backward: no kernel keeps them (D)     ``2 B H Sq Sk D``
==============  ==============================================================  ==========================

*Algorithmic* are the scores in full, ``Sq x Sk``, masked or not. *Skippable* is the part of these whose
scores a causal or sliding-window mask throws away: with masking at the top left (torch's ``is_causal``),
query i sees keys 0..i, so ``sum over i of max(0, Sk - 1 - i)`` entries are masked, which is ``S (S - 1) / 2``
for a square. Kernels skip it in blocks, wholly or in part; a mask that is given as a tensor is unknown and
skips nothing here.

Torch's own counter: the same forward, and a backward with the repeated scores in it (5 products, not 4). It
knows no price for the CPU's kernel, and reads ``_flash_attention_forward`` and
``_efficient_attention_forward``, whose tensors are ``[B,S,H,D]``, as if they were ``[B,H,S,D]``.

The softmax stands beside, in the normalisations: per score 6 operations forward (scale, maximum, difference,
exponential, sum, quotient), 5 backward, 3 repeated, and one for a bias. Where the mathematical path is taken
instead of a kernel, nothing of this is used: torch runs it as ``bmm`` and softmax, counted as such. Dropout
inside a kernel is not counted.

Packed sequences (``[T,H,D]``, with a tensor of where each begins) have a price where their number times the
longest is T, for queries and for keys: then all are equally long, whatever that tensor holds. Otherwise, and
where only some positions are used (``seqused_k``, ``seqlen_k``, a paged cache), the lengths are values of a
tensor, and sizes give no price: such a call is measured (see `measured`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from auditor.errors import FormulaError
from auditor.formulas import registry
from auditor.formulas.packed import BATCHED, are_packed, refuse_used, unpack
from auditor.formulas.scores import Attention, masked_scores
from auditor.operations import Amount, Family
from auditor.tally import Argument, Shape

if TYPE_CHECKING:
    from collections.abc import Callable

_TOP_LEFT, _BOTTOM_RIGHT = 1, 2  # CustomMaskType of the memory-efficient kernels


def _heads_first(query: Shape, key: Shape, value: Shape, *, causal: Argument, bias: Argument = None) -> Attention:
    """``[B,H,S,D]``, masked at the top left."""
    batch, heads, queries, width = query
    keys = key[2]
    masked = masked_scores(queries, keys, None, 0) if causal is True else 0
    return Attention(
        query=query,
        batch_heads=batch * heads,
        queries=queries,
        keys=keys,
        key_width=width,
        value_width=value[3],
        masked=masked,
        biased=isinstance(bias, Shape),
    )


def _positions_first(query: Shape, key: Shape, value: Shape, masked: int, bias: Argument = None) -> Attention:
    """``[B,S,H,D]``."""
    batch, queries, heads, width = query
    return Attention(
        query=query,
        batch_heads=batch * heads,
        queries=queries,
        keys=key[1],
        key_width=width,
        value_width=value[3],
        masked=masked,
        biased=isinstance(bias, Shape),
    )


def _flash_cpu(query: Shape, key: Shape, value: Shape, *rest: Argument) -> Attention:
    _dropout, causal, bias = rest[:3]
    return _heads_first(query, key, value, causal=causal, bias=bias)


def _flash_cpu_backward(_grad: Shape, query: Shape, key: Shape, value: Shape, *rest: Argument) -> Attention:
    _out, _logsumexp, _dropout, causal, bias = rest[:5]
    return _heads_first(query, key, value, causal=causal, bias=bias)


def _flash(query: Shape, key: Shape, value: Shape, *rest: Argument) -> Attention:
    return _heads_first(query, key, value, causal=rest[1])


def _flash_backward(_grad: Shape, query: Shape, key: Shape, value: Shape, *rest: Argument) -> Attention:
    return _heads_first(query, key, value, causal=rest[7])


def _efficient(query: Shape, key: Shape, value: Shape, bias: Argument, *rest: Argument) -> Attention:
    return _heads_first(query, key, value, causal=rest[2], bias=bias)


def _efficient_backward(_grad: Shape, query: Shape, key: Shape, value: Shape, *rest: Argument) -> Attention:
    return _heads_first(query, key, value, causal=rest[7], bias=rest[0])


def _cudnn_backward(_grad: Shape, query: Shape, key: Shape, value: Shape, *rest: Argument) -> Attention:
    return _heads_first(query, key, value, causal=rest[10], bias=rest[4])


def _overrideable(query: Shape, key: Shape, value: Shape, bias: Argument, *rest: Argument) -> Attention:
    return _heads_first(query, key, value, causal=rest[1], bias=bias)


def _overrideable_backward(_grad: Shape, query: Shape, key: Shape, value: Shape, *rest: Argument) -> Attention:
    return _heads_first(query, key, value, causal=rest[9], bias=rest[0])


def _cudnn(query: Shape, key: Shape, value: Shape, *lengths: Argument, causal: Argument, bias: Argument) -> Attention:
    """Heads before positions, or packed."""
    if not are_packed(lengths[0]):
        return _heads_first(query, key, value, causal=causal, bias=bias)
    if len(query) == BATCHED:
        raise FormulaError("packed sequences with heads before positions: not a layout that cuDNN takes")
    query, key, value = unpack(query, key, value, *lengths)
    masked = masked_scores(query[1], key[1], None, 0) if causal is True else 0
    return _positions_first(query, key, value, masked, bias)


def _cudnn_direct(query: Shape, key: Shape, value: Shape, bias: Argument, *rest: Argument) -> Attention:
    return _cudnn(query, key, value, *rest[:4], causal=rest[6], bias=bias)


def _cudnn_direct_backward(_grad: Shape, query: Shape, key: Shape, value: Shape, *rest: Argument) -> Attention:
    return _cudnn(query, key, value, *rest[5:9], causal=rest[10], bias=rest[4])


def _flash_direct(query: Shape, key: Shape, value: Shape, *rest: Argument) -> Attention:
    """Windows are ``None`` or negative where open; FlashAttention aligns its masks at the bottom right."""
    refuse_used(rest[10], *rest[12:13])
    return _flash_windows(*unpack(query, key, value, *rest[:4]), rest[5], rest[8:10], bias=rest[11])


def _varlen(query: Shape, key: Shape, value: Shape, *rest: Argument) -> Attention:
    """Torch's own operator around the kernels for packed sequences."""
    refuse_used(*rest[8:10])
    return _flash_windows(*unpack(query, key, value, *rest[:4]), rest[4], rest[6])


def _varlen_in_place(_out: Shape, query: Shape, key: Shape, value: Shape, *rest: Argument) -> Attention:
    return _varlen(query, key, value, *rest)


def _varlen_backward(_grad: Shape, query: Shape, key: Shape, value: Shape, *rest: Argument) -> Attention:
    return _flash_windows(*unpack(query, key, value, *rest[2:6]), rest[6], rest[9])


def _triton(query: Shape, key: Shape, value: Shape, *_: Argument) -> Attention:
    return _heads_first(query, key, value, causal=False)


def _mps(query: Shape, key: Shape, value: Shape, mask: Argument, *rest: Argument) -> Attention:
    return _heads_first(query, key, value, causal=rest[1], bias=mask)


def _flash_direct_in_place(_out: Shape, query: Shape, key: Shape, value: Shape, *rest: Argument) -> Attention:
    return _flash_direct(query, key, value, *rest)


def _flash_direct_quantized(query: Shape, key: Shape, value: Shape, *rest: Argument) -> Attention:
    refuse_used(rest[13])
    return _flash_windows(*unpack(query, key, value, *rest[:4]), rest[5], rest[11:13], bias=rest[14])


def _flash_direct_backward(_grad: Shape, query: Shape, key: Shape, value: Shape, *rest: Argument) -> Attention:
    if len(query) != BATCHED:
        query, key, value = unpack(query, key, value, *rest[2:6])
    return _flash_windows(query, key, value, rest[7], rest[11:13])


def _package(query: Shape, key: Shape, value: Shape, *rest: Argument) -> Attention:
    """The package of FlashAttention itself."""
    return _flash_windows(query, key, value, rest[2], rest[3:5], bias=rest[6])


def _package_backward(_grad: Shape, query: Shape, key: Shape, value: Shape, *rest: Argument) -> Attention:
    return _flash_windows(query, key, value, rest[7], rest[8:10])


def _package_packed(query: Shape, key: Shape, value: Shape, *rest: Argument) -> Attention:
    refuse_used(*rest[12:15])
    return _flash_windows(*unpack(query, key, value, *rest[:4]), rest[6], rest[7:9], bias=rest[10])


def _package_packed_backward(_grad: Shape, query: Shape, key: Shape, value: Shape, *rest: Argument) -> Attention:
    return _flash_windows(*unpack(query, key, value, *rest[5:9]), rest[11], rest[12:14])


def _flash_windows(
    query: Shape, key: Shape, value: Shape, causal: Argument, window: Argument, bias: Argument = None
) -> Attention:
    sides = window if isinstance(window, tuple) else (None, None)
    left, right = (side if isinstance(side, int) and side >= 0 else None for side in sides)
    queries, keys = query[1], key[1]
    after = 0 if causal is True else right
    closed = left is not None or after is not None
    masked = masked_scores(queries, keys, left, after, keys - queries) if closed else 0
    return _positions_first(query, key, value, masked, bias)


def _efficient_direct(query: Shape, key: Shape, value: Shape, bias: Argument, *rest: Argument) -> Attention:
    refuse_used(rest[8])
    query, key, value = unpack(query, key, value, *rest[:4])
    return _positions_first(query, key, value, _custom_mask(query, key, rest[5], rest[9]), bias)


def _efficient_direct_backward(_grad: Shape, query: Shape, key: Shape, value: Shape, *rest: Argument) -> Attention:
    query, key, value = unpack(query, key, value, *rest[2:6])
    return _positions_first(query, key, value, _custom_mask(query, key, rest[10], rest[14]), rest[0])


def _custom_mask(query: Shape, key: Shape, kind: Argument, window: Argument) -> int:
    if kind not in (_TOP_LEFT, _BOTTOM_RIGHT):
        return 0
    queries, keys = query[1], key[1]
    before = window - 1 if isinstance(window, int) and window > 0 else None
    return masked_scores(queries, keys, before, 0, keys - queries if kind == _BOTTOM_RIGHT else 0)


# What reads a kernel's arguments, for each kernel: forward, backward.
_FORWARD: dict[str, Callable[..., Attention]] = {
    "aten::_scaled_dot_product_flash_attention_for_cpu": _flash_cpu,
    "aten::_scaled_dot_product_flash_attention": _flash,
    "aten::_scaled_dot_product_efficient_attention": _efficient,
    "aten::_scaled_dot_product_cudnn_attention": _efficient,
    "aten::_scaled_dot_product_fused_attention_overrideable": _overrideable,
    "aten::_cudnn_attention_forward": _cudnn_direct,
    "aten::_flash_attention_forward": _flash_direct,
    "aten::_flash_attention_forward_no_dropout_inplace": _flash_direct_in_place,
    "aten::_flash_attention_forward.quantized": _flash_direct_quantized,
    "aten::_efficient_attention_forward": _efficient_direct,
    "torch_attn::_varlen_attn": _varlen,
    "torch_attn::_varlen_attn_out": _varlen_in_place,
    "flash_attn::_flash_attn_forward": _package,
    "flash_attn::_flash_attn_varlen_forward": _package_packed,
    "aten::_triton_scaled_dot_attention": _triton,
    "aten::_scaled_dot_product_attention_math_for_mps": _mps,
}
_BACKWARD: dict[str, Callable[..., Attention]] = {
    "aten::_scaled_dot_product_flash_attention_for_cpu_backward": _flash_cpu_backward,
    "aten::_scaled_dot_product_flash_attention_backward": _flash_backward,
    "aten::_scaled_dot_product_efficient_attention_backward": _efficient_backward,
    "aten::_scaled_dot_product_cudnn_attention_backward": _cudnn_backward,
    "aten::_scaled_dot_product_fused_attention_overrideable_backward": _overrideable_backward,
    "aten::_cudnn_attention_backward": _cudnn_direct_backward,
    "aten::_flash_attention_backward": _flash_direct_backward,
    "aten::_efficient_attention_backward": _efficient_direct_backward,
    "torch_attn::_varlen_attn_backward": _varlen_backward,
    "flash_attn::_flash_attn_backward": _package_backward,
    "flash_attn::_flash_attn_varlen_backward": _package_packed_backward,
}


def forward(*arguments: Argument, read: Callable[..., Attention]) -> Amount:
    return read(*arguments).forward()


def backward(*arguments: Argument, read: Callable[..., Attention]) -> Amount:
    return read(*arguments).backward()


def softmax(*arguments: Argument, read: Callable[..., Attention]) -> Amount:
    return read(*arguments).softmax()


def softmax_backward(*arguments: Argument, read: Callable[..., Attention]) -> Amount:
    return read(*arguments).softmax_backward()


for _op, _read in _FORWARD.items():
    registry.formula(_op, family=Family.ATTENTION, source="2 products")(partial(forward, read=_read))
    registry.beside(_op, family=Family.NORMALIZATION, source="softmax")(partial(softmax, read=_read))
for _op, _read in _BACKWARD.items():
    registry.formula(_op, family=Family.ATTENTION, source="4 products, 1 again")(partial(backward, read=_read))
    registry.beside(_op, family=Family.NORMALIZATION, source="softmax")(partial(softmax_backward, read=_read))
