"""Reductions: n operations to fold n elements together, counting the first as folded into nothing.

It is the convention of the matrix products (K additions for K terms), and so a sum costs the same whether it
is written as a sum or as a product with ones. What is done to each element before, and to each result after,
is added.
"""

from __future__ import annotations

from functools import partial
from math import prod

from auditor.formulas import registry
from auditor.formulas.sizes import ceil_log2, reduced, shapes
from auditor.operations import Family
from auditor.tally import Argument, Shape

formula = partial(registry.formula, family=Family.REDUCTION)


@formula("aten::sum", "aten::prod", "aten::amax", "aten::amin", "aten::max", "aten::min", source="1 per element")
@formula("aten::argmax", "aten::argmin", "aten::all", "aten::any", "aten::_is_all_true", source="1 per element")
@formula("aten::cumsum", "aten::cumprod", "aten::cummax", "aten::cummin", source="1 per element")
@formula("aten::_cummax_helper", "aten::_cummin_helper", "aten::equal", source="1 per element")
@formula("aten::_is_any_true", "aten::count_nonzero", "aten::hash_tensor", source="1 per element")
@formula("aten::bincount", source="1 per element")
def fold(x: Shape, *_: Argument) -> int:
    return x.numel


@formula("aten::nansum", "aten::aminmax", "aten::_aminmax", "aten::histc", source="2 per element")
@formula("aten::linalg__powsum", source="power and sum: 2 per element")
def fold_pairs(x: Shape, *_: Argument) -> int:
    return 2 * x.numel


@formula("aten::mean", source="1 per element, 1 per result")
def mean(x: Shape, dims: Argument = None, *_: Argument) -> int:
    return x.numel + reduced(x, dims)


@formula("aten::trace", source="1 per element of the diagonal")
def trace(x: Shape, *_: Argument) -> int:
    return min(x)


@formula("aten::var", "aten::var_mean", source="mean, difference, square, mean")
def var(x: Shape, dims: Argument = None, *_: Argument) -> int:
    return 4 * x.numel + 2 * reduced(x, dims)


@formula("aten::std", "aten::std_mean", source="var, and a square root per result")
def std(x: Shape, dims: Argument = None, *_: Argument) -> int:
    return var(x, dims) + reduced(x, dims)


@formula("aten::linalg_vector_norm", "aten::norm", "aten::native_norm", source="power, sum; a root per result")
def norm(x: Shape, _order: Argument = None, dims: Argument = None, *_: Argument) -> int:
    return 2 * x.numel + reduced(x, dims)


@formula("aten::dist", source="difference and norm")
def dist(x: Shape, other: Shape, *_: Argument) -> int:
    return 3 * max(x.numel, other.numel) + 1


@formula("aten::renorm", source="norm; a quotient per slice, a product per element")
def renorm(x: Shape, _p: Argument, dim: int, *_: Argument) -> int:
    return 3 * x.numel + 2 * x[dim]


@formula("aten::logsumexp", source="maximum, difference, exp, sum; log and sum per result")
def logsumexp(x: Shape, dims: Argument = None, *_: Argument) -> int:
    return 4 * x.numel + 2 * reduced(x, dims)


@formula("aten::logcumsumexp", "aten::_logcumsumexp", source="as logaddexp")
def logcumsumexp(x: Shape, *_: Argument) -> int:
    return 5 * x.numel


@formula("aten::allclose", source="difference, absolute, tolerance, comparison, conjunction")
def allclose(x: Shape, other: Shape, *_: Argument) -> int:
    return 6 * max(x.numel, other.numel)


@formula("aten::_foreach_norm", source="power and sum per element, a root per tensor")
def foreach_norm(tensors: tuple[Shape, ...], *_: Argument) -> int:
    return sum(norm(tensor) for tensor in tensors)


@formula("aten::_foreach_powsum", source="power and sum per element")
def foreach_powsum(tensors: tuple[Shape, ...], *_: Argument) -> int:
    return sum(2 * tensor.numel for tensor in tensors)


@formula("aten::_foreach_max", source="1 per element")
def foreach_max(tensors: tuple[Shape, ...], *_: Argument) -> int:
    return sum(tensor.numel for tensor in tensors)


@formula("aten::segment_reduce", source="1 per element")
def segment_reduce(data: Shape, *_: Argument) -> int:
    return data.numel


@formula("aten::_segment_reduce_backward", source="1 per element of the data")
def segment_reduce_backward(_grad: Shape, _output: Shape, data: Shape, *_: Argument) -> int:
    return data.numel


