"""Two counts of one forward pass, and the operators and modules that explain their difference."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from auditor.counting.dispatch import DispatchCounter
from auditor.counting.reconcile import Counted, Kind, priced, reconcile, unavailable
from auditor.counting.static import StaticCount, Work, analyse
from auditor.formulas import Pricer


def opinion_on(module, *args):
    counter = DispatchCounter()
    counter.attach()
    try:
        module(*args)
    finally:
        counter.detach()
    return reconcile(priced(counter.take(), Pricer()), analyse(module, args), inputs="[]")


class Part(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x @ x.t()

    @staticmethod
    def backward(ctx, grad):
        return grad


def test_where_both_agree_there_is_nothing_to_explain():
    opinion = opinion_on(nn.Sequential(nn.Linear(4, 5), nn.LSTM(5, 3), nn.Identity()), torch.randn(3, 4))
    assert opinion.ours == opinion.theirs != "0"
    assert opinion.explained == ()
    assert ("1", "LSTM", str(2 * 3 * (4 * 3 * 5 + 4 * 3 * 3))) in opinion.modules


def test_an_operator_that_fvcore_has_not_is_named_with_its_module():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.recurrent, self.mixing = nn.GRU(4, 3), nn.Bilinear(3, 3, 2)

        def forward(self, x):
            y = self.recurrent(x)[0][-1]
            return self.mixing(y, y)

    opinion = opinion_on(Two(), torch.randn(7, 2, 4))
    (row,) = opinion.explained
    assert row["operator"] == "aten::_trilinear"
    assert row["module"] == "mixing"
    assert row["theirs"] == "0"
    assert "fvcore has no handle for aten::bilinear" in row["note"]
    assert int(row["ours"]) == int(opinion.ours) - int(opinion.theirs) > 0


def test_what_happens_inside_a_custom_function_is_named():
    opinion = opinion_on(nn.Sequential(nn.Linear(4, 4), Part(Square.apply)), torch.randn(3, 4))
    (row,) = opinion.explained
    assert (row["operator"], row["module"], row["ours"]) == ("aten::mm", "1", str(2 * 3 * 4 * 3))
    assert "does not see inside prim::PythonOp.Square" in row["note"]


def test_work_whose_result_is_dropped_is_said_to_be_unexplained():
    opinion = opinion_on(Part(lambda x: (x @ x.t(), x)[1]), torch.randn(3, 4))
    (row,) = opinion.explained
    assert row["note"].startswith("unexplained")
    assert row["ours"] == "72"


def test_an_operator_that_has_no_price_here_is_named():
    theirs = analyse(nn.Linear(4, 4), (torch.randn(3, 4),))
    ours = Counted({}, {"aten::unheard_of_linear": 1, "aten::unrelated": 1})
    (row,) = reconcile(ours, theirs, inputs="[]").explained
    assert row["operator"] == "aten::linear"
    assert row["theirs"] == "96"
    assert row["note"] == "seen here without a price: aten::unheard_of_linear"


def test_a_layer_in_parts_does_not_hide_another_difference():
    steps = Work("aten::mm", '["float32[2,4]","float32[4,12]"]', 10, 14)
    blind = Work("aten::_trilinear", "[]", 7, 1)
    ours = Counted({Kind.PRODUCT: (steps, blind)}, {})
    theirs = StaticCount(
        counter="x",
        model="y",
        total_ops=140,
        modules=(),
        work=(Work("aten::gru", "rnn", 140, 1),),
        unsupported=(("aten::bilinear", "mix", 1),),
    )
    (row,) = reconcile(ours, theirs, inputs="[]").explained
    assert (row["operator"], row["module"], row["ours"]) == ("aten::_trilinear", "mix", "7")


def test_equal_layers_in_parts_do_not_hide_another_difference():
    """Attention by separate products in two layers, whose equal products one line of the tally holds."""
    scores, result = Work("aten::bmm", "scores", 6, 2), Work("aten::bmm", "result", 4, 2)
    blind = Work("aten::_trilinear", "[]", 7, 1)
    theirs = StaticCount(
        counter="x",
        model="y",
        total_ops=20,
        modules=(),
        work=tuple(Work("aten::scaled_dot_product_attention", place, 10, 1) for place in ("first", "second")),
        unsupported=(("aten::bilinear", "mix", 1),),
    )
    (row,) = reconcile(Counted({Kind.PRODUCT: (scores, result, blind)}, {}), theirs, inputs="[]").explained
    assert (row["operator"], row["module"]) == ("aten::_trilinear", "mix")


PIECES = st.lists(
    st.builds(
        Work,
        st.sampled_from(["aten::mm", "aten::linear", "aten::lstm", "aten::_convolution", "aten::bmm", "mine::op"]),
        st.sampled_from(["", "a", "a.b", "head"]),
        st.integers(1, 12),
        st.integers(1, 4),
    ),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(mine=st.dictionaries(st.sampled_from(list(Kind)), PIECES.map(tuple)), other=PIECES)
def test_the_rows_always_add_up_to_the_difference(mine, other):
    total_ops = sum(piece.ops * piece.calls for piece in other)
    theirs = StaticCount(counter="x", model="y", total_ops=total_ops, modules=(), work=tuple(other), unsupported=())
    opinion = reconcile(Counted(mine, {}), theirs, inputs="[]")
    explained_ops = sum(int(row["ours"]) - int(row["theirs"]) for row in opinion.explained)
    assert explained_ops == int(opinion.ours) - int(opinion.theirs)
    assert len(opinion.explained) <= 25
    assert bool(opinion.explained) == (opinion.ours != opinion.theirs)


@pytest.mark.parametrize("ours", [None, Counted({}, {})])
def test_no_opinion_is_not_a_zero(ours):
    opinion = unavailable(ours, counter="fvcore", model="M", inputs="[]", why="because")
    assert opinion.theirs == ""
    assert opinion.unavailable == "because"
