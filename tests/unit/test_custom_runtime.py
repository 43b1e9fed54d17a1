"""A ServingRuntime's own containers as an engine: what is read of them, what is refused, what stays unknown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ome_iac.hardware import find_gpu, shapes
from ome_iac.models.metadata import Quantization
from ome_iac.planning.ome_profile.documents import MODELS, RUNTIMES
from ome_iac.runtimes.catalog import Task
from ome_iac.runtimes.engines import Launch, engine
from ome_iac.runtimes.engines.custom import Custom, custom_engines
from ome_iac.runtimes.engines.custom_faults import container_faults
from ome_iac.runtimes.splits import DEFAULTS, Split
from ome_iac.spec.document import Metadata
from ome_iac.spec.models import ModelDocument
from ome_iac.spec.runtimes import RuntimeDocument
from tests.unit.facts import decoder
from tests.unit.ome_documents import documents, entry, read, runtime, service, shared

VLLM = "docker.io/vllm/vllm-openai:v0.33.0"
SGLANG = "docker.io/lmsysorg/sglang:v0.5.23-cu129-amd64"

SCRIPT = """\
set -e  # vllm serve is not what runs here
echo 'starting
up'
python3 -m sglang.launch_server --tp 1
"""


def container(*command: str, image: str = VLLM, gpus: int | None = 1, **more: Any) -> dict[str, Any]:
    asked = {} if gpus is None else {"resources": {"limits": {"nvidia.com/gpu": gpus}}}
    return {"name": "ome-container", "image": image, "command": list(command), **asked, **more}


def made(
    runner: dict[str, Any],
    *,
    service: Metadata | None = None,
    name: str = "example/decoder",
    worker: dict[str, Any] | None = None,
    **spec: Any,
) -> Custom:
    config = {"runner": runner} if worker is None else {"leader": {"runner": runner}, "worker": worker}
    body = {"supportedModelFormats": [entry()], "engineConfig": config, **spec}
    engines = custom_engines(runtime("mine", body), model_named(name), service)
    assert list(engines) == ["engine"]
    return engines["engine"]


def model_named(name: str, **spec: Any) -> ModelDocument:
    label = name.rpartition("/")[2].lower().replace(".", "-")
    body = {"storage": {"storageUri": f"hf://{name}"}, **spec}
    return read({"kind": "ClusterBaseModel", "metadata": {"name": label}, "spec": body}, MODELS, ModelDocument)


@pytest.mark.parametrize(
    ("image", "command", "name"),
    [
        (VLLM, ["vllm", "serve", "$(MODEL_PATH)"], "vllm 0.33.0"),
        ("x/y:1", ["python3", "-m", "vllm.entrypoints.openai.api_server", "--model", "m"], None),
        (
            "docker.io/vllm/vllm-openai:v0.9.0.1",
            ["python3", "-m", "vllm.entrypoints.openai.api_server"],
            "vllm 0.9.0.1",
        ),
        (SGLANG, ["python3", "-m", "sglang.launch_server", "--model-path", "$(MODEL_PATH)"], "sglang 0.5.23"),
        (SGLANG, ["sglang", "serve", "--model-path", "$(MODEL_PATH)"], "sglang 0.5.23"),
        (SGLANG, ["/bin/bash", "-c", "export A=1 && exec python3 -m sglang.launch_server --tp 1"], "sglang 0.5.23"),
        (
            SGLANG,
            ["sh", "-ec", "sleep 1; CUDA_X=1 python3 -m sglang.launch_server \\\n --tp 1 | tee log"],
            "sglang 0.5.23",
        ),
        (SGLANG, ["sh", "-c", SCRIPT], "sglang 0.5.23"),
        ("ghcr.io/huggingface/text-generation-inference:3.3.7", ["text-generation-launcher"], "tgi 3.3.7"),
        ("ghcr.io/huggingface/text-embeddings-inference:1.9", ["text-embeddings-router"], "tei 1.9"),
        ("nvcr.io/nvidia/tensorrt-llm/release:1.2.1", ["trtllm-serve", "$(MODEL_PATH)"], "tensorrt-llm 1.2.1"),
    ],
)
def test_the_engine_is_recognised(image: str, command: list[str], name: str | None) -> None:
    found = made(container(*command, image=image))
    if name is None:  # the command names vLLM, the image no version
        assert found.inner is engine("vllm")
        assert any("names no version" in note for note in found.notes)
    else:
        assert found.inner is not None
        assert found.inner.name == name
        assert found.unknown is None
    assert found.name == "mine"


@pytest.mark.parametrize(
    ("runner", "unknown"),
    [
        (container("my-server", image="registry.example/own:1"), "how what registry.example/own:1 runs uses memory"),
        (container("lmdeploy", "serve", image="openmmlab/lmdeploy:v0.9.0"), "how lmdeploy uses memory is not known"),
        (container("vllm", "serve", image="vllm/vllm-openai:v0.7.3.78f0810ef"), "how vllm 0.7.3 uses memory"),
        (container("vllm", "serve", "m", "--speculative-config", "{}"), "what --speculative-config does to memory"),
    ],
)
def test_what_is_not_known_is_said_and_no_memory_is_claimed(runner: dict[str, Any], unknown: str) -> None:
    found = made(runner)
    assert found.unknown is not None
    assert unknown in found.unknown
    assert found.illegal_splits(decoder(), found.split) == (found.unknown,)
    with pytest.raises(ValueError, match="mine"):
        found.stages(decoder(), Task.GENERATE, find_gpu("H100-80GB"), found.split)


@pytest.mark.parametrize(
    ("image", "flags", "split", "gpus"),
    [
        (VLLM, "-tp 2 --pipeline_parallel_size=2", Split(tensor=2, pipeline=2), 4),
        (
            VLLM,
            "--tensor-parallel-size 2 --data-parallel-size 2 --enable-expert-parallel",
            Split(tensor=2, data=2, expert=4),
            4,
        ),
        (SGLANG, "--tp-size 4 --mem-frac 0.8", Split(tensor=4), 4),
        (SGLANG, "--tp 8 --dp-size 8 --enable-dp-attention", Split(tensor=1, data=8), 8),
        (SGLANG, "--tp 8 --dp 2 --enable-dp-attention --moe-a2a-backend deepep", Split(tensor=4, data=2, expert=8), 8),
        (SGLANG, "--tp 2 --dp 2", Split(tensor=2, data=2), 4),
        (SGLANG, "--tp 4 --ep-size 2", Split(tensor=4, expert=2), 4),
    ],
)
def test_splits(image: str, flags: str, split: Split, gpus: int) -> None:
    command = ("vllm", "serve") if image is VLLM else ("python3", "-m", "sglang.launch_server")
    found = made(container(*command, *flags.split(), image=image, gpus=gpus))
    assert found.split == split
    assert found.settings is not None
    assert found.settings.gpus == gpus
    assert found.illegal_splits(decoder(), Split(tensor=16)) == (f"its command says {split}",)


def test_limits_and_memory_are_the_engine_s_own() -> None:
    flags = "--max-model-len 32k --gpu-memory-utilization 0.8 --kv-cache-dtype fp8 --dtype half --max-num-seqs 64"
    found = made(container("vllm", "serve", "$(MODEL_PATH)", *flags.split(), "--max-num-batched-tokens", "4096"))
    assert found.settings is not None
    tuning = found.settings.tuning
    assert found.settings.context_length == 32000
    assert (tuning.gpu_memory_utilization, tuning.kv_cache_dtype, tuning.dtype) == (0.8, "fp8", "float16")
    assert (tuning.max_num_seqs, tuning.max_num_batched_tokens) == (64, 4096)
    gpu = find_gpu("H100-80GB")
    mine = found.stages(decoder(), Task.GENERATE, gpu, found.split)
    assert mine == engine("vllm").stages(decoder(), Task.GENERATE, gpu, Split(), tuning)
    assert mine != engine("vllm").stages(decoder(), Task.GENERATE, gpu, Split(), DEFAULTS)


def test_placeholders() -> None:
    service = Metadata(name="chat", namespace="team", labels={"size": "2"}, annotations={"example.com/len": "4096"})
    env = [{"name": "TP", "value": "{{.Labels.size}}"}, {"name": "POD", "valueFrom": {"fieldRef": {}}}]
    found = made(
        container(
            *("vllm", "serve", "$(MODEL_PATH)", "--tensor-parallel-size", "$(TP)", "--chat-template", "{{ message }}"),
            *("--max-model-len", '{{ index .Annotations "example.com/len" }}', "--served-model-name", "{{.Name}}"),
            *("--host", "$(POD)", "--seed", "$$(X)"),
            gpus=2,
            env=env,
        ),
        service=service,
        name="example/chat",
    )
    assert found.split == Split(tensor=2)
    assert found.settings is not None
    assert (found.settings.context_length, found.settings.names) == (4096, ("chat",))
    assert found.process is not None
    assert found.process.unfilled == ()
    assert "{{ message }}" in found.process.command
    assert found.examine(decoder(), Task.GENERATE).reasons == ()


def test_a_placeholder_that_nothing_fills_is_noted_and_its_value_refused() -> None:
    found = made(container("vllm", "serve", "m", "--tensor-parallel-size", "$(TP)"), service=Metadata(name="s"))
    finding = found.examine(decoder(), Task.GENERATE)
    assert "nothing fills in $(TP)" in finding.notes
    assert "--tensor-parallel-size $(TP) is no whole number" in finding.reasons


def test_pods_of_a_replica_together_fill_parallelism_size() -> None:
    command = (
        "python3",
        "-m",
        "sglang.launch_server",
        "--tp-size",
        "$(PARALLELISM_SIZE)",
        "--nnodes",
        "$(LWS_GROUP_SIZE)",
    )
    runner = container(*command, image=SGLANG, gpus=8)
    found = made(runner, worker={"size": 1, "runner": runner})
    assert (found.split, found.pods, found.gpus_per_pod) == (Split(tensor=16), 2, 8)
    assert found.shape_refusals(shapes()["BM.GPU.H100.8"]) == ()
    assert found.shape_refusals(shapes()["BM.GPU.L40S.4"])
    assert found.process is not None
    assert dict(found.process.environment)["LWS_GROUP_SIZE"] == "2"


def test_arguments_alone_follow_the_image_s_entrypoint() -> None:
    runner = {**container(gpus=1), "args": ["--model", "$(MODEL_PATH)"]}
    found = made(runner)
    launch = Launch(decoder(), Task.GENERATE, find_gpu("H100-80GB"), Split(), 8192, "served", "/models", None)
    assert found.command(launch) == ("python3", "-m", "vllm.entrypoints.openai.api_server", "--model", "$(MODEL_PATH)")
    assert ("MODEL_PATH", "/models") in found.environment(launch)
    assert found.image(find_gpu("H100-80GB")) == VLLM


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (
            {"supportedModelFormats": [entry(modelArchitecture="Qwen2ForCausalLM")]},
            "serves architecture Qwen2ForCausalLM, the model has LlamaForCausalLM",
        ),
        ({"supportedModelFormats": [entry(quantization="fp8")]}, "serves quantization fp8, the model has none"),
        ({"supportedModelFormats": [entry("gguf")]}, "serves format gguf, the model's is safetensors"),
        ({"supportedModelFormats": []}, "supportedModelFormats is empty: it serves no model"),
        ({"modelSizeRange": {"min": "5B", "max": "8B"}}, "serves 5B to 8B parameters, the model has 8.03B"),
        ({"modelSizeRange": {"min": "5B"}}, "modelSizeRange [5B, None] is no range: write both bounds as in 7B"),
        ({"disabled": True}, "it is disabled"),
        ({"protocolVersions": ["openA1"]}, 'protocolVersions: openA1 is no protocol, did you mean "openAI"?'),
        ({"protocolVersions": ["openInference-v2"]}, "declares protocol openInference-v2, vllm 0.33.0 speaks openAI"),
    ],
)
def test_what_a_document_declares_is_held_strictly(spec: dict[str, Any], reason: str) -> None:
    found = made(container("vllm", "serve", "$(MODEL_PATH)"), **spec)
    assert reason in found.refusals(decoder(), Task.GENERATE)


@pytest.mark.parametrize(
    ("flags", "gpus", "reason"),
    [
        (
            "--served-model-name other/Llama-70B",
            1,
            "its command serves the model as other/Llama-70B, which is another model's name",
        ),
        ("--tensor-parallel-size 4", 2, "TP 4 needs 4 GPUs, its pods ask for 2"),
        ("", None, "its container asks for no GPU: write nvidia.com/gpu into resources.limits"),
        ("--max-model-len 262144", 1, "its command asks for a context of 262,144 tokens, the model has 131,072"),
        ("--quantization awq", 1, "its command reads awq weights, the model's are not quantized"),
        ("--runner pooling", 1, "its command makes the engine embed or classify, the model generates"),
        ("--tensor-parallel-size two", 2, "--tensor-parallel-size two is no whole number"),
        ("--gpu-memory-utilization 90", 1, "--gpu-memory-utilization 90 is no share: above 0, at most 1"),
        ("--dtype int4", 1, "--dtype int4 is not known; bfloat16, float16, float32 are"),
    ],
)
def test_a_command_that_cannot_serve_the_model(flags: str, gpus: int | None, reason: str) -> None:
    found = made(container("vllm", "serve", "$(MODEL_PATH)", *flags.split(), gpus=gpus))
    assert found.refusals(decoder(), Task.GENERATE) == (reason,)


def test_names_that_are_the_model_s_own_or_an_alias_are_taken() -> None:
    for name in ("example/Decoder", "decoder", "vllm-model", "$(SERVED)", "/models/decoder-8b"):
        found = made(container("vllm", "serve", "$(MODEL_PATH)", "--served-model-name", name))
        assert found.refusals(decoder(), Task.GENERATE) == (), name


def test_another_repository_in_the_command_is_another_model() -> None:
    found = made(container("vllm", "serve", "other/Llama-70B"))
    assert found.refusals(decoder(), Task.GENERATE) == ("its command loads other/Llama-70B, which is another model",)


def test_sglang_must_be_told_to_embed() -> None:
    plain = container("python3", "-m", "sglang.launch_server", "--model-path", "$(MODEL_PATH)", image=SGLANG)
    embeds = {**plain, "command": [*plain["command"], "--is-embedding"]}
    model = decoder().model_copy(update={"architecture": "Qwen2ForCausalLM"})
    assert any("--is-embedding" in reason for reason in made(plain).refusals(model, Task.EMBED))
    assert not any("--is-embedding" in reason for reason in made(embeds).refusals(model, Task.EMBED))


def test_a_framework_s_version_counts_only_with_an_operator() -> None:
    model = decoder().model_copy(update={"framework": "transformers", "framework_version": "4.57.0"})

    def asked(**framework: str) -> Custom:
        served = [entry(modelFramework={"name": "transformers", **framework})]
        return made(container("vllm", "serve", "$(MODEL_PATH)"), supportedModelFormats=served)

    plain = asked(version="4.51.0").examine(model, Task.GENERATE)
    assert plain.reasons == ()
    assert "names framework transformers 4.51.0, the model's is 4.57.0" in plain.notes
    assert asked(version="4.51.0", operator="GreaterThanOrEqual").refusals(model, Task.GENERATE)
    assert asked(version="4.60", operator="GreaterThanOrEqual").refusals(model, Task.GENERATE) == ()


def test_stored_quantization_and_the_flag_for_it() -> None:
    stored = decoder().model_copy(update={"quantization": Quantization(method="awq", bits=4)})
    marlin = made(container("vllm", "serve", "$(MODEL_PATH)", "--quantization", "awq_marlin"))
    assert marlin.examine(stored, Task.GENERATE).reasons == ()
    assert marlin.tuning(stored).quantization is None
    fp8 = made(container("vllm", "serve", "$(MODEL_PATH)", "--quantization", "fp8"))
    assert fp8.tuning(decoder()).quantization == "fp8"
    assert fp8.refusals(stored, Task.GENERATE) == ("its command reads fp8 weights, the model's are awq",)


def test_accelerator_requirements() -> None:
    runner = container("vllm", "serve", "$(MODEL_PATH)")
    h100, a10, mi300 = find_gpu("H100-80GB"), find_gpu("A10"), find_gpu("MI300X")
    assert made(runner).gpu_refusals(decoder(), h100) == ()
    assert "asks for nvidia.com/gpu" in made(runner).gpu_refusals(decoder(), mi300)[0]
    wants = {"minMemory": 80, "minArchitectureVersion": "9.0", "minComputePerformanceTFLOPS": 500}
    strict = made(runner, acceleratorRequirements=wants)
    assert strict.gpu_refusals(decoder(), h100) == ()
    assert len(strict.gpu_refusals(decoder(), a10)) == 3
    classed = made(runner, acceleratorRequirements={"acceleratorClasses": ["nvidia-h100-80gb"]})
    assert classed.gpu_refusals(decoder(), a10)


def test_nodes_asked_for_by_shape() -> None:
    terms = [
        {
            "matchExpressions": [
                {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["BM.GPU.H100.8"]}
            ]
        }
    ]
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}
    config = {"runner": container("vllm", "serve", "m"), "affinity": affinity}
    document = runtime("mine", {"supportedModelFormats": [entry()], "engineConfig": config})
    found = custom_engines(document)["engine"]
    assert found.shape_refusals(shapes()["BM.GPU.H100.8"]) == ()
    assert found.shape_refusals(shapes()["BM.GPU.H200.8"]) == ("it asks for nodes of BM.GPU.H100.8",)


def test_legacy_containers_and_none_at_all() -> None:
    body = {"supportedModelFormats": [entry()]}
    legacy = runtime("mine", {**body, "containers": [container("vllm", "serve", "m", gpus=2)]})
    assert custom_engines(legacy)["engine"].gpus_per_pod == 2
    empty = custom_engines(runtime("mine", body))["engine"]
    assert empty.unknown == "it declares no container: nothing tells what it runs"


def test_prefill_alone_is_no_runtime() -> None:
    half = container("python3", "-m", "sglang.launch_server", "--disaggregation-mode", "prefill", image=SGLANG)
    assert any("runs prefill alone" in reason for reason in made(half).refusals(decoder(), Task.GENERATE))
    other = {**half, "command": [*half["command"][:-1], "decode"]}
    both = {"supportedModelFormats": [entry()], "engineConfig": {"runner": half}, "decoderConfig": {"runner": other}}
    engines = custom_engines(runtime("mine", both))
    assert sorted(engines) == ["decoder", "engine"]
    assert engines["engine"].examine(decoder(), Task.GENERATE).reasons == ()


def test_every_runtime_of_ome_s_is_understood() -> None:
    found = {}
    for document in documents(shared("ome/runtimes"), RUNTIMES, RuntimeDocument):
        for role, one in custom_engines(document).items():
            assert one.process is not None, document.name
            assert one.settings is not None
            assert one.process.engine in ("vllm", "sglang"), document.name
            assert one.settings.wrong == (), document.name
            assert one.process.unfilled == (), document.name
            assert one.settings.gpus == one.process.gpus * one.process.pods, document.name
            found[document.name, role] = one
    assert len({name for name, _ in found}) == 203
    assert {name for (name, _), one in found.items() if one.unknown} == {
        "vllm-deepseek-v4-flash",
        "vllm-deepseek-v4-pro",
        "vllm-llama-3-3-70b-instruct-fp8-dynamic",
    }
    prefill = found["srt-deepseek-rdma-pd", "engine"]
    assert (prefill.split, prefill.pods) == (Split(tensor=1, data=16, expert=16), 2)


def test_nothing_is_read_from_outside(tmp_path: Path) -> None:
    """A command that would write is only looked at."""
    made(container("sh", "-c", f"touch {tmp_path}/x; vllm serve m"))
    assert list(tmp_path.iterdir()) == []


def test_a_service_s_own_arguments_are_joined_and_its_image_wins() -> None:
    body = {"supportedModelFormats": [entry()], "engineConfig": {"runner": container("vllm", "serve", "$(MODEL_PATH)")}}
    runner = {
        "name": "ome-container",
        "image": "docker.io/vllm/vllm-openai:v0.19.0",
        "args": ["--max-model-len", "$(LENGTH)", "--tensor-parallel-size", "2"],
        "env": [{"name": "LENGTH", "value": "4096"}],
        "resources": {"limits": {"nvidia.com/gpu": 2}},
    }
    asking = service({"engine": {"runner": runner, "minReplicas": 2}})
    found = custom_engines(runtime("mine", body), None, asking.metadata, asking.spec)["engine"]
    assert found.inner is not None
    assert (found.inner.name, found.split, found.gpus_per_pod) == ("vllm 0.19.0", Split(tensor=2), 2)
    assert found.settings is not None
    assert found.settings.context_length == 4096
    untouched = service({"engine": {"minReplicas": 2}})
    plain = custom_engines(runtime("mine", body), None, untouched.metadata, untouched.spec)["engine"]
    assert (plain.image(find_gpu("A10")), plain.split) == (VLLM, Split())


WORDS = st.text(alphabet="-=$(){}.;|&'\"# \n\\abAB12", max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(WORDS, below, max_size=3),
)
FIELDS = ("image", "command", "args", "env", "resources", "ports", "readinessProbe")


@given(st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=5), st.lists(WORDS, max_size=5), WORDS)
def test_no_container_is_too_odd(fields: dict[str, Any], command: list[str], script: str) -> None:
    flags = [f"--{name}={value}" for name, value in zip(("tp-size", "dtype", "max-model-len"), command, strict=False)]
    for runner in (
        {"name": "c", **fields},
        container("vllm", "serve", *command),
        container(*command),
        container("python3", "-m", "sglang.launch_server", *flags, image=SGLANG),
        container("sh", "-c", script),
    ):
        body = {"supportedModelFormats": [entry()], "engineConfig": {"runner": runner}}
        document = runtime("mine", body)
        found = custom_engines(document, None, Metadata(name="s"))["engine"]
        assert isinstance(found.refusals(decoder(), Task.GENERATE), tuple)
        list(container_faults(document))
