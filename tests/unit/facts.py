"""Model metadata and stacks for planner tests: published config facts, written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ome_iac.models.metadata import Attention, Capability, ModelMetadata, Parameters, Role, Weights
from ome_iac.spec.stack import Stack, load_stack


def decoder(
    uri: str = "hf://example/decoder",
    *,
    parameters: int = 8_030_261_248,
    layers: int = 32,
    heads: int = 32,
    kv_heads: int = 8,
    hidden: int = 4096,
    intermediate: int = 14336,
    vocabulary: int = 128256,
    context: int = 131072,
    architecture: str = "LlamaForCausalLM",
    bytes_per_parameter: float = 2.0,
) -> ModelMetadata:
    """A dense decoder; the defaults are Llama-3.1-8B's config."""
    stored = int(parameters * bytes_per_parameter)
    return ModelMetadata(
        source=uri,
        revision="0" * 40,
        architecture=architecture,
        model_type="llama",
        format="safetensors",
        parameters=Parameters(total=parameters, active=parameters),
        weights=Weights(bytes=stored, by_dtype={"BF16": stored}, by_role={Role.MLP: stored}),
        context_length=context,
        layers=layers,
        hidden_size=hidden,
        intermediate_size=intermediate,
        vocabulary_size=vocabulary,
        attention=(
            Attention(kind="full", layers=f"0-{layers - 1}", heads=heads, kv_heads=kv_heads, head_dim=hidden // heads),
        ),
        capabilities=(Capability.CHAT,),
        dtype="bfloat16",
    )


def llama_70b(uri: str = "hf://example/llama-70b") -> ModelMetadata:
    """Llama-3.3-70B's config."""
    return decoder(uri, parameters=70_553_706_496, layers=80, heads=64, kv_heads=8, hidden=8192, intermediate=28672)


def encoder(uri: str = "hf://example/encoder") -> ModelMetadata:
    """all-MiniLM-L6-v2's config."""
    return ModelMetadata(
        source=uri,
        architecture="BertModel",
        parameters=Parameters(total=22_713_216, active=22_713_216),
        weights=Weights(bytes=90_852_864, by_dtype={"F32": 90_852_864}, by_role={}),
        context_length=256,
        layers=6,
        hidden_size=384,
        intermediate_size=1536,
        vocabulary_size=30522,
        attention=(Attention(kind="encoder", layers="0-5", heads=12, kv_heads=12, head_dim=32),),
        capabilities=(Capability.EMBEDDING,),
    )


def pool(name: str, shape: str, nodes: int = 1) -> dict[str, Any]:
    """A NodePool document of nodes that are there."""
    spec = {"mode": "existing", "shape": shape, "nodes": nodes}
    return {"apiVersion": "ome-iac/v1", "kind": "NodePool", "metadata": {"name": name}, "spec": spec}


def model(name: str, uri: str) -> dict[str, Any]:
    """A ClusterBaseModel document."""
    spec = {"storage": {"storageUri": uri}}
    return {"apiVersion": "ome.io/v1beta1", "kind": "ClusterBaseModel", "metadata": {"name": name}, "spec": spec}


def service(name: str, model_name: str, **spec: Any) -> dict[str, Any]:
    """An InferenceService document; `spec` is added to its spec."""
    body = {"model": {"name": model_name}, **spec}
    return {"apiVersion": "ome.io/v1beta1", "kind": "InferenceService", "metadata": {"name": name}, "spec": body}


def write(folder: Path, *documents: dict[str, Any], file: str = "stack.yaml") -> None:
    """Write documents into one file of a stack's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(yaml.safe_dump_all(documents, sort_keys=False))


def stack(folder: Path, *documents: dict[str, Any]) -> Stack:
    """The documents as a stack without a fault."""
    write(folder, *documents)
    loaded, problems = load_stack("test", folder)
    assert not problems, problems
    return loaded
