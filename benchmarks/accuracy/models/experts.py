"""Mixtures of experts, and attention through a latent (DeepSeek)."""

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
    tokens,
)

EXPERTS, CHOSEN, NARROW = 4, 2, 48
_EXPERTS: dict[str, Any] = {
    "num_experts": EXPERTS,
    "num_experts_per_tok": CHOSEN,
    "moe_intermediate_size": NARROW,
}
_LATENT: dict[str, Any] = {
    "q_lora_rank": 32,
    "kv_lora_rank": 24,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 16,
    "n_routed_experts": EXPERTS,
    "num_experts_per_tok": CHOSEN,
    "n_shared_experts": 1,
    "moe_intermediate_size": NARROW,
    "first_k_dense_replace": 1,
    "n_group": 2,
    "topk_group": 1,
}
_ROWS = BATCH * LENGTH
_HEAD_OPS = 2 * _ROWS * WIDTH * VOCABULARY


def _gated(inner: int) -> int:
    """One gated network for every row."""
    return 2 * _ROWS * 3 * WIDTH * inner


def _mixture_ops(inner: int, shared_ops: int = 0) -> int:
    """A Llama-like model of 4 heads over 2, whose networks are the chosen experts, their router and what all share."""
    attention = 2 * _ROWS * WIDTH * 16 * (2 * HEADS + 2 * 2) + 4 * BATCH * HEADS * LENGTH**2 * 16
    experts = CHOSEN * _gated(inner) + 2 * _ROWS * WIDTH * EXPERTS + shared_ops
    return LAYERS * (attention + experts) + _HEAD_OPS


def _latent_ops() -> int:
    """DeepSeek: queries through 32 and keys and values through 24 + 8 numbers, heads of 16 + 8; one dense layer."""
    down = WIDTH * (32 + 24 + 8)
    up = 32 * HEADS * (16 + 8) + 24 * HEADS * (16 + 16)
    attention = 2 * _ROWS * (down + up + HEADS * 16 * WIDTH) + 2 * BATCH * HEADS * LENGTH**2 * (16 + 8 + 16)
    mixture = (CHOSEN + 1) * _gated(NARROW) + 2 * _ROWS * WIDTH * EXPERTS
    return LAYERS * attention + _gated(INNER) + mixture + _HEAD_OPS


def _mixtral(how: str) -> Subject:
    from transformers import MixtralConfig, MixtralForCausalLM

    config = MixtralConfig(**SIZES, num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2)
    config._experts_implementation = how  # noqa: SLF001 - the library's own name for it
    return Subject(module=MixtralForCausalLM(config), kwargs=language())


@model("mixtral", library="transformers", by_hand=_mixture_ops(INNER))
def mixtral() -> Subject:
    """Mixtral, 2 of 4 experts, by one grouped product."""
    return _mixtral("grouped_mm")


@model("mixtral-eager", library="transformers", by_hand=_mixture_ops(INNER))
def mixtral_eager() -> Subject:
    """Mixtral, 2 of 4 experts, one after the other."""
    return _mixtral("eager")


@model("mixtral-batched", library="transformers", by_hand=_mixture_ops(INNER))
def mixtral_batched() -> Subject:
    """Mixtral, 2 of 4 experts, by batched products."""
    return _mixtral("batched_mm")


@model("qwen2-moe", library="transformers", by_hand=_mixture_ops(NARROW, _gated(NARROW) + 2 * _ROWS * WIDTH))
def qwen2_moe() -> Subject:
    """Qwen2-MoE: 2 of 4 experts and a shared one."""
    from transformers import Qwen2MoeConfig, Qwen2MoeForCausalLM

    config = Qwen2MoeConfig(**SIZES, **_EXPERTS, num_key_value_heads=2, shared_expert_intermediate_size=48)
    return Subject(module=Qwen2MoeForCausalLM(config), kwargs=language())


@model("qwen3-moe", library="transformers", by_hand=_mixture_ops(NARROW))
def qwen3_moe() -> Subject:
    """Qwen3-MoE: 2 of 4 experts."""
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    config = Qwen3MoeConfig(**SIZES, **_EXPERTS, num_key_value_heads=2, head_dim=16)
    return Subject(module=Qwen3MoeForCausalLM(config), kwargs=language())


@model("deepseek-v2", library="transformers", by_hand=_latent_ops())
def deepseek_v2() -> Subject:
    """DeepSeek-V2: latent attention, a dense layer, then 2 of 4 experts and a shared one."""
    from transformers import DeepseekV2Config, DeepseekV2ForCausalLM

    config = DeepseekV2Config(**SIZES, **_LATENT)
    return Subject(module=DeepseekV2ForCausalLM(config), kwargs=language())


@model("deepseek-v3", library="transformers", by_hand=_latent_ops(), compiled=True)
def deepseek_v3() -> Subject:
    """DeepSeek-V3: latent attention, a dense layer, then 2 of 4 experts and a shared one."""
    from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

    config = DeepseekV3Config(**SIZES, **_LATENT)
    return Subject(module=DeepseekV3ForCausalLM(config), kwargs=language())


@model("gpt-oss", library="transformers", by_hand=_mixture_ops(INNER))
def gpt_oss() -> Subject:
    """gpt-oss: attention sinks, 2 of 4 experts, a window in every other layer."""
    from transformers import GptOssConfig, GptOssForCausalLM

    config = GptOssConfig(
        **SIZES, num_key_value_heads=2, head_dim=16, num_local_experts=4, num_experts_per_tok=2, sliding_window=8
    )
    return Subject(module=GptOssForCausalLM(config), kwargs=language())


@model("switch-transformer", library="transformers")
def switch_transformer() -> Subject:
    """Switch Transformer: an encoder-decoder with 1 of 4 experts."""
    from transformers import SwitchTransformersConfig, SwitchTransformersForConditionalGeneration

    config = SwitchTransformersConfig(
        vocab_size=128,
        d_model=64,
        d_kv=16,
        d_ff=128,
        num_layers=2,
        num_decoder_layers=2,
        num_heads=4,
        num_experts=4,
        pad_token_id=0,
        decoder_start_token_id=0,
    )
    return Subject(
        module=SwitchTransformersForConditionalGeneration(config),
        kwargs={"input_ids": tokens(), "labels": tokens(), "use_cache": False},
    )
