"""Handles for fvcore: the multiply-adds of one operator of a trace. Imported only where fvcore is.

fvcore's own handles are kept where they are right, so that they remain somebody else's opinion: ``linear``,
``addmm``, ``mm``, ``bmm`` and convolutions. ``matmul`` and ``einsum`` are replaced (fvcore's take no
vectors and no broadcasting in the one, and round to four digits in the other); the rest fvcore lacks.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from fvcore.nn.jit_handles import (
    addmm_flop_jit,
    bmm_flop_jit,
    conv_flop_count,
    conv_flop_jit,
    linear_flop_jit,
    matmul_flop_jit,
)

Handle = Callable[[list[Any], list[Any]], Any]


def _sizes(value: Any) -> list[int]:
    """Sizes of a tensor of the trace.

    Raises: ValueError: the trace does not know them.
    """
    sizes = value.type().sizes() if value.isCompleteTensor() else None
    if sizes is None:
        raise ValueError("a tensor without known sizes")
    return list(sizes)


def _parts(value: Any) -> list[Any]:
    """The values in a list of the trace."""
    node = value.node()
    if node.kind() != "prim::ListConstruct":
        raise ValueError("a list whose parts the trace does not show")
    return list(node.inputs())


def matmul(inputs: list[Any], outputs: list[Any]) -> int:
    """Vectors, matrices, broadcast batches: one multiply-add per entry of the result and contracted entry."""
    return prod(_sizes(outputs[0])) * _sizes(inputs[0])[-1]


def batched_third(inputs: list[Any], outputs: list[Any]) -> int:
    """``baddbmm(c, a, b)``: c is only added."""
    return prod(_sizes(outputs[0])) * _sizes(inputs[1])[-1]


def summed_batches(inputs: list[Any], _outputs: list[Any]) -> int:
    """``addbmm(c, a, b)``: one product per batch, summed."""
    return prod(_sizes(inputs[1])) * _sizes(inputs[2])[-1]


def vector_third(inputs: list[Any], _outputs: list[Any]) -> int:
    """``addmv(c, a, x)``: every entry of the matrix once."""
    return prod(_sizes(inputs[1]))


def first_once(inputs: list[Any], _outputs: list[Any]) -> int:
    """``mv`` and ``dot``: every entry of the first operand once."""
    return prod(_sizes(inputs[0]))


def outer(_inputs: list[Any], outputs: list[Any]) -> int:
    """``addr(c, x, y)``: one multiply-add per entry of the result."""
    return prod(_sizes(outputs[0]))


def grouped(inputs: list[Any], _outputs: list[Any]) -> int:
    """``_grouped_mm``: the groups share what is not batched: rows, columns or what is summed over."""
    first, second = (_sizes(tensor) for tensor in inputs[:2])
    batch = first[0] if len(first) == len(second) == 3 else 1
    return batch * prod(first[-2:]) * second[-1]


def attention(inputs: list[Any], _outputs: list[Any]) -> int:
    """Scores in full, masked or not, and their product with the values."""
    query, key, value = (_sizes(tensor) for tensor in inputs[:3])
    return prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def convolution_mode(inputs: list[Any], outputs: list[Any]) -> int:
    """A convolution whose padding is given in words."""
    return int(conv_flop_count(_sizes(inputs[0]), _sizes(inputs[1]), _sizes(outputs[0])))


def convolution_tbc(inputs: list[Any], outputs: list[Any]) -> int:
    """``conv_tbc``: the weight has the result's channels last."""
    return prod(_sizes(outputs[0])) * prod(_sizes(inputs[1])[:2])


def recurrent(inputs: list[Any], _outputs: list[Any]) -> int:
    """Each weight matrix once per step and sequence; packed sequences have a row for each of these."""
    data = _sizes(inputs[0])
    rows = data[0] * data[1] if len(data) == 3 else data[0]
    lists = [value for value in inputs if value.node().kind() == "prim::ListConstruct"]
    weights = [_sizes(value) for value in _parts(lists[-1])]
    return rows * sum(prod(weight) for weight in weights if len(weight) == 2)


def recurrent_cell(inputs: list[Any], _outputs: list[Any]) -> int:
    """One step: both weight matrices once per sequence."""
    return _sizes(inputs[0])[0] * (prod(_sizes(inputs[2])) + prod(_sizes(inputs[3])))


def native_attention(inputs: list[Any], _outputs: list[Any]) -> int:
    """``_native_multi_head_attention``: projections in and out, scores in full, result."""
    query, key, value = (_sizes(tensor) for tensor in inputs[:3])
    width = query[-1]
    projections = (2 * prod(query[:-1]) + prod(key[:-1]) + prod(value[:-1])) * width * width
    return projections + 2 * prod(query[:-1]) * key[-2] * width


def encoder_layer(inputs: list[Any], _outputs: list[Any]) -> int:
    """``_transformer_encoder_layer_fwd``: self-attention and the two feed-forward products."""
    source = _sizes(inputs[0])
    width, rows = source[-1], prod(source[:-1])
    feed_forward = sum(rows * prod(_sizes(weight)) for weight in (inputs[14], inputs[16]))
    return rows * width * (4 * width + 2 * source[-2]) + feed_forward


