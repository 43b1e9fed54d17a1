"""What a model is for, each capability with the evidence it rests on.

Evidence are the files sentence-transformers, PEFT and diffusers put beside the weights, the architecture's suffix, the
towers in the config, the chat template, and the card's tags. Never a part of a name: `bert` is in `Colbert` and
`albert`, and a Mistral is no embedding model for being called one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ome_iac.models.config_files import CARD, ConfigFiles
from ome_iac.models.families.encoder_decoders import LAYOUTS as ENCODER_DECODERS
from ome_iac.models.families.encoders import LAYOUTS as ENCODERS
from ome_iac.models.families.levels import Levels
from ome_iac.models.metadata import Capability, Evidence, Source

Found = dict[Capability, Evidence]

_GENERATES = re.compile(r"(?:CausalLM|LMHeadModel|ForConditionalGeneration|ForCausalLMWithValueHead)$")
_DRAFTS = re.compile(r"(?:Eagle|EAGLE|Medusa|MLPSpeculator|HASS|NextN|MTPModel|DFlash)")
_REWARDS = re.compile(r"(?:RewardModel|ForReward)$")
_SPEECH = frozenset(
    {"whisper", "wav2vec2", "hubert", "speech_to_text", "moonshine", "parakeet_ctc", "parakeet_encoder"}
)
_VIDEO_KEYS = ("video_token_id", "video_token_index", "video_token", "video_start_token_id")
_VIDEO_PIPELINES = re.compile(r"Video|^Wan|^LTX|Mochi|Cosmos|AnimateDiff")
_AUDIO_PIPELINES = re.compile(r"Audio|Music")


def capabilities(files: ConfigFiles, raw: Mapping[str, Any], levels: Levels, architecture: str) -> Found:
    """All that is proven; empty where nothing is."""
    if files.object("adapter_config.json") is not None and not raw:
        return {Capability.ADAPTER: adapter_evidence(files)}
    if (pipeline := files.object("model_index.json")) is not None:
        return _diffusion(pipeline)
    found: Found = {}
    family = levels.text.model_type
    if _DRAFTS.search(architecture) or raw.get("speculators_model_type") or raw.get("draft_vocab_size"):
        why = architecture if _DRAFTS.search(architecture) else "a draft vocabulary"
        return {Capability.DRAFT: _config(f"architecture {why}")}
    found.update(_modalities(files, raw, levels, family))
    if (pooling := _pooling(files)) is not None:
        return {Capability.EMBEDDING: pooling, **found}
    found.update(_task(files, raw, levels, architecture, family))
    if Capability.CHAT in found:
        found.update(_template(files))
    return dict(sorted(found.items(), key=lambda item: list(Capability).index(item[0])))


def adapter_evidence(files: ConfigFiles) -> Evidence:
    """PEFT's config: the base, the rank, the targets."""
    config = files.object("adapter_config.json") or {}
    targets = config.get("target_modules")
    listed = ", ".join(sorted(map(str, targets))) if isinstance(targets, list) else str(targets or "")
    base, rank = config.get("base_model_name_or_path"), config.get("r")
    detail = f"{config.get('peft_type', 'LORA')} on {base or 'an unnamed base'}, rank {rank}, targets {listed}"
    return Evidence(source=Source.CONFIG, file="adapter_config.json", detail=detail[:400])


def _config(detail: str, file: str = "config.json") -> Evidence:
    return Evidence(source=Source.CONFIG, file=file, detail=detail)


def _diffusion(pipeline: Mapping[str, Any]) -> Found:
    name = str(pipeline.get("_class_name", ""))
    evidence = _config(f"_class_name {name}", "model_index.json")
    if _AUDIO_PIPELINES.search(name):
        return {Capability.AUDIO_OUTPUT: evidence}
    if _VIDEO_PIPELINES.search(name):
        return {Capability.VIDEO: evidence, Capability.IMAGE_OUTPUT: evidence}
    return {Capability.IMAGE_OUTPUT: evidence}


def _pooling(files: ConfigFiles) -> Evidence | None:
    """sentence-transformers: a pooling module, or its own config beside the model's."""
    modules = files.array("modules.json") or []
    kinds = [str(module.get("type", "")) for module in modules if isinstance(module, dict)]
    if any(kind.rpartition(".")[2] in ("Pooling", "WordEmbeddings", "Normalize") for kind in kinds):
        return _config("modules.json has a pooling layer", "modules.json")
    poolings = [path for path in files.parsed if re.fullmatch(r"\d+_Pooling/config\.json", path)]
    if poolings:
        return _config("a pooling layer", sorted(poolings)[0])
    return None


def _modalities(files: ConfigFiles, raw: Mapping[str, Any], levels: Levels, family: str) -> Found:
    found: Found = {}
    image = files.object("preprocessor_config.json") or {}
    if levels.vision is not None:
        found[Capability.VISION] = _config(levels.vision.path)
    elif "img_processor" in raw or raw.get("image_token_index") or raw.get("image_token_id"):
        found[Capability.VISION] = _config("image tokens in the config")
    elif "image_processor_type" in image and _GENERATES.search(str((levels.top.items("architectures") or ("",))[0])):
        found[Capability.VISION] = _config(
            f"image_processor_type {image['image_processor_type']}", "preprocessor_config.json"
        )
    video = next((key for key in _VIDEO_KEYS if levels.outer.raw.get(key) is not None), None)
    if files.object("video_preprocessor_config.json") is not None:
        found[Capability.VIDEO] = _config("a video processor", "video_preprocessor_config.json")
    elif video and Capability.VISION in found:
        found[Capability.VIDEO] = _config(video)
    if levels.audio is not None:
        found[Capability.AUDIO_INPUT] = _config(levels.audio.path)
    elif family in _SPEECH:
        found[Capability.AUDIO_INPUT] = _config(f"model_type {family}")
    elif isinstance(raw.get("audio_processor"), Mapping):
        found[Capability.AUDIO_INPUT] = _config("audio_processor")
    if isinstance(raw.get("gen_vision_config"), Mapping):
        found[Capability.IMAGE_OUTPUT] = _config("gen_vision_config")
    for key in ("talker_config", "token2wav_config", "code2wav_config", "tts_config"):
        if isinstance(raw.get(key), Mapping) and raw[key] and raw.get("enable_audio_output") is not False:
            found[Capability.AUDIO_OUTPUT] = _config(key)
            break
    return found


