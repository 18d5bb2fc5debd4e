"""fvcore beside the real count of the same forward pass."""

from __future__ import annotations

import subprocess
import sys
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from auditor.counting.dispatch import DispatchCounter
from auditor.counting.reconcile import priced
from auditor.counting.static import StaticCount, analyse
from auditor.counting.static_handles import HANDLES
from auditor.errors import CountingError
from auditor.formulas import TABLE, Pricer
from auditor.operations import MATRIX_FAMILIES


def counted_ops(module, *args, **kwargs):
    counter = DispatchCounter()
    counter.attach()
    try:
        module(*args, **kwargs)
    finally:
        counter.detach()
    counted = priced(counter.take(), Pricer())
    assert not counted.unpriced
    return counted.total_ops


class Call(nn.Module):
    """Runs a function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, *args, **kwargs):
        return self.function(*args, **kwargs)


def attend(**options):
    return Call(lambda q, k, v: functional.scaled_dot_product_attention(q, k, v, **options))


def draw(*sizes):
    return torch.randn(*sizes)


MODELS = {
    "mlp": lambda: (nn.Sequential(nn.Linear(4, 5), nn.GELU(), nn.Linear(5, 6)), draw(3, 4)),
    "grouped and depthwise": lambda: (
        nn.Sequential(
            nn.Conv2d(4, 8, 3, groups=2),
            nn.BatchNorm2d(8),
            nn.Conv2d(8, 8, 3, groups=8, stride=2, padding=1),
            nn.ConvTranspose2d(8, 4, 2),
            nn.Flatten(),
            nn.Linear(100, 3),
        ),
        draw(2, 4, 9, 9),
    ),
    "padding in words": lambda: (nn.Conv1d(3, 4, 3, padding="same", dilation=2), draw(2, 3, 9)),
    "without batch": lambda: (nn.Conv1d(3, 4, 3), draw(3, 9)),
    "lstm": lambda: (nn.LSTM(4, 5, 2, bidirectional=True), draw(7, 2, 4)),
    "lstm, projected": lambda: (nn.LSTM(4, 5, 2, proj_size=3), draw(7, 2, 4)),
    "gru, unbatched": lambda: (nn.GRU(4, 5), draw(7, 4)),
    "rnn": lambda: (nn.RNN(4, 5, batch_first=True), draw(2, 7, 4)),
    "packed": lambda: (nn.LSTM(4, 5), nn.utils.rnn.pack_padded_sequence(draw(7, 2, 4), [7, 3])),
    "cells": lambda: (nn.Sequential(nn.GRUCell(4, 5), nn.RNNCell(5, 3)), draw(2, 4)),
    "causal": lambda: (attend(is_causal=True), draw(2, 3, 6, 8), draw(2, 3, 6, 8), draw(2, 3, 6, 8)),
    "fewer key heads": lambda: (
        attend(enable_gqa=True),
        draw(2, 4, 6, 8),
        draw(2, 2, 5, 8),
        draw(2, 2, 5, 8),
    ),
    "by parts": lambda: (attend(), draw(3, 6, 8), draw(3, 4, 8), draw(3, 4, 7)),
    "attention layer": lambda: (
        nn.MultiheadAttention(8, 2, batch_first=True),
        draw(2, 5, 8),
        draw(2, 6, 8),
        draw(2, 6, 8),
    ),
    "encoder": lambda: (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), draw(2, 5, 8)),
    "vectors": lambda: (
        Call(lambda a: (a @ draw(4), draw(3) @ a, draw(4) @ draw(4), torch.addmv(draw(3), a, draw(4)))),
        draw(3, 4),
    ),
    "broadcast": lambda: (Call(lambda a: a @ draw(5, 4, 6)), draw(2, 1, 3, 4)),
    "sums": lambda: (
        Call(lambda a, b: (torch.baddbmm(draw(2, 3, 5), a, b), torch.addbmm(draw(3, 5), a, b))),
        draw(2, 3, 4),
        draw(2, 4, 5),
    ),
    "outer": lambda: (Call(lambda a: torch.addr(draw(3, 4), a, draw(4))), draw(3)),
    "grouped rows": lambda: (
        Call(lambda a: torch._grouped_mm(a, draw(2, 16, 8), offs=torch.tensor([16, 32], dtype=torch.int32))),
        draw(32, 16),
    ),
    "grouped, batched": lambda: (Call(lambda a: torch._grouped_mm(a, draw(2, 16, 8))), draw(2, 32, 16)),
    "whole numbers": lambda: (
        Call(lambda a: torch._int_mm(a, torch.ones(8, 16, dtype=torch.int8))),
        torch.ones(32, 8, dtype=torch.int8),
    ),
    "whole weights": lambda: (
        Call(lambda a: torch._weight_int8pack_mm(a, torch.ones(8, 16, dtype=torch.int8), torch.ones(8))),
        draw(32, 16),
    ),
    "activated": lambda: (Call(lambda a: torch._addmm_activation(draw(5), a, draw(4, 5))), draw(3, 4)),
    "the kernel itself": lambda: (
        Call(lambda q, k: torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, k)[0]),
        draw(2, 3, 6, 8),
        draw(2, 3, 4, 8),
    ),
    "convolution by its general name": lambda: (
        Call(lambda x: torch.convolution(x, draw(4, 2, 3), None, [1], [0], [1], True, [0], 2)),
        draw(2, 4, 9),
    ),
    "time first": lambda: (Call(lambda x: torch.conv_tbc(x, draw(3, 4, 5), draw(5), 1)), draw(7, 2, 4)),
    "tensordot": lambda: (
        Call(lambda a: (torch.tensordot(a, draw(4, 5), dims=1), torch.inner(a, a))),
        draw(3, 4),
    ),
}


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("name", MODELS)
def test_agrees_with_the_count_to_the_operation(name):
    module, *args = MODELS[name]()
    expected_ops = counted_ops(module, *args)
    assert expected_ops > 0
    assert analyse(module, args).total_ops == expected_ops


# What a program does not call, but reaches from what it calls; and nn.Bilinear, whose work is no multiply-adds.
BENEATH = (
    *("backward", "cudnn", "miopen", "mkldnn", "nnpack", "slow_conv", "depthwise", "_attention_forward"),
    *("mps", "_triton", "semi_structured", "cslt", "mixed_dtypes", "int4pack_mm_with"),
)
WITHOUT = {"aten::_trilinear", "aten::_foreach_mm", "aten::convolution_overrideable", "aten::linear.out"}


def test_every_operator_of_matrix_work_that_a_program_calls_has_a_handle():
    priced_ops = {formula.op for formula in TABLE if formula.family in MATRIX_FAMILIES and formula.function}
    called = {op for op in priced_ops if op.startswith("aten::") and not any(word in op for word in BENEATH)}
    assert called - HANDLES.keys() == WITHOUT


def test_the_number_is_the_one_worked_out_by_hand():
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 6))
    count = analyse(model, (draw(3, 4),))
    assert count.total_ops == 2 * 3 * 4 * 5 + 2 * 3 * 5 * 6
    assert count.modules == (("", "Sequential", 300), ("0", "Linear", 120), ("2", "Linear", 180))
    assert count.by_operator == {"aten::linear": 300}
    assert count.unsupported == ()


@pytest.mark.parametrize("checkpointing", ["none", "reentrant", "plain"])
def test_the_real_workload(train_gpt, checkpointing):
    model = train_gpt.build_model(layers=2, heads=2, width=16, context=8, checkpointing=checkpointing)
    tokens = torch.randint(256, (3, 8))
    block_ops = 24 * (3 * 8) * 16**2 + 4 * 3 * 8**2 * 16
    count = analyse(model, (tokens,))
    assert count.total_ops == counted_ops(model, tokens) == 2 * block_ops + 2 * (3 * 8) * 16 * 256
    assert {path: ops for path, _, ops in count.modules}["blocks.1"] == block_ops


INDICES = st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True).map("".join)


@settings(max_examples=60, deadline=None)
@given(terms=st.lists(INDICES, min_size=1, max_size=3), data=st.data())
def test_einsum_is_counted_as_torch_runs_it(terms, data):
    letters = sorted(set("".join(terms)))
    result = "".join(data.draw(st.lists(st.sampled_from(letters), unique=True, max_size=3)))
    extents = {letter: data.draw(st.integers(1, 4), label=letter) for letter in letters}
    equation = f"{','.join(terms)}->{result}"
    operands = [draw(*(extents[letter] for letter in term)) for term in terms]
    module = Call(lambda *tensors: torch.einsum(equation, *tensors))
    assert analyse(module, operands).total_ops == counted_ops(module, *operands)


class Structured(nn.Module):
    """Takes keywords, numbers and nested tensors; gives a dictionary with an object in it."""

    class Out:
        def __init__(self, logits):
            self.logits = logits

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, batch, *, scale, extra=None):
        return {"out": self.Out(self.inner(batch["x"]) * scale), "extra": extra}


def test_inputs_and_outputs_of_any_structure():
    count = analyse(Structured(), ({"x": draw(3, 4)},), {"scale": 2.0, "extra": (draw(2), "text")})
    assert count.total_ops == 2 * 3 * 4 * 4


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_modules_are_seen(reentrant):
    block = nn.Linear(4, 4)
    module = Call(lambda x: torch.utils.checkpoint.checkpoint(block, x, use_reentrant=reentrant))
    module.block = block
    assert analyse(module, (draw(3, 4).requires_grad_(),)).total_ops == 96
    out = module(draw(3, 4).requires_grad_())  # and still work as they did
    out.sum().backward()
    assert block.weight.grad is not None


def test_a_failing_forward_leaves_no_hooks():
    block = nn.Sequential(nn.Linear(4, 4), Call(lambda _: 1 / 0))
    with pytest.raises(ZeroDivisionError):
        analyse(block, (draw(3, 4),))
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in block.modules())


def test_nothing_is_printed_or_warned(capfd):
    class Warns(nn.Module):
        def forward(self, x):
            return x if x.sum() > 1e9 else torch.cdist(x, x)  # a branch on a value: the tracer warns of it

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        count = analyse(nn.Sequential(nn.Linear(4, 4), Warns(), nn.Linear(3, 3)), (draw(3, 4),))
    assert capfd.readouterr() == ("", "")
    assert count.unsupported == (("aten::cdist", "1", 1),)


def test_travels_as_one_line_of_text():
    count = analyse(nn.Linear(4, 5), (draw(3, 4),))
    line = count.to_json()
    assert "\n" not in line
    assert StaticCount.from_json(line) == count
    huge = StaticCount(counter="x", model="y", total_ops=10**26 + 1, modules=(), work=(), unsupported=())
    assert StaticCount.from_json(huge.to_json()).total_ops == 10**26 + 1


@pytest.mark.parametrize("text", ["", "null", "{}", "[1]", '{"counter": 1}', '{"modules": 3}'])
def test_another_text_is_refused(text):
    with pytest.raises(CountingError, match="not a static count"):
        StaticCount.from_json(text)


def test_without_fvcore_the_error_says_how_to_get_it():
    script = (
        "import sys; sys.modules['fvcore'] = None\n"
        "import torch; from auditor.counting.static import analyse; from auditor.errors import MissingExtra\n"
        "try: analyse(torch.nn.Linear(2, 2), (torch.ones(1, 2),))\n"
        "except MissingExtra as error: print(error, '|', error.remedy)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "fvcore is not installed | Install it with: pip install 'auditor[train]'\n"