def tensordot(inputs: list[Any], outputs: list[Any]) -> int:
    """Each entry of the result takes one multiply-add per contracted entry."""
    sizes = _sizes(inputs[0])
    return prod(_sizes(outputs[0])) * prod(sizes[int(axis)] for axis in _integers(inputs[2]))


def _integers(value: Any) -> list[int]:
    constant = value.toIValue()
    return list(constant) if constant is not None else [part.toIValue() for part in _parts(value)]


def einsum(inputs: list[Any], _outputs: list[Any]) -> int:
    """Pairs contracted in the order that torch takes; a pair without a summed index is no product.

    An index of extent 1 is summed over by nobody, so it is left out from the start.
    """
    operands = [_sizes(value) for value in _parts(inputs[1])]
    terms, result = _einsum_terms(inputs[0].toIValue(), operands)
    extents: dict[str, int] = {}
    for term, sizes in zip(terms, operands, strict=True):
        for index, size in zip(term, sizes, strict=True):
            extents[index] = max(size, extents.get(index, 1))
    terms = [
        "".join(index for index, size in zip(term, sizes, strict=True) if size != 1)
        for term, sizes in zip(terms, operands, strict=True)
    ]
    constant = inputs[2].toIValue() if len(inputs) > 2 else None
    return _contract(terms, result, extents, list(constant or ()))


def _contract(terms: list[str], result: str, extents: dict[str, int], path: list[int]) -> int:
    total = 0
    while len(terms) > 1:
        first, second = (path.pop(0), path.pop(0)) if path else (0, 1)
        a, b = terms[first], terms[second]
        terms = [term for place, term in enumerate(terms) if place not in (first, second)]
        wanted = set(result).union(*terms)
        shared = (set(a) & set(b)) - wanted
        kept = (set(a) | set(b)) & wanted
        if shared:
            total += prod(extents[index] for index in kept | shared)
        terms.append("".join(sorted(kept)))
    return total


def _einsum_terms(equation: str, operands: Sequence[Sequence[int]]) -> tuple[list[str], str]:
    """The indices of each operand and of the result, dots written out as spare letters."""
    left, arrow, result = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    spare = "".join(letter for letter in string.ascii_letters if letter not in equation)
    widths = [len(sizes) - len(term.replace("...", "")) for term, sizes in zip(terms, operands, strict=True)]
    widest = max((width for term, width in zip(terms, widths, strict=True) if "..." in term), default=0)
    dots = spare[:widest]
    filled = [t.replace("...", dots[widest - width :]) for t, width in zip(terms, widths, strict=True)]
    if not arrow:
        letters = re.sub(r"[^A-Za-z]", "", left)
        result = dots + "".join(sorted(letter for letter in set(letters) if letters.count(letter) == 1))
    return filled, result.replace("...", dots)


HANDLES: dict[str, Handle] = {
    "aten::linear": linear_flop_jit,
    "aten::addmm": addmm_flop_jit,
    "aten::mm": matmul_flop_jit,
    "aten::bmm": bmm_flop_jit,
    "aten::_convolution": conv_flop_jit,
    "aten::convolution": conv_flop_jit,
    "aten::_convolution_mode": convolution_mode,
    "aten::matmul": matmul,
    "aten::einsum": einsum,
    "aten::tensordot": tensordot,
    "aten::baddbmm": batched_third,
    "aten::_addmm_activation": batched_third,
    "aten::addbmm": summed_batches,
    "aten::mv": first_once,
    "aten::dot": first_once,
    "aten::vdot": first_once,
    "aten::inner": matmul,
    "aten::addmv": vector_third,
    "aten::addr": outer,
    "aten::_int_mm": matmul,
    "aten::_scaled_mm": matmul,
    "aten::_scaled_mm_v2": matmul,
    "aten::_weight_int8pack_mm": matmul,
    "aten::_weight_int4pack_mm": matmul,
    "aten::_weight_int4pack_mm_for_cpu": matmul,
    "aten::_dyn_quant_matmul_4bit": matmul,
    "aten::_grouped_mm": grouped,
    "aten::_scaled_grouped_mm": grouped,
    "aten::_scaled_grouped_mm_v2": grouped,
    "aten::conv_tbc": convolution_tbc,
    "aten::scaled_dot_product_attention": attention,
    "aten::_scaled_dot_product_flash_attention_for_cpu": attention,
    "aten::_scaled_dot_product_flash_attention": attention,
    "aten::_scaled_dot_product_efficient_attention": attention,
    "aten::_scaled_dot_product_cudnn_attention": attention,
    "aten::_scaled_dot_product_fused_attention_overrideable": attention,
    "aten::_native_multi_head_attention": native_attention,
    "aten::_transformer_encoder_layer_fwd": encoder_layer,
    "aten::lstm": recurrent,
    "aten::gru": recurrent,
    "aten::rnn_tanh": recurrent,
    "aten::rnn_relu": recurrent,
    "aten::lstm_cell": recurrent_cell,
    "aten::gru_cell": recurrent_cell,
    "aten::rnn_tanh_cell": recurrent_cell,
    "aten::rnn_relu_cell": recurrent_cell,
}
