"""Descriptions of graphs: what they hold, what they come to for given sizes, and what they outlive."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from auditor.counting import devices
from auditor.counting.describing import describe
from auditor.counting.graphs import FIRST_PLACE, Description, Line, MaskLine
from auditor.counting.measured import unmasked
from auditor.tally import Phase, Signature


def traced(function, *inputs, mode="symbolic"):
    return make_fx(function, tracing_mode=mode)(*inputs)


@pytest.fixture
def symbolic():
    return describe(traced(lambda x: (x @ x.T).exp(), torch.randn(3, 4)), backward=False)


def test_symbolic_sizes_take_the_values_of_each_call(symbolic):
    for rows in (2, 3, 50):
        values = symbolic.values_of([torch.empty(rows, 4)])
        calls = symbolic.calls(values, Phase.FORWARD)
        assert calls == {
            (Signature("aten::mm", f'["float32[{rows},4]","float32[4,{rows}]"]'), Phase.FORWARD): 1,
            (Signature("aten::exp", f'["float32[{rows},{rows}]"]'), Phase.FORWARD): 1,
        }
        assert symbolic.calls(values, Phase.FORWARD) is calls  # worked out once


def test_the_phase_is_that_of_the_run_but_in_a_backward_graph():
    line = Line("aten::mm", "[]", recomputed=False, times=1, nodes=2)
    again = line._replace(recomputed=True)
    ahead = Description(backward=False, symbols={}, sizes=[], calls=[line])
    back = Description(backward=True, symbols={}, sizes=[], calls=[line, again])
    assert ahead.calls((), Phase.INFERENCE) == {(Signature("aten::mm", "[]"), Phase.INFERENCE): 2}
    assert set(back.calls((), Phase.INFERENCE)) == {
        (Signature("aten::mm", "[]"), Phase.BACKWARD),
        (Signature("aten::mm", "[]"), Phase.RECOMPUTE),
    }


def test_sizes_that_no_input_tells_make_the_operator_unknown():
    line = Line("aten::exp", f'["float32[{FIRST_PLACE}]"]', recomputed=False, times=1, nodes=1)
    described = Description(backward=False, symbols={}, sizes=["u0"], calls=[line])
    assert described.calls((), Phase.FORWARD) == {(Signature("torch.compile::aten::exp", "[]"), Phase.FORWARD): 1}


def test_a_string_that_looks_like_a_size_stays_a_string():
    line = Line("x::y", f'["\'{FIRST_PLACE}",{FIRST_PLACE}]', recomputed=False, times=1, nodes=1)
    described = Description(backward=False, symbols={"s0": (0, None)}, sizes=["2*s0"], calls=[line])
    assert list(described.calls((3,), Phase.FORWARD)) == [(Signature("x::y", f'["\'{FIRST_PLACE}",6]'), Phase.FORWARD)]


QUERY, KEY = f'"bfloat16[2,3,{FIRST_PLACE},16]"', f'"bfloat16[2,3,{FIRST_PLACE + 1},16]"'
BLOCKS = torch.tensor([[[1, 2]]], dtype=torch.int32)


def test_what_a_block_mask_keeps_is_measured_with_the_sizes_and_tensors_of_the_call():
    line = MaskLine("higher_order::flex_attention", f"[{QUERY},{KEY},{KEY},4,8]", 0, None, False, 1, 2)
    described = Description(
        backward=False, symbols={"s0": (1, 2), "s1": (2, 2)}, sizes=["s0", "s1"], calls=[], masks=[line]
    )
    described = Description.read(described.text)
    inputs = [BLOCKS, torch.empty(2, 3, 7, 16), torch.empty(2, 3, 16, 16)]
    (what,) = described.masked(described.values_of(inputs), described.tensors_of(inputs), Phase.INFERENCE)
    assert (what.times, what.phase, what.partial) == (2, Phase.INFERENCE, BLOCKS)
    measured = devices.measure_masked(what, "the test")
    unit = 'auditor::attention_pair ["bfloat16[1,16]","bfloat16[1,16]",%s,false]'
    kept = 4 * 8 + 3 * 16  # a block of four queries, and two blocks of the other three
    calls = {f"{signature.op} {signature.arguments}": number for (signature, _), number in measured.calls.items()}
    assert calls == {unit % "false": 2 * 6 * kept, unit % "true": 2 * 6 * (7 * 16 - kept)}
    assert unmasked(what).arguments == '["bfloat16[2,3,7,16]","bfloat16[2,3,16,16]","bfloat16[2,3,16,16]",null]'


def test_masks_in_a_backward_graph_are_backward_or_recomputation():
    line = MaskLine("higher_order::flex_attention_backward", "[]", 0, 0, False, 1, 1)
    again = line._replace(op="higher_order::flex_attention", recomputed=True)
    back = Description(backward=True, symbols={}, sizes=[], calls=[], masks=[line, again])
    phases = [what.phase for what in back.masked((), back.tensors_of([BLOCKS]), Phase.INFERENCE)]
    assert phases == [Phase.BACKWARD, Phase.RECOMPUTE]


def test_pickles_and_copies_as_text_that_needs_no_auditor(symbolic):
    for text in (pickle.loads(pickle.dumps(symbolic)), copy.deepcopy(symbolic)):
        assert type(text) is str
        again = Description.read(text)
        assert again.current
        values = again.values_of([torch.empty(6, 4)])
        assert again.calls(values, Phase.BACKWARD) == symbolic.calls(values, Phase.BACKWARD) != {}


def test_a_description_by_another_version_is_not_current_and_one_of_another_format_is_none(symbolic):
    assert not Description.read(symbolic.text.replace(symbolic.writer, "another")).current
    assert Description.read('{"format":0}') is None


def test_views_and_moves_are_left_out_and_equal_nodes_are_one_line():
    described = describe(traced(lambda x: (x.t().contiguous().exp() + 1).exp(), torch.randn(3, 4)), backward=False)
    assert sorted((line.op, line.nodes) for line in described.lines) == [("aten::add.Tensor", 1), ("aten::exp", 2)]


def test_a_product_padded_by_a_pass_counts_unpadded_and_one_padded_by_hand_does_not():
    def padded(a, b):
        return torch.constant_pad_nd(a, [0, 3]) @ torch.constant_pad_nd(b, [0, 0, 0, 3])

    graph = traced(padded, torch.randn(4, 5), torch.randn(5, 6), mode="fake")
    by_hand = describe(graph, backward=False)
    assert [line.arguments for line in by_hand.lines] == ['["float32[4,8]","float32[8,6]"]']
    for node in graph.graph.find_nodes(op="call_function", target=torch.ops.aten.constant_pad_nd.default):
        node.meta["original_aten"] = torch.ops.aten.mm.default
    by_pass = describe(graph, backward=False)
    assert [line.arguments for line in by_pass.lines] == ['["float32[4,5]","float32[5,6]"]']


def test_what_the_partitioner_put_into_a_backward_graph_is_recomputation_there_only():
    graph = traced(lambda x: x.exp(), torch.randn(3), mode="fake")
    for node in graph.graph.nodes:
        node.meta["partitioner_tag"] = "is_forward"
    assert [line.recomputed for line in describe(graph, backward=True).lines] == [True]
    assert [line.recomputed for line in describe(graph, backward=False).lines] == [False]
