"""Attention written as functions of scores: an operator of higher order, taken down from the graphs that hold it.

``flex_attention`` computes what the attention kernels do (see `attention`), and is given how many scores lie in the
blocks that its mask keeps: the others are skippable. What its functions do to each score is counted by their own
operators; which scores a mask keeps inside of a block is not computed by arithmetic on the data and not counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.formulas import registry
from auditor.formulas.scores import Attention
from auditor.operations import Amount, Family

if TYPE_CHECKING:
    from auditor.tally import Argument, Shape


def _flex(query: Shape, key: Shape, value: Shape, kept: Argument) -> Attention:
    """``[B,H,S,D]``; ``kept`` is how many scores are in blocks that the mask keeps, None or negative if not known."""
    batch, heads, queries, width = query
    scores = batch * heads * queries * key[2]
    masked = max(scores - kept, 0) if isinstance(kept, int) and kept >= 0 else 0
    return Attention(
        query=query,
        batch_heads=1,
        queries=batch * heads * queries,
        keys=key[2],
        key_width=width,
        value_width=value[3],
        masked=masked,
    )


@registry.formula("higher_order::flex_attention", family=Family.ATTENTION, source="2 products")
def flex_attention(*arguments: Argument) -> Amount:
    return _flex(*arguments).forward()  # type: ignore[arg-type]


@registry.formula("higher_order::flex_attention_backward", family=Family.ATTENTION, source="4 products, 1 again")
def flex_attention_backward(*arguments: Argument) -> Amount:
    return _flex(*arguments).backward()  # type: ignore[arg-type]


@registry.beside("higher_order::flex_attention", family=Family.NORMALIZATION, source="softmax")
def flex_softmax(*arguments: Argument) -> Amount:
    return _flex(*arguments).softmax()  # type: ignore[arg-type]


@registry.beside("higher_order::flex_attention_backward", family=Family.NORMALIZATION, source="softmax")
def flex_softmax_backward(*arguments: Argument) -> Amount:
    return _flex(*arguments).softmax_backward()  # type: ignore[arg-type]
