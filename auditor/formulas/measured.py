"""What only the values of tensors tell, counted by the device: units of work, whose *calls* are the number measured.

The lengths of packed sequences, the ends of groups of rows and the blocks that a mask keeps are values, not sizes. What
is measured of a call of such an operator is noted in the place of the call:

========================================  ==================================================  ==========================
operator                                  one call of it is                                   arguments
========================================  ==================================================  ==========================
``auditor::attention_pair``               a query and a key, in all heads: what               query ``[H,D]``, value
                                          `attention` has for one score                       ``[H,Dv]``, masked, biased
``auditor::attention_pair_backward``      the same in the backward                            the same
``auditor::grouped_step``                 a row (a column, a place summed over) that some     what it meets, ``[K,N]``
                                          group of a grouped product takes: ``2 K N``
========================================  ==================================================  ==========================

Pairs that a mask throws away are measured apart from those that it keeps, as *masked*: both are algorithmic, and these
are skippable, as they are where the sizes tell (see `attention`).
"""

from __future__ import annotations

from auditor.formulas import registry
from auditor.formulas.scores import Attention
from auditor.formulas.sizes import multiply_adds
from auditor.operations import Amount, Family
from auditor.tally import Shape

PAIR, PAIR_BACKWARD = "auditor::attention_pair", "auditor::attention_pair_backward"
GROUPED_STEP = "auditor::grouped_step"


def _pair(query: Shape, value: Shape, masked: bool, biased: bool) -> Attention:
    heads, width = query
    return Attention(
        query=query,
        batch_heads=heads,
        queries=1,
        keys=1,
        key_width=width,
        value_width=value[-1],
        masked=int(masked),
        biased=biased,
    )


@registry.formula(PAIR, family=Family.ATTENTION, source="2 products")
def pair(query: Shape, value: Shape, masked: bool, biased: bool) -> Amount:
    return _pair(query, value, masked, biased).forward()


@registry.formula(PAIR_BACKWARD, family=Family.ATTENTION, source="4 products, 1 again")
def pair_backward(query: Shape, value: Shape, masked: bool, biased: bool) -> Amount:
    return _pair(query, value, masked, biased).backward()


@registry.beside(PAIR, family=Family.NORMALIZATION, source="softmax")
def pair_softmax(query: Shape, value: Shape, masked: bool, biased: bool) -> Amount:
    return _pair(query, value, masked, biased).softmax()


@registry.beside(PAIR_BACKWARD, family=Family.NORMALIZATION, source="softmax")
def pair_softmax_backward(query: Shape, value: Shape, masked: bool, biased: bool) -> Amount:
    return _pair(query, value, masked, biased).softmax_backward()


@registry.formula(GROUPED_STEP, family=Family.MATMUL, source="each row meets one group")
def grouped_step(met: Shape) -> int:
    return multiply_adds(met.numel, met)
