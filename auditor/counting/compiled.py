"""What torch.compile hides: work fused into kernels of its own is seen by no counter of operators."""

from __future__ import annotations

import sys

UNSEEN = "torch.compile::fused_kernels"


def compiled_graphs() -> int:
    """How many graphs torch.compile has compiled in this process; 0 where it was never used."""
    utils = sys.modules.get("torch._dynamo.utils")
    return int(utils.counters["stats"]["unique_graphs"]) if utils is not None else 0
