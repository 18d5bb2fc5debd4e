"""Decoder language models of Transformers with dense layers."""

from __future__ import annotations

from typing import Any

from benchmarks.accuracy.catalogue import Subject, model
from benchmarks.accuracy.models.small import (
    BATCH,
    HEADS,
    INNER,
    LAYERS,
    LENGTH,
    SIZES,
    VOCABULARY,
    WIDTH,
    language,
)

_HEAD = WIDTH // HEADS
_ROWS = BATCH * LENGTH


def gated_ops(key_heads: int = HEADS, *, head: int = _HEAD) -> int:
    """A Llama-like model: projections, full scores, a gated network, the head."""
    projections = 2 * _ROWS * WIDTH * head * (2 * HEADS + 2 * key_heads)
    attention = 4 * BATCH * HEADS * LENGTH**2 * head
    network = 2 * _ROWS * 3 * WIDTH * INNER
    return LAYERS * (projections + attention + network) + 2 * _ROWS * WIDTH * VOCABULARY


def _plain_ops(inner: int = 4 * WIDTH) -> int:
    """A GPT-2-like model: projections, full scores, a two-layer network, the head."""
    block = 8 * _ROWS * WIDTH**2 + 4 * BATCH * LENGTH**2 * WIDTH + 4 * _ROWS * WIDTH * inner
    return LAYERS * block + 2 * _ROWS * WIDTH * VOCABULARY


@model("llama", library="transformers", by_hand=gated_ops(2), compiled=True)
def llama() -> Subject:
    """Llama, 2 layers, width 64, 4 heads over 2 key-value heads."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return Subject(module=LlamaForCausalLM(LlamaConfig(**SIZES, num_key_value_heads=2)), kwargs=language())


@model("mistral", library="transformers", by_hand=gated_ops(2))
def mistral() -> Subject:
    """Mistral with a sliding window of 8; the window's zeros are computed."""
    from transformers import MistralConfig, MistralForCausalLM

    config = MistralConfig(**SIZES, num_key_value_heads=2, head_dim=_HEAD, sliding_window=8)
    return Subject(module=MistralForCausalLM(config), kwargs=language())


@model("qwen2", library="transformers", by_hand=gated_ops(2))
def qwen2() -> Subject:
    """Qwen2."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    return Subject(module=Qwen2ForCausalLM(Qwen2Config(**SIZES, num_key_value_heads=2)), kwargs=language())


@model("qwen3", library="transformers", by_hand=gated_ops(2))
def qwen3() -> Subject:
    """Qwen3: normalised queries and keys."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(**SIZES, num_key_value_heads=2, head_dim=_HEAD)
    return Subject(module=Qwen3ForCausalLM(config), kwargs=language())


@model("gemma", library="transformers", by_hand=gated_ops(1, head=32))
def gemma() -> Subject:
    """Gemma: heads wider than the model divides, one key-value head."""
    from transformers import GemmaConfig, GemmaForCausalLM

    config = GemmaConfig(**SIZES, num_key_value_heads=1, head_dim=32)
    return Subject(module=GemmaForCausalLM(config), kwargs=language())


@model("gemma2", library="transformers", by_hand=gated_ops(2))
def gemma2() -> Subject:
    """Gemma 2: soft caps, a window in every other layer."""
    from transformers import Gemma2Config, Gemma2ForCausalLM

    config = Gemma2Config(**SIZES, num_key_value_heads=2, head_dim=_HEAD, sliding_window=8)
    return Subject(module=Gemma2ForCausalLM(config), kwargs=language())


@model("phi3", library="transformers", by_hand=gated_ops(2))
def phi3() -> Subject:
    """Phi-3: queries, keys and values in one product."""
    from transformers import Phi3Config, Phi3ForCausalLM

    return Subject(module=Phi3ForCausalLM(Phi3Config(**SIZES, num_key_value_heads=2)), kwargs=language())


@model("olmo2", library="transformers", by_hand=gated_ops(2))
def olmo2() -> Subject:
    """OLMo 2: norms after the layers."""
    from transformers import Olmo2Config, Olmo2ForCausalLM

    return Subject(module=Olmo2ForCausalLM(Olmo2Config(**SIZES, num_key_value_heads=2)), kwargs=language())


@model("gpt2", library="transformers", by_hand=_plain_ops(), compiled=True)
def gpt2() -> Subject:
    """GPT-2, 2 layers, width 64."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=VOCABULARY, n_positions=64, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS)
    return Subject(module=GPT2LMHeadModel(config), kwargs=language())


@model("gpt-neox", library="transformers", by_hand=_plain_ops(INNER))
def gpt_neox() -> Subject:
    """GPT-NeoX: attention and network side by side, rotary on a quarter of each head."""
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    return Subject(module=GPTNeoXForCausalLM(GPTNeoXConfig(**SIZES)), kwargs=language())


@model("bloom", library="transformers", by_hand=_plain_ops())
def bloom() -> Subject:
    """BLOOM: biases by distance, attention by baddbmm and bmm."""
    from transformers import BloomConfig, BloomForCausalLM

    config = BloomConfig(vocab_size=VOCABULARY, hidden_size=WIDTH, n_layer=LAYERS, n_head=HEADS)
    return Subject(module=BloomForCausalLM(config), kwargs=language())


@model("falcon", library="transformers")
def falcon() -> Subject:
    """Falcon: one key-value head for all."""
    from transformers import FalconConfig, FalconForCausalLM

    sizes: dict[str, Any] = {name: value for name, value in SIZES.items() if name != "intermediate_size"}
    return Subject(module=FalconForCausalLM(FalconConfig(**sizes)), kwargs=language())


@model("opt", library="transformers", by_hand=_plain_ops(INNER))
def opt() -> Subject:
    """OPT."""
    from transformers import OPTConfig, OPTForCausalLM

    sizes = {name: value for name, value in SIZES.items() if name != "intermediate_size"}
    return Subject(
        module=OPTForCausalLM(OPTConfig(**sizes, ffn_dim=INNER, word_embed_proj_dim=WIDTH)), kwargs=language()
    )
