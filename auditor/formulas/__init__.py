"""What each operator costs: pure functions over shapes, in one table; no torch needed.

Conventions, one module each, which says them in full:

===============  ===================================================================================
matmul           2 operations per multiply-add; the bias is the last of K additions
convolution      2 per result position and weight; gradients as much each, by the output mask; padding counted
attention        scores in full: 2 products forward, 4 backward; 1 repeated; the masked part skippable
recurrent        positions times matrices; gates beside, as pointwise
pointwise        1 per elementary step or library function, per element of the result
activation       the same, spelt out
loss             the same, and the reduction
random           1 per number drawn
reduction        1 per element folded; n ceil(log2 n) to order n elements
indexing         1 per element added into a place; reading and writing by index are free
normalization    5 per element for softmax and norms, more for affine parts and gradients
optimizer        a fused step costs what it costs operator by operator
pooling          1 per element of a window; 2 per neighbour interpolated
linalg           textbook leading terms; iterative methods have no price
quantization     scale, shift, round, clamp
transformer      fused blocks as the operators they stand for
flex             attention written as functions of scores
measured         what only the values of tensors tell, by units that the device counts
sparse           what a tensor stores, where it does not store every element
prims            the primitives of compilers as the operators they make up
frozen           what is fused into layers frozen for inference, beside the layers
moving           data moved, named, allocated, sent: nothing is computed
===============  ===================================================================================

The four matrix families (matmul, attention, convolution, recurrent) hold products only, so that they can be
compared with other counters to the last operation; what a kernel does besides stands *beside*, in its own
family. An operator that is only made of others has no formula: it is counted by its parts.
"""

from auditor.formulas import (  # noqa: F401 - each registers its operators
    activation,
    attention,
    convolution,
    flex,
    frozen,
    indexing,
    linalg,
    loss,
    matmul,
    measured,
    moving,
    normalization,
    optimizer,
    pointwise,
    pooling,
    prims,
    quantization,
    random,
    recurrent,
    reduction,
    sparse,
    transformer,
)
from auditor.formulas.pricing import Price, Pricer
from auditor.formulas.registry import TABLE, TABLE_VERSION, Formula, Registry, beside, formula, free

__all__ = ["TABLE", "TABLE_VERSION", "Formula", "Price", "Pricer", "Registry", "beside", "formula", "free"]
