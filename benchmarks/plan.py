"""Planning on one core. Aims: 207 models x 207 OME runtimes in 1 s; 1,000 services x 500 runtimes x 16 shapes in 10 s,
growing no faster than the services; 500 MB.

The first part is selection in the `ome` profile. Its models are OME's catalogue, of which 166 declare no format and are
refused at once, and beside it one model for each of the runtimes, declared as the runtime asks for it, so that all
rules are gone through.

The second part is `plan_stack` on 250, 500 and 1,000 services over 500 ServingRuntime documents and a pool of each of
16 shapes, whose nodes grow with the services. Services go through 32 models (every config of ../shared/data/hf-configs
that generates, described beforehand). Three of four insist on a context length, each on another one, unless the model
ends before; all ask for 1 to 16 requests at once, in 1 or 2 replicas. Every second round through the models names a
runtime document, whose command has a memory share of its own; the others leave the choice to the planner, which looks
at every engine on every shape at every split, and at what would be cheaper with one thing changed. So hardly two
services ask the same question, and only what is a fact of a model on a GPU can be remembered between them.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.report import Aim, Report
from ome_iac.hardware import GIB
from ome_iac.models.metadata import ModelMetadata
from ome_iac.models.read import read_config
from ome_iac.planning.ome_profile import as_applied, select
from ome_iac.planning.ome_profile.documents import MODELS, RUNTIMES
from ome_iac.planning.planner import plan_stack
from ome_iac.problems import Problem
from ome_iac.runtimes.catalog import Task
from ome_iac.runtimes.engines import all_engines, task_of
from ome_iac.spec.document import Document
from ome_iac.spec.infrastructure import NodePool
from ome_iac.spec.models import ClusterBaseModel, ModelDeclaration, ModelDocument
from ome_iac.spec.runtimes import ClusterServingRuntime, RuntimeDocument
from ome_iac.spec.services import InferenceService
from ome_iac.spec.stack import Stack
from ome_iac.spec.validation import parse_as_written
from ome_iac.spec.yaml_documents import read_documents

DATA = Path(__file__).parents[2] / "shared" / "data"
OME = DATA / "ome"
SELECTION_SECONDS = 1.0
PLAN_SECONDS = 10.0
GROWTH = 1.5
"""Seconds of a service more from 500 to 1,000 over those from 250 to 500: 1 is linear, the rest is noise. What is
computed once for each model falls away."""
MEGABYTES = 500.0
SERVICES = (250, 500, 1000)
RUNTIME_DOCUMENTS = 500
SHAPES = (
    *("VM.GPU.A10.1", "VM.GPU.A10.2", "BM.GPU.A10.4", "BM.GPU4.8", "BM.GPU.A100-v2.8", "BM.GPU.L40S.4"),
    *("BM.GPU.L40S-NC.4", "BM.GPU.H100.8", "BM.GPU.H100-NC.8", "BM.GPU.H200.8", "BM.GPU.H200-NC.8"),
    *("BM.GPU.B200.8", "BM.GPU.B300.8", "BM.GPU.GB200.4", "BM.GPU.MI300X.8", "BM.GPU.RTXPRO.8"),
)

D = TypeVar("D", bound=Document)
Row = dict[str, float | int | str]


def run(quick: bool = False) -> Report:
    """CPU seconds of both parts; `quick` plans the smallest stack only, and can tell no growth."""
    if not OME.is_dir():
        sys.exit("../shared/data is absent: there is nothing to choose among")
    rows = [*_selections(), *_plans(SERVICES[:1] if quick else SERVICES)]
    chosen = [float(row["CPU s"]) for row in rows if row["part"] == "ome profile"]
    planned = [row for row in rows if row["part"] == "plan_stack"]
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    aims = [
        Aim("CPU s, 207 models x 207 runtimes", max(chosen), SELECTION_SECONDS),
        Aim(f"CPU s, {planned[-1]['number']} services", float(planned[-1]["CPU s"]), PLAN_SECONDS),
        *([] if quick else [Aim("growth of a service more", _growth(planned), GROWTH)]),
        Aim("MB", megabytes, MEGABYTES),
    ]
    return Report("planning", rows, aims)


def _growth(rows: Sequence[Row]) -> float:
    """What one service more costs between the last two sizes, over what it costs between the first two."""
    (first, second, third), seconds = SERVICES, [float(row["CPU s"]) for row in rows]
    return (seconds[2] - seconds[1]) / (third - second) * (second - first) / (seconds[1] - seconds[0])


def _selections() -> list[Row]:
    runtimes = as_applied(_read(OME / "runtimes", RUNTIMES, RuntimeDocument))
    catalogue = [document.spec for document in _read(OME / "models", MODELS, ModelDocument)]
    rows: list[Row] = []
    for name, models in (("OME's catalogue", catalogue), ("one for each runtime", _asked_for(runtimes))):
        start = time.process_time()
        answers = [select(model, runtimes) for model in models]
        seconds = time.process_time() - start
        rows.append(
            _row("ome profile", name, len(models), len(runtimes), sum(a.selected is not None for a in answers), seconds)
        )
    return rows


def _plans(sizes: Sequence[int]) -> list[Row]:
    """Stacks of each size, planned one after the other in one process."""
    facts = _models()
    rows = []
    for size in sizes:
        stack = _stack(size, facts)
        start = time.process_time()
        plan, problems = plan_stack(stack, facts)
        seconds = time.process_time() - start
        if plan is None:
            sys.exit("\n".join(["the benchmark's stack does not plan:", *map(str, problems[:5])]))
        rows.append(_row("plan_stack", f"{len(SHAPES)} shapes", size, RUNTIME_DOCUMENTS, len(plan.services), seconds))
    return rows


def _row(part: str, name: str, number: int, runtimes: int, answered: int, seconds: float) -> Row:
    return {
        "part": part,
        "of": name,
        "number": number,
        "runtimes": runtimes,
        "answered": answered,
        "CPU s": seconds,
        "ms each": 1000 * seconds / number,
    }


def _models() -> dict[str, ModelMetadata]:
    """By URI, in the order of their files."""
    paths = sorted((DATA / "hf-configs").glob("*.json"))
    found = {f"hf://benchmark/{path.stem}": read_config(path, f"hf://benchmark/{path.stem}") for path in paths}
    return {uri: facts for uri, facts in found.items() if task_of(facts) is Task.GENERATE and facts.weights}


def _stack(services: int, facts: Mapping[str, ModelMetadata]) -> Stack:
    models = [
        ClusterBaseModel.model_validate(
            {
                "metadata": {"name": f"m{number}"},
                "spec": {"storage": {"storageUri": uri}, "modelFormat": {"name": "safetensors"}},
            }
        )
        for number, uri in enumerate(facts)
    ]
    nodes = max(1, services // 4)
    pools = [
        NodePool.model_validate(
            {
                "metadata": {"name": shape.lower().replace(".", "-")},
                "spec": {"mode": "existing", "shape": shape, "nodes": nodes},
            }
        )
        for shape in SHAPES
    ]
    wanted = [_service(number, list(facts.values())) for number in range(services)]
    return Stack("benchmark", (*models, *pools, *_runtimes(list(facts.values())), *wanted))


def _service(number: int, models: Sequence[ModelMetadata]) -> InferenceService:
    model = number % len(models)
    intent: dict[str, Any] = {"concurrency": 1 + number % 16}
    if number % 4:
        intent["contextLength"] = min(2048 + 16 * number, models[model].context_length or 4096)
    spec = {"model": {"name": f"m{model}"}, "intent": intent, "engine": {"minReplicas": 1 + number % 2}}
    if number // len(models) % 2 and _tensor(models[model]):
        # The document of the same model: documents are numbered through the models as services are.
        spec["runtime"] = {"name": f"r{number % (RUNTIME_DOCUMENTS // len(models) * len(models))}"}
    return InferenceService.model_validate({"metadata": {"name": f"s{number}"}, "spec": spec})


def _runtimes(models: Sequence[ModelMetadata]) -> list[ClusterServingRuntime]:
    """Each an engine's command for one of the models, every one with a memory share of its own."""
    return [
        ClusterServingRuntime.model_validate(
            {"metadata": {"name": f"r{number}"}, "spec": _runtime(number, models[number % len(models)])}
        )
        for number in range(RUNTIME_DOCUMENTS)
    ]


