"""Matrix products."""

from __future__ import annotations

from functools import partial

from auditor.formulas import registry
from auditor.operations import Family
from auditor.tally import Argument, Shape
from auditor.units import OPS_PER_MULTIPLY_ADD

formula = partial(registry.formula, family=Family.MATMUL)


@formula("aten::mm", source="[M,K] x [K,N]")
def mm(a: Shape, b: Shape, *_: Argument) -> int:
    m, k = a
    _, n = b
    return OPS_PER_MULTIPLY_ADD * m * n * k


@formula("aten::bmm", source="[B,M,K] x [B,K,N]")
def bmm(a: Shape, b: Shape, *_: Argument) -> int:
    batch, m, k = a
    _, _, n = b
    return OPS_PER_MULTIPLY_ADD * batch * m * n * k
