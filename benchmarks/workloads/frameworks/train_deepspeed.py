"""Trains under DeepSpeed, ZeRO 0 to 3: ``deepspeed --num_gpus 2 train_deepspeed.py STAGE [PRECISION] [BATCHES]``."""

from __future__ import annotations

import argparse

import deepspeed
import torch
from subject import ROWS, STEPS, WIDTH, Mlp, descent

# On a CPU its collectives would build a kernel first, for minutes; without it they go over gloo.
deepspeed.ops.__compatible_ops__.pop("deepspeed_shm_comm", None)
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def main(stage: int, precision: str, micro_batches: int) -> None:
    torch.manual_seed(0)  # it prints weights, and what torch computes for that depends on their values
    model = Mlp()
    config = {
        "train_micro_batch_size_per_gpu": ROWS,
        "gradient_accumulation_steps": micro_batches,
        "zero_optimization": {"stage": stage},
        "zero_allow_untested_optimizer": True,
        "bf16": {"enabled": precision == "bfloat16"},
    }
    engine, _, _, _ = deepspeed.initialize(model=model, optimizer=descent(model), config=config)
    for _ in range(STEPS * micro_batches):
        engine.backward(engine(torch.ones(ROWS, WIDTH, dtype=PRECISIONS[precision])).sum())
        engine.step()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("stage", type=int)
    parser.add_argument("precision", nargs="?", default="float32")
    parser.add_argument("micro_batches", nargs="?", type=int, default=1)
    parser.add_argument("--local_rank", type=int)  # the launcher's
    given = parser.parse_args()
    main(given.stage, given.precision, given.micro_batches)
