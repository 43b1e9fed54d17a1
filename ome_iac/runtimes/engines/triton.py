"""NVIDIA's Triton Inference Server: a model repository as it is, or any model that vLLM serves, by its vLLM backend.

The first speaks the Open Inference Protocol (KServe v2). Before the second stands the image's own OpenAI front end
(client_guide/openai_readme of the user guide), under the name of the repository's folder.
"""

from __future__ import annotations

import json

from packaging.version import Version

from ome_iac.hardware import Gpu
from ome_iac.models.metadata import ModelMetadata
from ome_iac.runtimes.catalog import Catalog, Task, nearest
from ome_iac.runtimes.engines.assumed import CONTEXT_GIB, context
from ome_iac.runtimes.engines.base import Engine, Launch
from ome_iac.runtimes.engines.vllm_inside import VllmInside
from ome_iac.runtimes.kv_cache import NOTHING
from ome_iac.runtimes.memory import Stage, line
from ome_iac.runtimes.splits import DEFAULTS, Split, Tuning

REPOSITORY = "/tmp/repository"
FORMATS = ("onnx", "tensorrt", "python")
"""What a model repository of ours may hold: ONNX Runtime's, TensorRT's and Python's backends."""
FRONT_END = "/opt/tritonserver/python/openai"
BATCH_SHARE = 0.5
CONFIGURATION = 'backend: "vllm"\ninstance_group [{ count: 1 kind: KIND_MODEL }]\n'
START = (
    f'mkdir -p "{REPOSITORY}/$1/1" && printf %s "$2" > "{REPOSITORY}/$1/1/model.json"'
    f' && printf %s "$3" > "{REPOSITORY}/$1/config.pbtxt" && shift 3'
    f' && cd {FRONT_END} && exec python3 openai_frontend/main.py "$@"'
)


class Triton(Engine):
    """`tritonserver` on a model repository that lies ready at the model's path."""

    port = 8000
    health_path = "/v2/health/ready"
    minimum_capability = "7.5"
    methods = {}  # noqa: RUF012  none: what a repository holds is compiled already
    vendors = ("nvidia",)
    only_when_named = "it serves a model repository that was made for it"
    protocol = "openInference-v2"
    memory_assumed = True
    quantizes_on_load = False
    multi_node = False

    def image(self, gpu: Gpu) -> str:
        """The image with ONNX Runtime's, TensorRT's and Python's backends."""
        return f"{self.catalog.image}-py3"

    def refusals(self, model: ModelMetadata, task: Task) -> tuple[str, ...]:
        """Any architecture, in a repository's formats."""
        if model.format in FORMATS:
            return ()
        return (f"{self.name} serves {', '.join(FORMATS)}, not {model.format}; triton-vllm serves safetensors",)

    def illegal_splits(self, model: ModelMetadata, split: Split) -> tuple[str, ...]:
        """Instances are whole."""
        return (f"{self.name} puts a model on one GPU: more replicas do the same",) if split.gpus > 1 else ()

    def illegal_expert_parallel(self, model: ModelMetadata, split: Split) -> tuple[str, ...]:
        """Never asked: nothing is divided."""
        return self.illegal_splits(model, split)

    def stages(
        self, model: ModelMetadata, task: Task, gpu: Gpu, split: Split, tuning: Tuning = DEFAULTS
    ) -> tuple[Stage, ...]:
        """The files' bytes, and room for a batch; no limit but the GPU's memory."""
        assert model.weights is not None
        stored, source = model.weights.bytes, f"assumed for {self.name}"
        stage = Stage(
            number=0,
            total=gpu.memory_bytes,
            budget=gpu.memory_bytes,
            budget_formula=f"all of {gpu.memory_gib} GiB",
            lines=(
                line("weights", stored, "the model's files", "their sizes"),
                line("activation", BATCH_SHARE * stored, f"{BATCH_SHARE} x weights", source),
                context(self.name, gpu, 1, 2 * CONTEXT_GIB),
            ),
            beside=(),
            layout=NOTHING,
            copies=1,
        )
        return (stage,)

    def command(self, launch: Launch) -> tuple[str, ...]:
        """The server; the repository's folders name the models."""
        listen = ("--http-address", "0.0.0.0", "--http-port", str(self.port), "--strict-readiness", "true")
        return "tritonserver", "--model-repository", launch.model_path, *listen


class TritonVllm(VllmInside):
    """Triton's OpenAI front end with the vLLM backend; the repository is written when the container starts."""

    vllm = "0.15.1"
    vllm_source = "of 26.02, by users' reports; assumed of others"
    catalogued_as = "triton"
    port = 9000
    health_path = "/health/ready"
    only_when_named = "it holds an older vLLM than vLLM's own image"

    def __init__(self, catalog: Catalog, notes: tuple[str, ...] = ()) -> None:
        inside = nearest("vllm", Version(self.vllm))
        super().__init__(catalog.model_copy(update={"architectures": inside.architectures}), notes)

    @property
    def name(self) -> str:
        """Told apart from Triton on a repository."""
        return f"triton-vllm {self.catalog.version}"

    def image(self, gpu: Gpu) -> str:
        """The image with the vLLM backend."""
        return f"{self.catalog.image}-vllm-python-py3"

    def refusals(self, model: ModelMetadata, task: Task) -> tuple[str, ...]:
        """The front end completes, chats and embeds."""
        unanswered = () if task in (Task.GENERATE, Task.EMBED) else (f"{self.name} has no endpoint for {task}",)
        return (*unanswered, *super().refusals(model, task))

    def command(self, launch: Launch) -> tuple[str, ...]:
        """Writes model.json (vLLM's arguments) and config.pbtxt under the declared name, then starts the front end."""
        arguments = json.dumps(self.arguments(launch), sort_keys=True)
        start = ("sh", "-c", START, "triton", launch.served_name, arguments, CONFIGURATION)
        tokenizer = ("--tokenizer", launch.model_path) if launch.task is Task.GENERATE else ()
        return (*start, "--model-repository", REPOSITORY, *tokenizer, "--openai-port", str(self.port))

    def arguments(self, launch: Launch) -> dict[str, str | int | float | bool]:
        """vLLM's arguments, by the names of its flags with underscores."""
        split, tuning = launch.split, launch.tuning
        sequences, tokens = self.batch_limits(launch.gpu, tuning)
        if launch.task is not Task.GENERATE:
            tokens = max(tokens, launch.context_length)
        found: dict[str, str | int | float | bool] = {
            "model": launch.model_path,
            "tensor_parallel_size": split.tensor,
            "pipeline_parallel_size": split.pipeline,
            "max_model_len": launch.context_length,
            "max_num_seqs": sequences,
            "max_num_batched_tokens": tokens,
            "gpu_memory_utilization": self.utilization(tuning),
        }
        found |= {"enable_expert_parallel": True} if split.expert > 1 else {}
        found |= {"kv_cache_dtype": tuning.kv_cache_dtype} if tuning.kv_cache_dtype else {}
        found |= {"dtype": tuning.dtype} if tuning.dtype else {}
        found |= {"quantization": tuning.quantization} if tuning.quantization else {}
        found |= {"runner": "pooling"} if launch.task is not Task.GENERATE else {}
        found |= {"revision": launch.revision} if launch.revision else {}
        return found
