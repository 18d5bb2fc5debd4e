"""Random numbers: one operation for each number drawn, whatever the generator and distribution.

Dropout is three: draw, scale the mask, multiply; two in the gradient of the fused form. These are arithmetic
in the sense of `pointwise` as far as they touch data, and stand in the same family.
"""

from __future__ import annotations

from functools import partial
from math import prod

from auditor.formulas import registry
from auditor.formulas.sizes import elementwise
from auditor.operations import Family
from auditor.tally import Argument, Shape

formula = partial(registry.formula, family=Family.POINTWISE)


@formula(
    "aten::bernoulli",
    "aten::binomial",
    "aten::cauchy",
    "aten::exponential",
    "aten::geometric",
    "aten::log_normal",
    "aten::normal_functional",
    "aten::poisson",
    "aten::random",
    "aten::uniform",
    "aten::_standard_gamma",
    "aten::_sample_dirichlet",
    "aten::rand_like",
    "aten::randint_like",
    "aten::randn_like",
    "aten::_philox_normal",
    "aten::_philox_uniform",
    "aten::_fill_mem_eff_dropout_mask_",
    source="1 per number drawn",
)
def draw(x: Shape, *_: Argument) -> int:
    return x.numel


@formula("aten::rand", "aten::randn", source="1 per number drawn")
def draw_new(size: Argument, *_: Argument) -> int:
    return _number(size)


@formula("rngprims::philox_rand", "prims::normal", "prims::uniform", "prims::inductor_random", source="1 per number")
def draw_prim(size: Argument, *_: Argument) -> int:
    return _number(size)


@formula("prims::inductor_randint", source="1 per number drawn")
def draw_prim_integers(_low: Argument, _high: Argument, size: Argument, *_: Argument) -> int:
    return _number(size)


@formula("aten::_philox_key_fold_in", source="a key for a key")
def fold_key(key: Shape, *_: Argument) -> int:
    return key.numel


@formula("aten::_philox_key_split", source="so many keys for each")
def split_key(key: Shape, parts: int, *_: Argument) -> int:
    return key.numel * parts


@formula("aten::randint", "aten::randperm", source="1 per number drawn")
def draw_integers(*arguments: Argument) -> int:
    """``randint`` takes bounds before the sizes; ``randperm`` takes how many."""
    sizes = [part for part in arguments if isinstance(part, tuple)]
    return _number(sizes[0] if sizes else arguments[0])


@formula("aten::normal", source="1 per number drawn")
def normal(mean: Argument, deviation: Argument = None, size: Argument = None, *_: Argument) -> int:
    """In place, or by tensors of means and deviations, or of given sizes."""
    if isinstance(mean, Shape) or isinstance(deviation, Shape):
        return elementwise(mean, deviation, each=1, operands=2)
    return _number(size)


def _number(size: Argument) -> int:
    parts = size if isinstance(size, tuple) else (size,)
    return prod(part for part in parts if isinstance(part, int))


@formula("aten::multinomial", source="normalise and add up each weight; a number and its search per sample")
def multinomial(x: Shape, samples: int, *_: Argument) -> int:
    rows = x.numel // x[-1] if x[-1] else 0
    return 2 * x.numel + rows * samples * (1 + (x[-1] - 1).bit_length())


@formula("aten::native_dropout", "aten::_fused_dropout", source="draw, scale, multiply")
def dropout(x: Shape, *_: Argument) -> int:
    return 3 * x.numel


@formula("aten::native_dropout_backward", source="mask, scale")
def dropout_backward(grad: Shape, *_: Argument) -> int:
    return 2 * grad.numel


@formula("aten::_standard_gamma_grad", "aten::_dirichlet_grad", source="1 per element, as a library function")
def gamma_gradient(x: Shape, *_: Argument) -> int:
    return x.numel
