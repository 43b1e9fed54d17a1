"""What a model is for, and the evidence for it."""

from __future__ import annotations

from typing import Any

import pytest

from ome_iac.models.config_files import ConfigFiles
from ome_iac.models.families import Description, describe
from ome_iac.models.metadata import Source
from tests.unit.published import LARGE, PUBLISHED, Config, bert_like, decoder, llama, of
from tests.unit.test_quantization import table

KNOWN = {model.name: model.config for model in PUBLISHED}
SMALL = llama(64, 128, 2, 4, 4, 256)
TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"


def described(config: Config | None, **others: Any) -> Description:
    files = {path.replace("__", "."): content for path, content in others.items()}
    return describe(ConfigFiles(files if config is None else {"config.json": config, **files}), None)


def named(made: Description) -> list[str]:
    return [capability.value for capability in made.capabilities]


def test_a_chat_template_makes_a_chat_model() -> None:
    made = described(SMALL, tokenizer_config__json={"chat_template": TEMPLATE})
    assert named(made) == ["chat", "completion"]
    assert made.provenance["capabilities.chat"].file == "tokenizer_config.json"
    assert made.provenance["capabilities.completion"].detail == "architecture LlamaForCausalLM"


def test_without_a_template_it_completes() -> None:
    made = described(SMALL)
    assert named(made) == ["completion"]
    assert any("tokenizer_config.json" in reason for reason in made.missing)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("chat_template.jinja", TEMPLATE),
        ("chat_template.json", {"chat_template": TEMPLATE}),
        ("tokenizer_config.json", {"chat_template": [{"name": "default", "template": TEMPLATE}]}),
    ],
)
def test_templates_are_found_wherever_they_are(path: str, content: Any) -> None:
    made = describe(ConfigFiles({"config.json": SMALL, path: content}), None)
    assert named(made) == ["chat", "completion"]
    assert made.provenance["capabilities.chat"].file == path


def test_tools_and_reasoning_from_the_template() -> None:
    template = TEMPLATE + "{% if tools %}{{ tools }}{% endif %}{% if enable_thinking %}<think>{% endif %}"
    made = described(SMALL, tokenizer_config__json={"chat_template": template})
    assert named(made) == ["chat", "completion", "tools", "reasoning"]


def test_a_mistral_is_no_embedding_model() -> None:
    for config in (KNOWN["Mixtral-8x7B"], decoder("mistral", "MistralForCausalLM", 64, 128, 2, 4, 2, 256)):
        assert "embedding" not in named(described(config))


def test_a_decoder_without_a_head_is_one() -> None:
    made = described(decoder("mistral", "MistralModel", 64, 128, 2, 4, 2, 256))
    assert named(made) == ["embedding"]


@pytest.mark.parametrize("architecture", ["RobertForCausalLM", "AlbertusForCausalLM", "BertilForCausalLM"])
def test_bert_inside_a_name_means_nothing(architecture: str) -> None:
    assert named(described({**SMALL, "architectures": [architecture]})) == ["completion"]


def test_encoders_embed() -> None:
    for name in ("bert-base-uncased", "bge-m3", "nomic-embed-text-v1.5", "gte-large-en-v1.5", "all-mpnet-base-v2"):
        assert named(described(KNOWN[name])) == ["embedding"], name


def test_a_masked_language_model_alone_does_not() -> None:
    made = described(KNOWN["ModernBERT-base"])
    assert named(made) == []
    assert any(reason.startswith("capabilities:") for reason in made.missing)


