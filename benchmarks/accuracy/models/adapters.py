"""Fine-tuning of a frozen model through low-rank adapters, by peft."""

from __future__ import annotations

from typing import Any

from benchmarks.accuracy.catalogue import Subject, model
from benchmarks.accuracy.models import decoders, encoders
from benchmarks.accuracy.models.small import BATCH, LAYERS, LENGTH, WIDTH

RANK = 4
# Queries keep the width, Llama's two key-value heads take half of it.
_ADAPTERS = LAYERS * 2 * BATCH * LENGTH * RANK * (WIDTH + WIDTH + WIDTH + WIDTH // 2)


def _adapted(subject: Subject, targets: list[str], **options: Any) -> Subject:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=RANK, lora_alpha=8, target_modules=targets, **options)
    return Subject(module=get_peft_model(subject.module, config), kwargs=subject.kwargs)


@model("lora-llama", library="peft", by_hand=decoders.gated_ops(2) + _ADAPTERS, compiled=True)
def lora_llama() -> Subject:
    """Llama, adapters of rank 4 on queries and values."""
    return _adapted(decoders.llama(), ["q_proj", "v_proj"])


@model("dora-llama", library="peft")
def dora_llama() -> Subject:
    """Llama, weight-decomposed adapters of rank 4 on the whole attention."""
    return _adapted(decoders.llama(), ["q_proj", "k_proj", "v_proj", "o_proj"], use_dora=True)


@model("lora-t5", library="peft")
def lora_t5() -> Subject:
    """T5, adapters of rank 4 on queries and values."""
    return _adapted(encoders.t5(), ["q", "v"])