def _task(files: ConfigFiles, raw: Mapping[str, Any], levels: Levels, architecture: str, family: str) -> Found:
    card = files.object(CARD) or {}
    tags = {str(tag).lower() for tag in card.get("tags") or () if isinstance(card.get("tags"), list)}
    tags.add(str(card.get("pipeline_tag", "")).lower())
    named = _config(f"architecture {architecture}")
    if _REWARDS.search(architecture) or architecture.endswith("RewardModel"):
        return {Capability.REWARD: named}
    if {"text-ranking", "reranker", "cross-encoder"} & tags:
        return {Capability.RERANK: Evidence(source=Source.CARD, file=CARD, detail="tagged as a reranker")}
    if architecture.endswith("ForSequenceClassification"):
        return _classifier(raw, levels, family, named, tags)
    if architecture.endswith(("ForTokenClassification", "ForQuestionAnswering", "ForImageClassification")):
        return {Capability.CLASSIFICATION: named}
    if family in _SPEECH:
        return {}
    if levels.outer.model_type in ("clip", "siglip", "siglip2") or architecture.endswith("ForRetrieval"):
        return {Capability.EMBEDDING: named}
    if {"sentence-similarity", "feature-extraction"} & tags and (card.get("library_name") == "sentence-transformers"):
        return {Capability.EMBEDDING: Evidence(source=Source.CARD, file=CARD, detail="a sentence-transformers model")}
    if _generates(files, raw, levels, architecture):
        return _generation(files, architecture)
    if (
        re.search(r"(?<!LMHead)Model$", architecture)
        and family not in ENCODER_DECODERS
        and Capability.VISION not in _modalities(files, raw, levels, family)
    ):
        what = "an encoder" if family in ENCODERS else "a decoder without a language-model head"
        return {Capability.EMBEDDING: _config(f"architecture {architecture}: {what}")}
    return {}


def _generates(files: ConfigFiles, raw: Mapping[str, Any], levels: Levels, architecture: str) -> bool:
    """A language model's head: by the architecture's suffix, the text level's, or the publisher's own `auto_map`."""
    inner = levels.text.items("architectures") if levels.text is not levels.outer else ()
    if _GENERATES.search(architecture) or any(_GENERATES.search(str(name)) for name in inner):
        return True
    mapped = raw.get("auto_map")
    if isinstance(mapped, Mapping) and {"AutoModelForCausalLM", "AutoModelForSeq2SeqLM"} & mapped.keys():
        return True
    return (not architecture and files.gguf is not None) or architecture == "ChatGLMModel"


def _classifier(raw: Mapping[str, Any], levels: Levels, family: str, named: Evidence, tags: set[str]) -> Found:
    """One score is a reranker's or a reward model's, several labels are classes."""
    labels = raw.get("id2label") or levels.text.value("id2label")
    count = len(labels) if isinstance(labels, Mapping) and labels else raw.get("num_labels", 2)
    if count != 1:
        return {Capability.CLASSIFICATION: named}
    reward = any("reward" in tag for tag in tags) or family not in ENCODERS
    return {Capability.REWARD if reward else Capability.RERANK: named}


def _generation(files: ConfigFiles, architecture: str) -> Found:
    named = _config(f"architecture {architecture}") if architecture else Evidence(source=Source.HEADER, detail="GGUF")
    if any(template for _, template in templates(files)):
        file = next(file for file, template in templates(files) if template)
        return {Capability.CHAT: _config("a chat template", file), Capability.COMPLETION: named}
    return {Capability.COMPLETION: named}


def _template(files: ConfigFiles) -> Found:
    """Tools and reasoning, as the chat template itself handles them."""
    found: Found = {}
    for file, template in templates(files):
        if re.search(r"\btools\b|\btool_calls?\b|\bfunctions\b", template):
            found.setdefault(Capability.TOOLS, _config("the chat template renders tools", file))
        if re.search(
            r"<think>|\benable_thinking\b|\breasoning_(?:content|effort)\b|<\|channel\|>|\[THINK\]|\bthinking\b",
            template,
        ):
            found.setdefault(Capability.REASONING, _config("the chat template renders reasoning", file))
    return found


def templates(files: ConfigFiles) -> list[tuple[str, str]]:
    """The chat templates and the files they are in."""
    found: list[tuple[str, str]] = []
    if text := files.text("chat_template.jinja"):
        found.append(("chat_template.jinja", text))
    for path in ("chat_template.json", "processor_config.json", "tokenizer_config.json"):
        template = (files.object(path) or {}).get("chat_template")
        if isinstance(template, str) and template:
            found.append((path, template))
        named = (
            [item.get("template") for item in template if isinstance(item, dict)] if isinstance(template, list) else []
        )
        found.extend((path, text) for text in named if isinstance(text, str))
    embedded = (files.gguf or {}).get("tokenizer.chat_template")
    if isinstance(embedded, str) and embedded:
        found.append(("", embedded))
    return found