def test_a_pooling_layer_makes_an_embedding_model_of_a_generator() -> None:
    modules = [
        {"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    made = described(SMALL, modules__json=modules, tokenizer_config__json={"chat_template": TEMPLATE})
    assert named(made) == ["embedding"]
    assert made.provenance["capabilities.embedding"].file == "modules.json"


def test_one_score_is_a_rerankers_or_a_reward_models() -> None:
    one = {"id2label": {"0": "LABEL_0"}}
    assert named(described(KNOWN["bge-reranker-v2-m3"])) == ["rerank"]
    assert named(described({**SMALL, "architectures": ["LlamaForSequenceClassification"], **one})) == ["reward"]
    tagged = {"tags": ["reward-model"]}
    encoder = bert_like("bert", "BertForSequenceClassification", 1000, **one, **LARGE)
    assert named(described(encoder, README__md=tagged)) == ["reward"]


def test_several_labels_are_classes() -> None:
    labels = {"id2label": {"0": "negative", "1": "positive"}}
    made = described(bert_like("distilbert", "DistilBertForSequenceClassification", 1000, **labels))
    assert named(made) == ["classification"]


@pytest.mark.parametrize(
    "architecture", ["InternLM2ForRewardModel", "Qwen2ForRewardModel", "Qwen2ForProcessRewardModel"]
)
def test_reward_architectures(architecture: str) -> None:
    assert named(described(decoder("qwen2", architecture, 64, 128, 2, 4, 2, 256))) == ["reward"]


def test_a_reranker_by_its_card() -> None:
    made = described(SMALL, README__md={"pipeline_tag": "text-ranking"})
    assert named(made) == ["rerank"]
    assert made.provenance["capabilities.rerank"].source is Source.CARD


def test_vision_and_video() -> None:
    config = {**KNOWN["Qwen2-VL-7B"], "video_token_id": 151656}
    assert named(described(config)) == ["completion", "vision", "video"]
    assert named(described(KNOWN["gemma-3-27b-it"])) == ["completion", "vision"]
    assert named(described(KNOWN["InternVL2_5-8B"])) == ["completion", "vision"]


def test_audio() -> None:
    assert named(described(KNOWN["Qwen2-Audio-7B"])) == ["completion", "audio-input"]
    assert named(described(KNOWN["whisper-large-v3"])) == ["audio-input"]


def test_omni_hears_sees_and_speaks() -> None:
    config = {
        "model_type": "qwen2_5_omni",
        "architectures": ["Qwen2_5OmniForConditionalGeneration"],
        "thinker_config": {
            "model_type": "qwen2_5_omni_thinker",
            "text_config": {"model_type": "qwen2_5_omni_text", "dtype": "bfloat16"},
            "vision_config": {"model_type": "qwen2_5_omni_vision_encoder"},
            "audio_config": {"model_type": "qwen2_5_omni_audio_encoder"},
            "video_token_index": 151656,
        },
        "talker_config": {"model_type": "qwen2_5_omni_talker"},
    }
    made = described(config)
    assert named(made) == ["completion", "vision", "video", "audio-input", "audio-output"]
    assert made.layers == 28


def test_contrastive_towers_embed() -> None:
    assert named(described(KNOWN["clip-vit-large-patch14"])) == ["embedding", "vision"]


@pytest.mark.parametrize(
    ("pipeline", "wanted"),
    [
        ("StableDiffusion3Pipeline", ["image-output"]),
        ("FluxPipeline", ["image-output"]),
        ("WanPipeline", ["video", "image-output"]),
        ("StableAudioPipeline", ["audio-output"]),
    ],
)
def test_diffusion(pipeline: str, wanted: list[str]) -> None:
    made = described(None, model_index__json={"_class_name": pipeline, "_diffusers_version": "0.31.0"})
    assert named(made) == wanted
    assert (made.architecture, made.framework, made.framework_version) == (pipeline, "diffusers", "0.31.0")
    assert made.parameters is None


@pytest.mark.parametrize(
    "config",
    [
        {**SMALL, "architectures": ["LlamaForCausalLMEagle3"]},
        {**SMALL, "architectures": ["EagleLlamaForCausalLM"]},
        {**SMALL, "architectures": ["MedusaModel"]},
        {**SMALL, "draft_vocab_size": 32000},
    ],
)
def test_drafts(config: Config) -> None:
    assert named(described(config)) == ["draft"]


def test_an_adapter_names_its_base() -> None:
    adapter = {
        "base_model_name_or_path": "meta-llama/Llama-3.1-8B",
        "peft_type": "LORA",
        "r": 16,
        "target_modules": ["v_proj", "q_proj"],
    }
    rows = [
        (f"base_model.model.model.layers.{layer}.self_attn.q_proj.lora_{side}.weight", "BF16", shape)
        for layer in range(2)
        for side, shape in (("A", (16, 64)), ("B", (64, 16)))
    ]
    made = describe(ConfigFiles({"adapter_config.json": adapter}), table(rows))
    assert named(made) == ["adapter"]
    assert made.provenance["capabilities.adapter"].detail == (
        "LORA on meta-llama/Llama-3.1-8B, rank 16, targets q_proj, v_proj"
    )
    assert made.parameters is not None
    assert made.parameters.total == 4 * 16 * 64
    assert made.missing == ()


def test_remote_code_is_a_warning_never_an_import() -> None:
    made = described({**SMALL, "auto_map": {"AutoModelForCausalLM": "modeling_evil.Evil"}})
    assert any("modeling_evil" in warning and "--trust-remote-code" in warning for warning in made.warnings)
    assert made.parameters is not None


def test_licence_from_the_card() -> None:
    made = described(SMALL, README__md={"license": "apache-2.0"})
    assert (made.licence, made.provenance["licence"].source) == ("apache-2.0", Source.CARD)
    other = described(SMALL, README__md={"license": "other", "license_name": "gemma"})
    assert other.licence == "gemma"
    assert described(SMALL).licence is None


@pytest.mark.parametrize("card", [{"license": 3}, {"tags": "text"}, {"tags": [1, None]}, {"pipeline_tag": []}])
def test_a_strange_card_is_survived(card: Config) -> None:
    assert named(described(SMALL, README__md=card)) == ["completion"]


def test_chatglm_generates_though_its_class_is_called_model() -> None:
    assert named(described(KNOWN["ChatGLM3-6B"])) == ["completion"]
    assert named(described(of("bart", "BartModel", d_model=64))) == []
