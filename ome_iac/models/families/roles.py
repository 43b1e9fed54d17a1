"""What a tensor does and in which layer, told from its name.

Names differ by family (`self_attn.q_proj`, `attn.c_attn`, `attention.wqkv`, `blk.0.attn_q`), but the words in them are
few. A name is cut at its dots; the rules look at whole segments, never at a substring of one, and the first that fits
decides. What no rule knows is `other`: still counted, and shown as such.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from ome_iac.models.metadata import Role


class Place(NamedTuple):
    """Role; the stack the layer belongs to (`decoder`, `encoder` or empty); whether the name counts layers; experts."""

    role: Role
    stack: str
    layer_at: int | None
    """Which of the name's numbers is the layer, if any."""
    expert_at: int | None
    """Which of the name's numbers is the expert, if any."""


_WORDS: tuple[tuple[Role, re.Pattern[str]], ...] = tuple(
    (role, re.compile(rf"(?:^|\.)(?:{words})(?:\.|$)"))
    for role, words in (
        (Role.ADAPTER, r"lora_[A-Za-z_]+|modules_to_save|ia3_l|vera_lambda_[bd]"),
        (Role.MULTI_TOKEN_PREDICTION, r"mtp|mtp_[a-z]+|nextn|eh_proj|shared_head|medusa_head|model_mtp"),
        (
            Role.PROJECTOR,
            r"multi_modal_projector|mm_projector|modality_projection|connector|aligner|resampler|merger|merger_list"
            r"|deepstack_merger_list|img_projection|projector|mlp1|embed_vision|embed_audio|audio_projection"
            r"|patch_merger|vision_adapter|audio_projector|visual_projection|text_projection|language_projection"
            r"|vision_language_adapter|perceiver|qformer|vision_proj|audio_projection_layer|pre_mm_projector_norm"
            r"|gen_aligner|proj1|proj2|image_newline|view_seperator|glb_GN|sub_GN",
        ),
        (
            Role.VISION,
            r"vision_tower|vision_model|visual|visual_tokenizer|vision_encoder|img_processor|image_encoder|vpm|vision"
            r"|image_embed|vit|vision_backbone|image_processor|gen_vision_model|gen_embed|gen_head|image_tower",
        ),
        (
            Role.AUDIO,
            r"audio_tower|audio_encoder|audio_model|audio|audio_embed|apm|speech_encoder|talker|token2wav|code2wav|conv1|conv2",
        ),
        (
            Role.SHARED_EXPERT,
            r"shared_experts?|shared_mlp|ffn_(?:gate|up|down)_shexp|shared_expert_mlp|share_expert|residual_mlp",
        ),
        (
            Role.ROUTER,
            r"router|gate_inp|ffn_gate_inp(?:_shexp)?|shared_expert_gate|e_score_correction_bias|exp_probs_b|moe_statics",
        ),
        (Role.EXPERT, r"experts|ffn_(?:gate|up|down|gate_up)_exps|local_experts"),
        (
            Role.HEAD,
            r"lm_head|embed_out|output_layer|score|classifier|v_head|value_head|qa_outputs|pooler|output|cls|head"
            r"|reward_head|rm_head|classification_head|pre_classifier|projection_layer",
        ),
        (
            Role.EMBEDDING,
            r"embed_tokens(?:_per_layer)?|wte|wpe|word_embeddings?|tok_embeddings|embed_in|embed_positions"
            r"|position_embeddings?|token_type_embeddings?|embeddings?|shared|token_embd|position_embd|token_types"
            r"|per_layer_token_embd|tok_embed|project_in|project_out|embed_proj|rel_embeddings|embeddings_project"
            r"|embedding_hidden_mapping_in|in_out_embed|token_embedding|position_embedding",
        ),
    )
)
_WHOLE_MODEL_HEADS = frozenset({"output", "cls", "head", "pooler", "score", "classifier"})
"""Words that mean a head only outside a layer; `output.dense` inside one is the MLP's or the attention's."""

