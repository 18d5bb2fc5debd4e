"""Trains under Megatron-core's schedules: ``torchrun --nproc-per-node 2 train_megatron.py [PIPELINE_RANKS]``.

Its own data parallelism and optimizer, in a world without pipelining; or a pipeline over two ranks.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import torch
from megatron.core import parallel_state
from megatron.core.enums import ModelType
from megatron.core.pipeline_parallel import get_forward_backward_func
from megatron.core.transformer import TransformerConfig
from subject import HIDDEN, ROWS, STEPS, WIDTH, Mlp, descent
from torch.nn.parallel import DistributedDataParallel

MICRO_BATCHES = 2


def forward_step(
    batches: Iterator[torch.Tensor], model: torch.nn.Module
) -> tuple[torch.Tensor, Callable[[torch.Tensor], tuple[torch.Tensor, dict[str, torch.Tensor]]]]:
    def loss(output: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        total = output.sum()
        return total, {"loss": total.detach()}

    return model(next(batches)), loss


def main(pipeline_ranks: int) -> None:
    torch.distributed.init_process_group("gloo")
    parallel_state.initialize_model_parallel(pipeline_model_parallel_size=pipeline_ranks)
    config = TransformerConfig(
        num_layers=2,
        hidden_size=WIDTH,
        num_attention_heads=1,
        ffn_hidden_size=HIDDEN,
        pipeline_model_parallel_size=pipeline_ranks,
        pipeline_dtype=torch.float32,
        use_cpu_initialization=True,
    )
    model = Mlp() if pipeline_ranks > 1 else DistributedDataParallel(Mlp())
    for part in (model, getattr(model, "module", model)):
        part.config, part.model_type = config, ModelType.encoder_or_decoder
    optimizer = descent(model)
    step = get_forward_backward_func()
    for _ in range(STEPS):
        optimizer.zero_grad()
        step(
            forward_step_func=forward_step,
            data_iterator=iter([torch.ones(ROWS, WIDTH)] * MICRO_BATCHES),
            model=[model],
            num_microbatches=MICRO_BATCHES,
            seq_length=ROWS,
            micro_batch_size=1,
            forward_only=False,
        )
        optimizer.step()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
