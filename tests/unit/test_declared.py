"""Declared values against the weights."""

from __future__ import annotations

from typing import Any

import pytest

from ome_iac.models.metadata import ModelMetadata, Quantization
from ome_iac.planning.declared import contradictions
from ome_iac.spec.models import ClusterBaseModel
from tests.unit.facts import decoder, encoder


def said_of(read: ModelMetadata, **spec: Any) -> tuple[str, ...]:
    body = {"metadata": {"name": "m"}, "spec": {"storage": {"storageUri": read.source}, **spec}}
    return contradictions(ClusterBaseModel.model_validate(body).spec, read)


def test_what_agrees_is_silent() -> None:
    read = decoder()
    assert (
        said_of(
            read,
            modelArchitecture="LlamaForCausalLM",
            modelFormat={"name": "safetensors"},
            modelParameterSize="8B",
            modelCapabilities=["TEXT_TO_TEXT"],
            maxTokens=131072,
        )
        == ()
    )


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ({"modelArchitecture": "MistralForCausalLM"}, "modelArchitecture MistralForCausalLM, the weights say LlamaFor"),
        ({"modelParameterSize": "70B"}, "modelParameterSize 70B, the weights say 8.03B"),
        ({"modelFormat": {"name": "gguf"}}, "modelFormat gguf, the weights say safetensors"),
        ({"quantization": "fp8"}, "quantization fp8, the weights say none"),
        ({"maxTokens": 200000}, "maxTokens 200,000, the weights say 131,072"),
        ({"modelCapabilities": ["TEXT_TO_EMBEDDING"]}, "modelCapabilities TEXT_TO_EMBEDDING, the weights say chat"),
    ],
)
def test_what_the_weights_deny_is_said_with_both_values(spec: dict[str, Any], line: str) -> None:
    [found] = said_of(decoder(), **spec)
    assert line in found
    assert found.endswith("the weights count")


def test_a_quantization_is_compared_by_omes_name() -> None:
    read = decoder().model_copy(update={"quantization": Quantization(method="awq", bits=4, ome_name="int4")})
    assert said_of(read, quantization="int4") == ()


def test_what_was_not_read_denies_nothing() -> None:
    unread = ModelMetadata(source="vendor://x")
    everything = {
        "modelArchitecture": "X",
        "modelFormat": {"name": "x"},
        "modelParameterSize": "7B",
        "quantization": "fp8",
        "maxTokens": 1,
        "modelCapabilities": ["TEXT_TO_TEXT"],
    }
    assert said_of(unread, **everything) == ()


def test_an_encoder_is_no_chat_model() -> None:
    [found] = said_of(encoder(), modelCapabilities=["TEXT_TO_TEXT"])
    assert "the weights say embedding" in found
