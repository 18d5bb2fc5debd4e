"""Matrix products: 2 operations per multiply-add, whatever the layout, packing or scaling.

A result that adds up K products takes K multiplications and K - 1 additions. It is counted as K and K, as
every other counter does; the one addition left over is the bias of ``addmm`` and ``baddbmm`` or the
accumulation into the result, so those cost nothing on top. Conversions, quantisation scales and activations
fused into the kernel stand beside the products, in other families.
"""

from __future__ import annotations

from functools import partial
from math import prod

from auditor.formulas import registry
from auditor.formulas.sizes import broadcast, multiply_adds
from auditor.operations import Family
from auditor.tally import Argument, Shape

formula = partial(registry.formula, family=Family.MATMUL)

_BLOCKED = 4  # dimensions of an int4 matrix packed for tensor cores: blocks of eight columns first


@formula("aten::mm", "aten::_int_mm", source="[M,K] x [K,N]")
@formula("aten::_scaled_mm", "aten::_scaled_mm_v2", source="[M,K] x [K,N]; scales are not counted")
def mm(a: Shape, b: Shape, *_: Argument) -> int:
    m, k = a
    n = b[1]
    return multiply_adds(m * n * k, a)


@formula("aten::bmm", source="[B,M,K] x [B,K,N]")
def bmm(a: Shape, b: Shape, *_: Argument) -> int:
    batch, m, k = a
    n = b[2]
    return multiply_adds(batch * m * n * k, a)


@formula("aten::addmm", "aten::_addmm_activation", source="[M,K] x [K,N]; the bias is the K-th addition")
def addmm(_bias: Shape, a: Shape, b: Shape, *_: Argument) -> int:
    return mm(a, b)


@formula("aten::baddbmm", "aten::addbmm", source="[B,M,K] x [B,K,N]; the sum is the K-th addition")
def baddbmm(_bias: Shape, a: Shape, b: Shape, *_: Argument) -> int:
    return bmm(a, b)


@formula("aten::mv", source="[M,K] x [K]")
def mv(a: Shape, _vector: Shape, *_: Argument) -> int:
    return multiply_adds(a.numel, a)


@formula("aten::addmv", source="[M,K] x [K]; the sum is the K-th addition")
def addmv(_bias: Shape, a: Shape, _vector: Shape, *_: Argument) -> int:
    return multiply_adds(a.numel, a)


@formula("aten::dot", "aten::vdot", source="[K] x [K]")
def dot(a: Shape, _other: Shape, *_: Argument) -> int:
    return multiply_adds(a.numel, a)


@formula("aten::addr", source="[M] x [N], added to [M,N]")
def addr(_sum: Shape, a: Shape, b: Shape, *_: Argument) -> int:
    return multiply_adds(a.numel * b.numel, a)


@formula("aten::_foreach_mm", "_native::_foreach_mm_native_0", source="each [M,K] x [K,N] of two lists")
def foreach_mm(firsts: tuple[Shape, ...], seconds: tuple[Shape, ...], *_: Argument) -> int:
    return sum(mm(a, b) for a, b in zip(firsts, seconds, strict=True))


@formula(
    "aten::_grouped_mm",
    "aten::_scaled_grouped_mm",
    "aten::_scaled_grouped_mm_v2",
    source="groups share the rows",
)
def grouped_mm(a: Shape, b: Shape, *_: Argument) -> int:
    """Groups cut the dimension that is not batched: rows of the first, columns of the second, or the sum."""
    if len(a) == len(b):
        return mm(a, b) if len(a) == 2 else bmm(a, b)
    *_batch, m, k = a
    n = b[-1]
    return multiply_adds(m * n * k, a)


@formula("transformers::grouped_mm_fallback", source="Transformers' loop over experts; each row meets one of them")
def experts(a: Shape, b: Shape, _ends: Shape) -> int:
    return grouped_mm(a, b)


@formula("transformers::grouped_mm_fallback_backward", source="one product for each of the two gradients")
def experts_backward(a: Shape, b: Shape, _ends: Shape, _gradient: Shape) -> int:
    return 2 * grouped_mm(a, b)


@formula("aten::mkldnn_linear", "aten::linear.out", source="[..,K] x [N,K]")
def mkldnn_linear(a: Shape, weight: Shape, *_: Argument) -> int:
    return multiply_adds(a.numel * weight[0], a)


@formula("aten::linear_backward", "aten::mkldnn_linear_backward", source="one product each for input and weight")
def linear_backward(a: Shape, _grad: Shape, weight: Shape, mask: tuple[bool, ...], *_: Argument) -> int:
    return multiply_adds(a.numel * weight[0], a) * sum(mask[:2])


@formula("aten::matmul_backward", source="one product for each operand that wants a gradient")
def matmul_backward(grad: Shape, a: Shape, b: Shape, mask: tuple[bool, ...], *_: Argument) -> int:
    """The products are those of the forward: every row with every column, over what is summed."""
    rows, columns = a[-2:-1], b[-1:] if len(b) > 1 else ()
    batch = broadcast([a[:-2], b[:-2]])
    return multiply_adds(prod((*batch, *rows, *columns, a[-1])), grad) * sum(mask)


