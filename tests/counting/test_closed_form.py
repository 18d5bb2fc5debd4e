"""Matrix operations of the real workload against the closed form, worked out by hand, to the last operation.

Per batch of B windows of C bytes, width w, L blocks, V = 256 bytes of vocabulary; T = B*C tokens; multiply-add = 2.

======================  ==================================================================
a block's products      qkv 6Tw^2, out 2Tw^2, two-layer network 8Tw^2 + 8Tw^2: 24Tw^2
a block's attention     QK^T and PV over full C x C scores: 4BC^2w
head                    2TwV
======================  ==================================================================

Backward: twice each product (towards the input and towards the weight), four products of attention: 8BC^2w; the CPU's
flash kernel computes the scores a second time: 2BC^2w more.
"""

from __future__ import annotations

import pytest
import torch

import auditor
from auditor.operations import Family, Operations

LAYERS, HEADS, WIDTH, CONTEXT, BATCH, ACCUMULATE, STEPS = 3, 2, 32, 48, 2, 2, 2
T = BATCH * CONTEXT
BLOCK = 24 * T * WIDTH**2
LAST_LINEAR = 8 * T * WIDTH**2  # the block's last product
ATTENTION = 4 * BATCH * CONTEXT**2 * WIDTH
HEAD = 2 * T * WIDTH * 256
SCORES_AGAIN = 2 * BATCH * CONTEXT**2 * WIDTH


def run(train_gpt, *, accumulate=ACCUMULATE, steps=STEPS, bf16=False, fused=None, evaluate=False, **model_options):
    torch.manual_seed(0)
    model = train_gpt.build_model(layers=LAYERS, heads=HEADS, width=WIDTH, context=CONTEXT, **model_options)
    optimizer = train_gpt.build_optimizer(model, 1e-3, fused=fused)
    text = torch.randint(256, (4000,), dtype=torch.uint8)
    batches = train_gpt.endless_batches(text, BATCH, CONTEXT, torch.Generator().manual_seed(0), torch.device("cpu"))
    with auditor.count() as counted:
        for _ in range(steps):
            train_gpt.train_step(model, optimizer, batches, accumulate=accumulate, bf16=bf16)
        if evaluate:
            train_gpt.evaluate(model, text, BATCH, CONTEXT, torch.device("cpu"))
    assert counted.unpriced == {}
    return counted.operations


def matmul(operations: Operations, phase: str) -> int:
    return operations.select(phases=[phase], families=[Family.MATMUL]).executed_ops


def attention(operations: Operations, phase: str) -> auditor.Amount:
    return operations.select(phases=[phase], families=[Family.ATTENTION])


@pytest.mark.parametrize("accumulate", [1, 2, 3])
def test_plain_with_accumulation(train_gpt, accumulate):
    operations = run(train_gpt, accumulate=accumulate)
    batches = STEPS * accumulate
    assert matmul(operations, "forward") == batches * (LAYERS * BLOCK + HEAD)
    assert matmul(operations, "backward") == batches * 2 * (LAYERS * BLOCK + HEAD)
    assert attention(operations, "forward").executed_ops == batches * LAYERS * ATTENTION
    assert attention(operations, "backward").algorithmic_ops == batches * LAYERS * 2 * ATTENTION
    assert attention(operations, "backward").repeated_ops == batches * LAYERS * SCORES_AGAIN
    for phase in ("recompute", "optimizer", "inference"):
        assert operations.select(phases=[phase], families=[Family.MATMUL, Family.ATTENTION]).executed_ops == 0


def test_checkpointing_with_early_stop_leaves_out_the_last_product(train_gpt):
    operations = run(train_gpt, checkpointing="non-reentrant")
    batches = STEPS * ACCUMULATE
    assert matmul(operations, "forward") == batches * (LAYERS * BLOCK + HEAD)
    assert matmul(operations, "recompute") == batches * LAYERS * (BLOCK - LAST_LINEAR)
    assert attention(operations, "recompute").executed_ops == batches * LAYERS * ATTENTION
    assert matmul(operations, "backward") == batches * 2 * (LAYERS * BLOCK + HEAD)
    assert matmul(operations, "inference") == 0


def test_reentrant_checkpointing_runs_the_whole_block_again(train_gpt):
    operations = run(train_gpt, checkpointing="reentrant")
    batches = STEPS * ACCUMULATE
    assert matmul(operations, "forward") == batches * (LAYERS * BLOCK + HEAD)
    assert matmul(operations, "recompute") == batches * LAYERS * BLOCK
    assert attention(operations, "recompute").executed_ops == batches * LAYERS * ATTENTION
    assert matmul(operations, "backward") == batches * 2 * (LAYERS * BLOCK + HEAD)
    assert matmul(operations, "inference") == 0


def test_frozen_block_above_a_trained_embedding_loses_its_weight_gradients(train_gpt):
    operations = run(train_gpt, freeze=1)
    batches = STEPS * ACCUMULATE
    assert matmul(operations, "backward") == batches * (2 * ((LAYERS - 1) * BLOCK + HEAD) + BLOCK)
    assert attention(operations, "backward").algorithmic_ops == batches * LAYERS * 2 * ATTENTION


def test_frozen_block_above_a_frozen_embedding_has_no_backward(train_gpt):
    operations = run(train_gpt, freeze=1, freeze_embedding=True)
    batches = STEPS * ACCUMULATE
    assert matmul(operations, "forward") == batches * (LAYERS * BLOCK + HEAD)
    assert matmul(operations, "backward") == batches * 2 * ((LAYERS - 1) * BLOCK + HEAD)
    assert attention(operations, "backward").algorithmic_ops == batches * (LAYERS - 1) * 2 * ATTENTION


def test_evaluation_is_inference(train_gpt):
    operations = run(train_gpt, evaluate=True)
    assert matmul(operations, "inference") == train_gpt.EVAL_BATCHES * (LAYERS * BLOCK + HEAD)
    assert attention(operations, "inference").executed_ops == train_gpt.EVAL_BATCHES * LAYERS * ATTENTION


def test_autocast_moves_the_products_to_bfloat16_and_changes_no_amount(train_gpt):
    plain, mixed = run(train_gpt), run(train_gpt, bf16=True)
    for phase in ("forward", "backward"):
        assert matmul(mixed, phase) == matmul(plain, phase)
        assert attention(mixed, phase) == attention(plain, phase)
    products = {bucket.precision for bucket, _ in mixed if bucket.family is Family.MATMUL}
    assert products == {"bfloat16"}


def test_a_fused_optimizer_costs_what_the_plain_one_does(train_gpt):
    """To the operation, but for the decay of parameters that have none: a tally does not hold the fused rate."""
    plain, fused = run(train_gpt), run(train_gpt, fused=True)
    assert matmul(plain, "optimizer") == matmul(fused, "optimizer") == 0
    model = train_gpt.build_model(layers=LAYERS, heads=HEADS, width=WIDTH, context=CONTEXT)
    undecayed = sum(parameter.numel() for parameter in model.parameters() if parameter.dim() < 2)
    assert fused.by_phase["optimizer"] - plain.by_phase["optimizer"] == STEPS * undecayed


def test_the_causal_half_is_known_to_be_skippable(train_gpt):
    operations = run(train_gpt, accumulate=1, steps=1)
    masked = CONTEXT * (CONTEXT - 1) // 2
    amount = attention(operations, "forward")
    assert amount.skippable_ops == LAYERS * 4 * BATCH * WIDTH * masked
