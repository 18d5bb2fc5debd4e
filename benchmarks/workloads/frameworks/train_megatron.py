"""Trains under Megatron-core's schedule without pipelining: ``torchrun --nproc-per-node 2 train_megatron.py``."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import torch
from megatron.core import ModelParallelConfig, parallel_state
from megatron.core.pipeline_parallel import get_forward_backward_func
from subject import ROWS, STEPS, WIDTH, Mlp, descent
from torch.nn.parallel import DistributedDataParallel

MICRO_BATCHES = 2