_NORM = re.compile(
    r"(?:^|\.)(?:[a-z0-9_]*norms?[_\d]*|ln(?:_?[a-z0-9]+)?|[a-z_]*layernorm[a-z_\d]*)(?:\.#)?\.(?:weight|bias|scale|gamma|beta|#|g)?$",
    re.IGNORECASE,
)
_STATE = re.compile(
    r"(?:^|\.)(?:mamba|mamba2|linear_attn|ssm_[a-z0-9_]+|ssm|A_log|D|dt_proj|dt_bias|conv1d|conv|conv_block|short_conv"
    r"|rg_lru|recurrent_block|time_mix|lightning_attn|temporal_block|attn_gate|attn_qkv_z)(?:\.|$)"
)
_ATTENTION = re.compile(
    r"(?:^|\.)(?:self_attn|attn|attention|self_attention|cross_attn|self|crossattention|EncDecAttention|SelfAttention"
    r"|encoder_attn|norm_attn_norm|attention_output|[qkvo]_proj|qkv_proj|wqkv|wq|wk|wv|wo|query_key_value|c_attn"
    r"|attn_[a-z0-9_]+|query|key|value|mixer_attn|multi_head_attention|cross_attn_[a-z_]+|W_pack)(?:\.|$)"
)
_MLP = re.compile(
    r"(?:^|\.)(?:mlp|ffn|feed_forward|intermediate|fc1|fc2|fc_in|fc_out|dense_h_to_4h|dense_4h_to_h|gate_proj|up_proj"
    r"|down_proj|gate_up_proj|DenseReluDense|w1|w2|w3|ffn_[a-z0-9_]+|wi|wi_0|wi_1|wo|moe|block_sparse_moe|Wi|dense"
    r"|output|lin1|lin2|shared_transformer|cross_attn_mlp_gate|c_fc|c_proj)(?:\.|$)"
)
_LAYER = re.compile(
    r"(?:^|\.)(?:layers?|h|blocks?|blk|decoder_layers|encoder_layers|cross_attention_layers|resblocks|layer_stack)\.(#)(?:\.|$)"
)
_EXPERT = re.compile(r"(?:^|\.)(?:experts|local_experts)\.(#)(?:\.|$)")
_MIXER_STATE = re.compile(r"\.mixer\.(?:in_proj|out_proj|x_proj|dt_proj|conv1d|A_log|D|dt_bias|norm)(?:\.|$)")
_ROUTER_GATE = re.compile(
    r"(?:mlp|feed_forward|block_sparse_moe|ffn|moe|mixer|transformer)\.gate(?:\.wg|\.tid2eid)?(?:\.weight|\.bias|\.e_score_correction_bias|$)"
)


def place(name: str) -> tuple[Place, tuple[int, ...]]:
    """What the name says, and the numbers in it."""
    numbers: list[int] = []
    segments = name.split(".")
    for index, segment in enumerate(segments):
        if segment.isdecimal():
            numbers.append(int(segment[:9]))
            segments[index] = "#"
    return _place_of_pattern(".".join(segments)), tuple(numbers)


@lru_cache(maxsize=8192)
def _place_of_pattern(pattern: str) -> Place:
    layer = _LAYER.search(pattern)
    expert = _EXPERT.search(pattern)
    layer_at = pattern.count("#", 0, layer.start(1)) if layer else None
    expert_at = pattern.count("#", 0, expert.start(1)) if expert else None
    role = _role(pattern, layer is not None)
    if role in (Role.VISION, Role.AUDIO, Role.PROJECTOR, Role.ADAPTER):
        return Place(role, "", None, None)
    stack = re.search(r"(?:^|\.)(dec|enc)(?:oder)?\.", pattern) if layer else None
    return Place(role, f"{stack[1]}oder" if stack else "", layer_at, expert_at)


def _role(pattern: str, in_layer: bool) -> Role:
    for role, words in _WORDS:
        found = words.search(pattern)
        if found is None:
            continue
        word = found[0].strip(".")
        if role is Role.HEAD and in_layer and word in _WHOLE_MODEL_HEADS:
            continue
        if role is Role.EMBEDDING and (in_layer or _NORM.search(pattern)):
            continue
        return role
    if pattern.startswith(("v.", "mm.")):  # a GGUF projector file
        return Role.VISION if pattern.startswith("v.") else Role.PROJECTOR
    if _ROUTER_GATE.search(pattern):
        return Role.ROUTER
    if _NORM.search(pattern):
        return Role.NORM
    if _STATE.search(pattern) or _MIXER_STATE.search(pattern):
        return Role.STATE
    if _ATTENTION.search(pattern):
        return Role.ATTENTION
    if _MLP.search(pattern):
        return Role.MLP
    return Role.OTHER