# Ordering: comparisons of a merge sort, n ceil(log2 n) for each row of n.
@formula("aten::sort", "aten::median", "aten::nanmedian", "aten::mode", source="n ceil(log2 n) a row")
@formula("aten::kthvalue", source="n ceil(log2 n) a row")
def order(x: Shape, *arguments: Argument) -> int:
    """Along the dimension that is named; all in one row where none is."""
    dims = [part for part in arguments if isinstance(part, int) and not isinstance(part, bool)]
    row = x[dims[-1]] if dims and x else x.numel
    return x.numel * ceil_log2(row)


@formula("aten::topk", source="n ceil(log2 k) a row, at least n: a heap of k")
def topk(x: Shape, k: int, dim: int = -1, *_: Argument) -> int:
    return x.numel * max(ceil_log2(min(k, x[dim])), 1) if x else 0


@formula("aten::_unique", "aten::_unique2", "aten::unique_consecutive", source="a sort of all elements")
def unique(x: Shape, *_: Argument) -> int:
    return x.numel * max(ceil_log2(x.numel), 1)


@formula("aten::unique_dim", "aten::unique_dim_consecutive", source="a sort of slices: a comparison reads a slice")
def unique_dim(x: Shape, dim: int, *_: Argument) -> int:
    return x.numel * max(ceil_log2(x[dim]), 1)


@formula("aten::isin", source="a sort of the test elements, a search for each element")
def isin(*operands: Argument) -> int:
    elements, tested = ([*shapes([part]), Shape(())][0] for part in operands[:2])
    return (elements.numel + tested.numel) * max(ceil_log2(tested.numel), 1)


@formula("aten::searchsorted", source="ceil(log2 (n + 1)) comparisons for each value")
def searchsorted(boundaries: Shape, values: Argument, *_: Argument) -> int:
    number = values.numel if isinstance(values, Shape) else 1
    return number * ceil_log2(boundaries[-1] + 1)


@formula("aten::bucketize", source="ceil(log2 (n + 1)) comparisons for each value")
def bucketize(values: Argument, boundaries: Shape, *_: Argument) -> int:
    return searchsorted(boundaries, values)


@formula("aten::histogram", source="a search for each element")
def histogram(x: Shape, bins: Argument, *_: Argument) -> int:
    edges = bins.numel if isinstance(bins, Shape) else bins if isinstance(bins, int) else 1
    return x.numel * ceil_log2(edges + 1)


@formula("aten::_histogramdd_from_bin_cts", "aten::_histogramdd_from_bin_tensors", source="a search per coordinate")
def histogramdd(x: Shape, bins: tuple[Argument, ...], *_: Argument) -> int:
    """Points of as many coordinates as there are lists of bins; a coordinate is sought among its edges."""
    edges = [each.numel if isinstance(each, Shape) else each for each in bins if isinstance(each, int | Shape)]
    return x.numel // len(edges) * sum(ceil_log2(number + 1) for number in edges) if edges else 0


@formula("aten::_histogramdd_bin_edges", source="least and greatest: 2 per element")
def histogramdd_edges(x: Shape, *_: Argument) -> int:
    return 2 * x.numel


@formula("aten::_cdist_forward", source="difference, power, sum per coordinate of a pair; a root per pair")
def cdist(a: Shape, b: Shape, *_: Argument) -> int:
    return _pairs(a, b) * (3 * a[-1] + 1)


@formula("aten::_cdist_backward", source="difference, power, two products, sum per coordinate of a pair")
def cdist_backward(_grad: Shape, a: Shape, b: Shape, *_: Argument) -> int:
    return _pairs(a, b) * 5 * a[-1]


@formula("aten::_euclidean_dist", source="by products: 2 per coordinate of a pair, 4 per pair")
def euclidean_dist(a: Shape, b: Shape, *_: Argument) -> int:
    return _pairs(a, b) * (2 * a[-1] + 4)


@formula("aten::_pdist_forward", source="as cdist, each pair of rows once")
def pdist(x: Shape, *_: Argument) -> int:
    rows, width = x
    return rows * (rows - 1) // 2 * (3 * width + 1)


@formula("aten::_pdist_backward", source="as cdist, each pair of rows once")
def pdist_backward(_grad: Shape, x: Shape, *_: Argument) -> int:
    rows, width = x
    return rows * (rows - 1) // 2 * 5 * width


def _pairs(a: Shape, b: Shape) -> int:
    return prod(a[:-2]) * a[-2] * b[-2]
