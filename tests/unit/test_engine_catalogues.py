"""Whatever an engine is told, by flag or by environment, that release knows."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from ome_iac.hardware import gpus
from ome_iac.models.metadata import Capability, ModelMetadata
from ome_iac.runtimes.catalog import Task, catalogs, nearest
from ome_iac.runtimes.engines import KINDS, Engine, Launch, all_engines, engine
from ome_iac.runtimes.engines.triton import TritonVllm
from ome_iac.runtimes.splits import DEFAULTS, Split, Tuning
from tests.unit.facts import decoder, encoder, llama_70b
from tests.unit.ground_truth import DEEPSEEK_R1, GPT_OSS_LARGE, LLAMA_70B_FP8, MIXTRAL_8X7B

COMMAND_A = decoder(architecture="Cohere2ForCausalLM").model_copy(
    update={"capabilities": (Capability.CHAT, Capability.TOOLS, Capability.REASONING)}
)
MODELS = (
    (decoder(), Task.GENERATE),
    (llama_70b(), Task.GENERATE),
    (COMMAND_A, Task.GENERATE),
    (DEEPSEEK_R1, Task.GENERATE),
    (GPT_OSS_LARGE, Task.GENERATE),
    (LLAMA_70B_FP8, Task.GENERATE),
    (MIXTRAL_8X7B, Task.GENERATE),
    (encoder(), Task.EMBED),
    (encoder(), Task.CLASSIFY),
)
SPLITS = (
    Split(),
    Split(tensor=2),
    Split(tensor=8),
    Split(tensor=4, pipeline=2),
    Split(data=8),
    Split(data=8, expert=8),
    Split(tensor=8, expert=8),
)
TUNINGS = (
    DEFAULTS,
    Tuning(kv_cache_dtype="fp8", dtype="bfloat16", max_num_seqs=64, max_num_batched_tokens=4096),
    Tuning(quantization="fp8", gpu_memory_utilization=0.8),
    Tuning(dtype="float16"),
)
EVERY_RELEASE = [(name, None) for name in KINDS] + [
    (catalog.engine, catalog.version) for catalog in catalogs() if catalog.engine in KINDS
]


def launches(found: Engine) -> Iterator[Launch]:
    """All that the engine takes of models x splits x tunings x GPUs."""
    for gpu in (gpus()["H100-80GB"], gpus()["A10"], gpus()["B200"], gpus()["MI300X"]):
        for model, task in MODELS:
            for split in SPLITS:
                for tuning in TUNINGS:
                    if not (found.gpu_refusals(model, gpu, tuning) or found.illegal_splits(model, split)):
                        yield Launch(model, task, gpu, split, 8192, "chat", "/mnt/model", "abc", tuning)


def told(found: Engine, launch: Launch) -> set[str]:
    return {part for part in found.command(launch) if part.startswith("--")}


@pytest.mark.parametrize(("name", "version"), EVERY_RELEASE)
def test_every_flag_and_variable_exists_in_that_release(name: str, version: str | None) -> None:
    found = engine(name, version)
    seen = 0
    for launch in launches(found):
        seen += 1
        assert told(found, launch) <= found.catalog.flags
        assert {variable for variable, _ in found.environment(launch)} <= found.catalog.environment
    assert seen > 10
    assert set(found.secrets) <= found.catalog.environment


@pytest.mark.parametrize("name", sorted(KINDS))
def test_the_same_launch_gives_the_same_command(name: str) -> None:
    found = all_engines()[name]
    for launch in launches(found):
        assert found.command(launch) == found.command(launch)
        assert found.environment(launch) == tuple(sorted(found.environment(launch)))


@pytest.mark.parametrize("name", sorted(set(KINDS) - {"tgi", "triton"}))
def test_the_declared_name_is_the_served_one(name: str) -> None:
    """TGI answers to any name; Triton's models are named by their repository."""
    found = all_engines()[name]
    model: ModelMetadata = encoder() if name == "tei" else decoder()
    launch = Launch(model, Task.GENERATE, gpus()["H100-80GB"], Split(), 8192, "declared", "/mnt/model", None)
    said = (*found.command(launch), *(value for _, value in found.environment(launch)))
    assert "declared" in said or "/tmp/served/declared" in said


def test_tritons_vllm_is_told_what_that_vllm_knows() -> None:
    found = all_engines()["triton-vllm"]
    assert isinstance(found, TritonVllm)
    known = nearest("vllm", found.version).flags | {"--model"}
    for launch in launches(found):
        names = {f"--{name.replace('_', '-')}" for name in found.arguments(launch)}
        assert names <= known
        assert json.loads(found.command(launch)[5]) == found.arguments(launch)


def test_sglangs_graphs_have_the_flag_of_the_release() -> None:
    launch = Launch(decoder(), Task.GENERATE, gpus()["H100-80GB"], Split(), 8192, "s", "/mnt/model", None)
    assert "--cuda-graph-max-bs" in engine("sglang", "0.5.5.post3").command(launch)
    assert "--cuda-graph-max-bs-decode" in engine("sglang", "0.5.23").command(launch)


def test_coheres_parsers_are_told_where_there_are_any() -> None:
    launch = Launch(COMMAND_A, Task.GENERATE, gpus()["H100-80GB"], Split(), 8192, "s", "/mnt/model", None)
    assert "cohere_command3" in engine("cohere").command(launch)
    assert "--tool-call-parser" not in engine("cohere", "0.19.0").command(launch)
    plain = Launch(decoder(), Task.GENERATE, gpus()["H100-80GB"], Split(), 8192, "s", "/mnt/model", None)
    assert "--tool-call-parser" not in engine("cohere").command(plain)


def test_a_catalogue_from_docs_says_so_to_whoever_plans_with_it() -> None:
    for name, found in all_engines().items():
        assert any("from its docs" in note for note in found.notes) == (found.catalog.source is not None), name