def _runtime(number: int, model: ModelMetadata) -> dict[str, Any]:
    context, tensor = str(min(32768, model.context_length or 4096)), str(_tensor(model) or 8)
    share = f"{0.9 - number / 10_000:.4f}"
    vllm = ["vllm", "serve", "$(MODEL_PATH)", "--max-model-len", context, "--tensor-parallel-size", tensor]
    sglang = ["python3", "-m", "sglang.launch_server", "--model-path", "$(MODEL_PATH)", "--context-length", context]
    image, command = (
        ("docker.io/vllm/vllm-openai:v0.33.0", [*vllm, "--gpu-memory-utilization", share]),
        ("docker.io/lmsysorg/sglang:v0.5.23", [*sglang, "--tp-size", tensor, "--mem-fraction-static", share]),
    )[number % 2]
    runner = {
        "name": "ome-container",
        "image": image,
        "command": command,
        "resources": {"limits": {"nvidia.com/gpu": tensor}},
    }
    entry: dict[str, Any] = {
        "modelFormat": {"name": "safetensors"},
        "modelArchitecture": model.architecture,
        "autoSelect": True,
    }
    if model.quantization:
        entry["quantization"] = model.quantization.ome_name or model.quantization.method
    millions = model.parameters.total / 1e6 if model.parameters else 0
    sizes = {"min": f"{0.9 * millions:.0f}M", "max": f"{1.1 * millions:.0f}M"}
    return {"supportedModelFormats": [entry], "modelSizeRange": sizes, "engineConfig": {"runner": runner}}


def _tensor(model: ModelMetadata) -> int | None:
    """GPUs that hold the weights with room to spare, by tensor parallel on one node; None where none do, or where
    one of the two engines does not know the model."""
    if any(all_engines()[name].refusals(model, Task.GENERATE) for name in ("vllm", "sglang")):
        return None
    bytes_ = model.weights.bytes if model.weights else 0
    legal = [size for size in (1, 2, 4, 8) if all(group.heads % size == 0 for group in model.attention)]
    return next((size for size in legal if bytes_ / size < 30 * GIB), None)


def _read(folder: Path, kinds: Mapping[str, type[Document]], wanted: type[D]) -> list[D]:
    problems: list[Problem] = []
    documents = [
        parse_as_written(raw, problems, kinds)
        for path in sorted(folder.rglob("*.yaml"))
        for raw in read_documents(path, path.name, problems)
        if raw.data.get("kind") in kinds
    ]
    if problems:
        sys.exit("\n".join(map(str, problems)))
    return [document for document in documents if isinstance(document, wanted)]


def _asked_for(runtimes: Sequence[RuntimeDocument]) -> list[ModelDeclaration]:
    models = []
    for runtime in runtimes:
        entry, sizes = runtime.spec.supported_model_formats[0], runtime.spec.model_size_range
        models.append(
            ModelDeclaration(
                model_format=entry.model_format,
                model_framework=entry.model_framework,
                model_architecture=entry.model_architecture,
                quantization=entry.quantization,
                model_parameter_size=sizes.min if sizes else None,
            )
        )
    return models
