"""What the models of Hugging Face's libraries have in common: a vocabulary, a batch, and how they are asked."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

BATCH, LENGTH, VOCABULARY = 2, 16, 128
WIDTH, INNER, LAYERS, HEADS = 64, 128, 2, 4
# Llama's names for the sizes, which most decoders took over.
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}


def tokens(batch: int = BATCH, length: int = LENGTH) -> Tensor:
    return torch.randint(3, VOCABULARY, (batch, length))


def language(batch: int = BATCH, length: int = LENGTH) -> dict[str, Any]:
    """A batch of text that is its own target."""
    text = tokens(batch, length)
    return {"input_ids": text, "labels": text.clone(), "use_cache": False}


def images(size: int, batch: int = BATCH, channels: int = 3) -> Tensor:
    return torch.randn(batch, channels, size, size)
