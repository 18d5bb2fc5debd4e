"""Whole blocks in one operator: torch's fast path for inference with ``nn.TransformerEncoderLayer``.

Each is priced as the operators it stands for: the projections as matrix products, the scores and their use as
attention, softmax and layer norm as normalisation, activation and residual additions as pointwise.
"""

from __future__ import annotations

from functools import partial

from auditor.formulas import activation, registry
from auditor.formulas.normalization import layer_norm, softmax
from auditor.formulas.sizes import multiply_adds
from auditor.operations import Family
from auditor.tally import Argument, Shape

_LAYER = "aten::_transformer_encoder_layer_fwd"
_HEADS = ("aten::_native_multi_head_attention", "aten::_triton_multi_head_attention")
matmul = partial(registry.formula, family=Family.MATMUL)
attention = partial(registry.beside, family=Family.ATTENTION)
normalization = partial(registry.beside, family=Family.NORMALIZATION)
pointwise = partial(registry.beside, family=Family.POINTWISE)


def _tokens(x: Shape) -> int:
    return x.numel // x[-1]


def _projected(x: Shape, *weights: Argument) -> int:
    return multiply_adds(_tokens(x) * sum(part.numel for part in weights if isinstance(part, Shape)), x)


def _scores(query: Shape, key: Shape, heads: int) -> Shape:
    return Shape((query[0], heads, query[1], key[1]), query.dtype)


@matmul(_LAYER, source="projections: [tokens,K] x [K,N] each")
def encoder_layer(x: Shape, *rest: Argument) -> int:
    return _projected(x, rest[2], rest[4], rest[13], rest[15])


@attention(_LAYER, source="2 products, as in `attention`")
def encoder_layer_attention(x: Shape, width: int, *_: Argument) -> int:
    return multiply_adds(2 * x[0] * x[1] * x[1] * width, x)


@normalization(_LAYER, source="softmax of the scores, two layer norms")
def encoder_layer_norms(x: Shape, width: int, heads: int, *_: Argument) -> int:
    weight = Shape((width,), x.dtype)
    return softmax(_scores(x, x, heads)) + 2 * layer_norm(x, (width,), weight, weight)


@pointwise(_LAYER, source="activation of the hidden units, two residual additions")
def encoder_layer_pointwise(x: Shape, *rest: Argument) -> int:
    hidden = rest[13]
    each = activation.GELU_OPS["none"] if rest[6] is True else 1
    return each * _tokens(x) * (hidden[0] if isinstance(hidden, Shape) else 0) + 2 * x.numel


@matmul(*_HEADS, source="projections: three in, one out")
def multi_head(query: Shape, key: Shape, value: Shape, width: int, *_: Argument) -> int:
    tokens = 2 * _tokens(query) + _tokens(key) + _tokens(value)
    return multiply_adds(tokens * width * width, query)


@attention(*_HEADS, source="2 products, as in `attention`")
def multi_head_attention(query: Shape, key: Shape, _value: Shape, width: int, *_: Argument) -> int:
    return multiply_adds(2 * query[0] * query[1] * key[1] * width, query)


@normalization(*_HEADS, source="softmax of the scores")
def multi_head_softmax(query: Shape, key: Shape, _value: Shape, _width: int, heads: int, *_: Argument) -> int:
    return softmax(_scores(query, key, heads))


@registry.formula("aten::_transform_bias_rescale_qkv", family=Family.POINTWISE, source="bias, and the queries' scale")
def bias_rescale(qkv: Shape, *_: Argument) -> int:
    return qkv.numel + qkv.numel // 3
