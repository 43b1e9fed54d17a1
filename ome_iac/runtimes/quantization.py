"""Which stored quantizations an engine runs on which GPUs, and what it can quantize while loading.

For vLLM and SGLang compute capabilities are what each method's `get_min_capability` says in the released source, times
ten as there; a method that a GPU computes only by unpacking (Marlin) counts as supported. For the others they are what
the project's docs say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from packaging.version import Version

from ome_iac.hardware import Gpu
from ome_iac.models.metadata import ModelMetadata
from ome_iac.runtimes.splits import Split, Tuning
from ome_iac.runtimes.weights import expert_width


@dataclass(frozen=True)
class Method:
    """One way in which weights are stored: where it runs, and in which versions of the engine."""

    nvidia: int
    """Least compute capability times ten."""
    amd: tuple[str, ...] = ()
    """LLVM targets."""
    until: str | None = None
    """The first version without it, as far as read."""
    beyond: int | None = None
    """The first compute capability, times ten, that has no kernels for it any more."""


CDNA = ("gfx942", "gfx950")

VLLM: Mapping[str, Method] = {
    "fp8": Method(75, CDNA),
    "fbgemm_fp8": Method(80, CDNA),
    "compressed-tensors": Method(70, CDNA),
    "awq": Method(75, CDNA),
    "gptq": Method(60, CDNA),
    "auto-round": Method(60, CDNA),
    "mxfp4": Method(80, CDNA),
    "nvfp4": Method(75),
    "modelopt": Method(80, CDNA),
    "quark": Method(70, CDNA),
    "torchao": Method(75, CDNA),
    "bitsandbytes": Method(70, until="0.33.0"),
    "gguf": Method(60, CDNA, until="0.33.0"),
}

SGLANG: Mapping[str, Method] = {
    "fp8": Method(80, CDNA),
    "compressed-tensors": Method(70, CDNA),
    "awq": Method(75, CDNA),
    "gptq": Method(80),
    "auto-round": Method(60),
    "mxfp4": Method(80, ("gfx950",)),
    "nvfp4": Method(80),
    "modelopt": Method(89),
    "quark": Method(70, CDNA),
    "bitsandbytes": Method(70),
    "gguf": Method(60),
}

TENSORRT_LLM: Mapping[str, Method] = {
    "fp8": Method(89),
    "fbgemm_fp8": Method(90, beyond=100),
    "modelopt": Method(80, beyond=100),
    "awq": Method(80, beyond=100),
    "gptq": Method(80, beyond=100),
    "nvfp4": Method(100),
    "mxfp4": Method(100),
}
"""Hardware support matrix of features/quantization.md (1.2); `modelopt` is its INT4 AWQ."""

TGI: Mapping[str, Method] = {
    "fp8": Method(80, CDNA),
    "fbgemm_fp8": Method(80, CDNA),
    "compressed-tensors": Method(80),
    "awq": Method(80, CDNA),
    "gptq": Method(75, CDNA),
    "eetq": Method(75),
    "bitsandbytes": Method(75),
}
"""Methods of launcher.md (3.3). Capabilities are assumed: Marlin needs 8.0, the others what the image is built for."""


def unknown_method(name: str, version: Version, methods: Mapping[str, Method], model: ModelMetadata) -> tuple[str, ...]:
    """Why the engine cannot read the stored weights on any GPU; empty if it can."""
    stored = model.quantization
    if stored is None:
        return ()
    method = methods.get(stored.method)
    if not methods:
        return (f"{name} runs plain weights only, these are {stored.method}",)
    if method is None:
        return (f"{name} has no {stored.method} quantization; it has {', '.join(sorted(methods))}",)
    if method.until and version >= Version(method.until):
        return (f"{name} no longer has {stored.method} quantization",)
    return ()


def unsuited_gpu(
    name: str, methods: Mapping[str, Method], model: ModelMetadata, gpu: Gpu, tuning: Tuning
) -> tuple[str, ...]:
    """Why the GPU is no place for the stored weights, or for what is made of plain ones; empty if it is one."""
    used = model.quantization.method if model.quantization else tuning.quantization
    method = methods.get(used) if used else None
    if used is None or method is None:
        return ()
    if gpu.vendor == "amd":
        return () if gpu.arch in method.amd else (f"{name} does not run {used} on {gpu.name} ({gpu.arch})",)
    capability = Version(gpu.compute_capability or "0")
    needed = Version(f"{method.nvidia // 10}.{method.nvidia % 10}")
    if capability < needed:
        return (f"{used} in {name} needs compute capability {needed}, {gpu.name} has {capability}",)
    if method.beyond and capability >= Version(f"{method.beyond // 10}.{method.beyond % 10}"):
        return (f"{name} has no {used} for compute capability {capability} ({gpu.name})",)
    return ()


def unsuited_tuning(model: ModelMetadata, gpu: Gpu, tuning: Tuning) -> tuple[str, ...]:
    """Why what was asked at run time contradicts the model or the GPU; empty if it does not."""
    reasons = []
    if tuning.quantization == "fp8" and model.quantization:
        reasons.append(f"the weights are stored as {model.quantization.method} already; --quantization fp8 needs plain")
    if tuning.dtype == "float32" and model.quantization:
        reasons.append(f"{model.quantization.method} weights are not computed in float32")
    if tuning.dtype == "bfloat16" and "bf16" not in gpu.teraflops:
        reasons.append(f"{gpu.name} does not compute in bfloat16; float16 would do")
    return tuple(reasons)


def broken_blocks(model: ModelMetadata, split: Split) -> tuple[str, ...]:
    """Where a split cuts through the blocks that share an FP8 scale; empty if nowhere."""
    stored = model.quantization
    if stored is None or stored.block_shape is None:
        return ()
    rows = stored.block_shape[0]
    reasons = []
    inner = model.intermediate_size
    if inner and (inner % split.tensor or inner // split.tensor % rows):
        reasons.append(f"the MLP's {inner} rows over TP {split.tensor} are no multiple of the FP8 block of {rows}")
    width = expert_width(model)
    ways = split.stage_gpus
    if width and split.expert == 1 and (width % ways or width // ways % rows):
        reasons.append(f"an expert's {width} rows over {ways} GPUs are no multiple of the FP8 block of {rows}")
    return tuple(reasons)