@formula("aten::mkldnn_linear_backward_input", source="[..,N] x [N,K]")
def mkldnn_linear_backward_input(_sizes: Argument, grad: Shape, weight: Shape, *_: Argument) -> int:
    return multiply_adds(grad.numel * weight[1], grad)


@formula("aten::mkldnn_linear_backward_weights", source="[N,..] x [..,K]")
def mkldnn_linear_backward_weights(grad: Shape, a: Shape, *_: Argument) -> int:
    return multiply_adds(grad.numel * a[-1], grad)


@formula("aten::_weight_int8pack_mm", source="[M,K] x int8 [N,K]; the unpacking is not counted")
def weight_int8pack_mm(a: Shape, packed: Shape, *_: Argument) -> int:
    return multiply_adds(a.numel * packed[0], a)


@formula("aten::_weight_int4pack_mm", source="[M,K] x packed int4 [N/8,..]: eight columns to a block")
def weight_int4pack_mm(a: Shape, packed: Shape, *_: Argument) -> int:
    """Of two dimensions, as on Intel's GPUs, the packed matrix has one row for each column."""
    return multiply_adds(a.numel * packed[0] * (8 if len(packed) == _BLOCKED else 1), a)


@formula("aten::_weight_int4pack_mm_with_scales_and_zeros", source="[M,K] x packed int4 [N,K/8]")
@formula("aten::_mixed_dtypes_linear", source="[..,K] x packed [K,..] with one scale for each output")
def mixed_linear(a: Shape, packed: Shape, scale: Argument, *_: Argument) -> int:
    outputs = scale.numel if isinstance(scale, Shape) else packed[0]
    return multiply_adds(a.numel * outputs, a)


@formula("aten::_weight_int4pack_mm_for_cpu", source="[M,K] x packed int4 [N,K/2]")
def weight_int4pack_mm_for_cpu(a: Shape, packed: Shape, *_: Argument) -> int:
    return multiply_adds(a.numel * packed[0], a)


@formula("aten::_dyn_quant_matmul_4bit", source="[..,K] x packed int4 of K inputs and N outputs")
def dyn_quant_matmul(a: Shape, _packed: Shape, _block: int, _inputs: int, outputs: int, *_: Argument) -> int:
    return multiply_adds(a.numel * outputs, a)


@formula("mkldnn::_linear_pointwise", source="[..,K] x [N,K]")
@formula("onednn::linear_dynamic_fp16", "onednn::linear_relu_dynamic_fp16", source="[..,K] x [N,K]")
def packed_linear(a: Shape, weight: Shape, *_: Argument) -> int:
    """Every row meets every element of the weight, either way round, reordered or not."""
    return multiply_adds(a.numel // a[-1] * weight.numel, a) if a[-1] else 0


@formula("mkl::_mkl_linear", source="[..,K] x [N,K]; the packed weight's size is the library's own affair")
def mkl_linear(a: Shape, _packed: Shape, weight: Shape, *_: Argument) -> int:
    return packed_linear(a, weight)


@formula("mkldnn::_linear_pointwise.binary", source="[..,K] x [N,K]; the other tensor is the fused operand")
def packed_linear_binary(a: Shape, _other: Shape, weight: Shape, *_: Argument) -> int:
    return packed_linear(a, weight)


@formula("onednn::qlinear_pointwise", source="int8 [..,K] x [K,N]; scales and what is fused are not counted")
def packed_linear_int8(a: Shape, _scale: Argument, _zero: Argument, weight: Shape, *_: Argument) -> int:
    return packed_linear(a, weight)


@formula("inductor::_mm_plus_mm", source="[M,K] x [K,N], twice; the sum is the last addition")
def mm_plus_mm(a: Shape, b: Shape, c: Shape, d: Shape, *_: Argument) -> int:
    return mm(a, b) + mm(c, d)


@formula("symm_mem::_async_input_mm", source="[M,K] x [K,N]")
@formula(
    "symm_mem::fused_matmul_reduce_scatter", "symm_mem::fused_scaled_matmul_reduce_scatter", source="[..,K] x [K,N]"
)
def product_of_shards(a: Shape, b: Shape, *_: Argument) -> int:
    return multiply_adds(a.numel * b[-1], a)


@formula("aten::_trilinear", source="two multiplications, one addition at every point (nn.Bilinear)")
def trilinear(*arguments: Argument) -> int:
    """Each operand gains dimensions of size 1 where its list of expanded ones says so."""
    operands, expanded = arguments[:3], arguments[3:6]
    full = [_unsqueezed(shape, dims) for shape, dims in zip(operands, expanded, strict=True)]
    return 3 * prod(broadcast(full))


def _unsqueezed(shape: Argument, dims: Argument) -> list[int]:
    sizes = [size for size in shape if isinstance(size, int)] if isinstance(shape, tuple) else []
    for dim in dims if isinstance(dims, tuple) else ():
        if isinstance(dim, int):
            sizes.insert(dim, 1)
    return sizes
