"""What tensor names say, over the spellings of real checkpoints."""

from __future__ import annotations

import pytest

from ome_iac.models.families.roles import place
from ome_iac.models.metadata import Role

NAMES: tuple[tuple[Role, int | None, tuple[str, ...]], ...] = (
    (
        Role.EMBEDDING,
        None,
        (
            "model.embed_tokens.weight",
            "transformer.wte.weight",
            "transformer.wpe.weight",
            "wpe.weight",
            "gpt_neox.embed_in.weight",
            "model.tok_embeddings.weight",
            "transformer.embedding.word_embeddings.weight",
            "bert.embeddings.word_embeddings.weight",
            "embeddings.position_embeddings.weight",
            "roberta.embeddings.token_type_embeddings.weight",
            "shared.weight",
            "backbone.embeddings.weight",
            "token_embd.weight",
            "language_model.model.embed_tokens.weight",
            "model.language_model.embed_tokens_per_layer.weight",
            "model.decoder.embed_positions.weight",
        ),
    ),
    (
        Role.HEAD,
        None,
        (
            "lm_head.weight",
            "lm_head.bias",
            "embed_out.weight",
            "output.weight",
            "transformer.output_layer.weight",
            "score.weight",
            "classifier.out_proj.weight",
            "v_head.weight",
            "bert.pooler.dense.weight",
            "cls.predictions.transform.dense.weight",
            "language_model.lm_head.weight",
        ),
    ),
    (
        Role.ATTENTION,
        3,
        (
            "model.layers.3.self_attn.q_proj.weight",
            "model.layers.3.self_attn.kv_a_proj_with_mqa.weight",
            "model.layers.3.self_attn.sinks",
            "transformer.h.3.attn.c_attn.weight",
            "transformer.h.3.self_attention.query_key_value.weight",
            "gpt_neox.layers.3.attention.dense.weight",
            "model.layers.3.attention.wqkv.weight",
            "transformer.blocks.3.norm_attn_norm.attn.Wqkv.weight",
            "bert.encoder.layer.3.attention.self.query.weight",
            "bert.encoder.layer.3.attention.output.dense.weight",
            "encoder.block.3.layer.0.SelfAttention.v.weight",
            "decoder.block.3.layer.1.EncDecAttention.q.weight",
            "blk.3.attn_q.weight",
            "blk.3.attn_output.weight",
            "language_model.model.layers.3.cross_attn.k_proj.weight",
            "backbone.layers.3.mixer.o_proj.weight",
            "model.layers.3.self_attn.q_proj.qweight",
            "model.layers.3.self_attn.q_proj.scales",
        ),
    ),
    (
        Role.MLP,
        7,
        (
            "model.layers.7.mlp.gate_proj.weight",
            "model.layers.7.mlp.gate_up_proj.weight",
            "transformer.h.7.mlp.c_fc.weight",
            "model.layers.7.feed_forward.w1.weight",
            "bert.encoder.layer.7.intermediate.dense.weight",
            "bert.encoder.layer.7.output.dense.weight",
            "encoder.block.7.layer.1.DenseReluDense.wi_0.weight",
            "model.decoder.layers.7.fc1.weight",
            "blk.7.ffn_up.weight",
            "backbone.layers.7.mixer.up_proj.weight",
            "layers.7.mlp.Wi.weight",
        ),
    ),
    (
        Role.EXPERT,
        5,
        (
            "model.layers.5.mlp.experts.17.down_proj.weight",
            "model.layers.5.block_sparse_moe.experts.0.w1.weight",
            "model.layers.5.mlp.experts.gate_up_proj_blocks",
            "model.layers.5.mlp.experts.gate_up_proj_bias",
            "language_model.model.layers.5.feed_forward.experts.down_proj",
            "transformer.blocks.5.ffn.experts.mlp.w1",
            "blk.5.ffn_gate_exps.weight",
            "backbone.layers.5.mixer.experts.3.up_proj.weight",
        ),
    ),
    (
        Role.SHARED_EXPERT,
        5,
        (
            "model.layers.5.mlp.shared_expert.up_proj.weight",
            "model.layers.5.mlp.shared_experts.up_proj.weight",
            "model.layers.5.shared_mlp.input_linear.weight",
            "blk.5.ffn_up_shexp.weight",
        ),
    ),
    (
        Role.ROUTER,
        5,
        (
            "model.layers.5.mlp.gate.weight",
            "model.layers.5.mlp.gate.e_score_correction_bias",
            "model.layers.5.block_sparse_moe.gate.weight",
            "model.layers.5.mlp.router.bias",
            "model.layers.5.mlp.shared_expert_gate.weight",
            "transformer.blocks.5.ffn.router.layer.weight",
            "model.layers.5.mlp.gate.wg.weight",
            "blk.5.ffn_gate_inp.weight",
            "backbone.layers.5.mixer.gate.weight",
        ),
    ),
    (
        Role.NORM,
        2,
        (
            "model.layers.2.input_layernorm.weight",
            "model.layers.2.self_attn.q_norm.weight",
            "transformer.h.2.ln_1.weight",
            "bert.encoder.layer.2.output.LayerNorm.bias",
            "blk.2.attn_norm.weight",
            "model.layers.2.mamba.dt_layernorm.weight",
            "transformer.blocks.2.norm_attn_norm.norm_1.weight",
            "encoder.block.2.layer.0.layer_norm.weight",
            "backbone.layers.2.norm.weight",
        ),
    ),
    (
        Role.NORM,
        None,
        ("model.norm.weight", "transformer.ln_f.weight", "bert.embeddings.LayerNorm.weight", "output_norm.weight"),
    ),
    (
        Role.STATE,
        4,
        (
            "model.layers.4.linear_attn.in_proj_qkvz.weight",
            "model.layers.4.mamba.A_log",
            "backbone.layers.4.mixer.conv1d.weight",
            "backbone.layers.4.mixer.in_proj.weight",
            "model.layers.4.conv.in_proj.weight",
        ),
    ),
    (
        Role.VISION,
        None,
        (
            "vision_tower.vision_model.encoder.layers.3.self_attn.q_proj.weight",
            "visual.blocks.3.attn.qkv.weight",
            "model.visual.blocks.3.mlp.linear_fc1.weight",
            "vision_model.transformer.layers.0.mlp.fc1.weight",
            "model.vision_embed_tokens.img_processor.vision_model.encoder.layers.1.mlp.fc1.weight",
            "vpm.encoder.layers.3.mlp.fc1.weight",
            "v.blk.3.attn_q.weight",
        ),
    ),
    (
        Role.PROJECTOR,
        None,
        (
            "multi_modal_projector.linear_1.weight",
            "visual.merger.mlp.0.weight",
            "visual.deepstack_merger_list.0.linear_fc1.weight",
            "mlp1.0.weight",
            "model.mm_projector.0.weight",
            "resampler.query",
            "model.vision_embed_tokens.img_projection.0.weight",
            "mm.0.weight",
        ),
    ),
    (Role.AUDIO, None, ("audio_tower.layers.0.self_attn.q_proj.weight", "thinker.audio_tower.conv1.weight")),
    (
        Role.ADAPTER,
        None,
        (
            "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
            "model.layers.0.self_attn.qkv_proj.lora_B.speech.weight",
        ),
    ),
    (Role.MULTI_TOKEN_PREDICTION, 61, ("model.layers.61.eh_proj.weight", "model.layers.61.shared_head.head.weight")),
    (Role.MULTI_TOKEN_PREDICTION, 0, ("mtp.layers.0.mlp.gate_proj.weight",)),
    (Role.MULTI_TOKEN_PREDICTION, None, ("mtp.fc.weight",)),
)


@pytest.mark.parametrize(
    ("role", "layer", "name"), [(role, layer, name) for role, layer, names in NAMES for name in names]
)
def test_role_and_layer(role: Role, layer: int | None, name: str) -> None:
    spot, numbers = place(name)
    assert spot.role is role
    assert (numbers[spot.layer_at] if spot.layer_at is not None else None) == layer


def test_expert_numbers_are_found() -> None:
    spot, numbers = place("model.layers.5.mlp.experts.17.down_proj.weight")
    assert spot.expert_at is not None
    assert numbers[spot.expert_at] == 17


@pytest.mark.parametrize(
    ("name", "stack"),
    [
        ("model.encoder.layers.0.fc1.weight", "encoder"),
        ("model.decoder.layers.0.fc1.weight", "decoder"),
        ("model.layers.0.mlp.up_proj.weight", ""),
        ("cls.predictions.decoder.weight", ""),
    ],
)
def test_stacks(name: str, stack: str) -> None:
    assert place(name)[0].stack == stack


@pytest.mark.parametrize("name", ["", ".", "....", "weight", "9" * 500, "a." * 5000, "layers.999999999999999999.x"])
def test_any_name_is_answered(name: str) -> None:
    place(name)
