"""Measured runs of vLLM on H100-80GB, and what the ledger says of them; docs/reference/sizing.md is made of it.

All are llm-d-planner's (docs/empirical-vllm-memory-results.md for "0.16", its accuracy reports for the rest), read from
vLLM's own log: "Model loading took", "torch peak memory increase", "non-torch forward increase memory", "Available KV
cache memory", "GPU KV cache size". Memory is GiB. Models are their published configurations, without weights.

The first document does not say which version it ran; activations tell that it was 0.16 or older. Its gpt-oss-120b and
Mistral rows add up only with a share of 0.95, and the Mistral row's activation is that of 0.17 and later.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ome_iac.hardware import GIB, gpus
from ome_iac.models.config_files import ConfigFiles
from ome_iac.models.families import Description, describe
from ome_iac.models.metadata import ModelMetadata
from ome_iac.models.tensors import TensorTable
from ome_iac.runtimes.catalog import Task
from ome_iac.runtimes.engines import engine
from ome_iac.runtimes.memory import Ledger
from ome_iac.runtimes.splits import Split, Tuning
from tests.make_weights import tensor_bytes
from tests.published_models import GPT_OSS_120B, gpt_oss_tensors

GPU = "H100-80GB"
ONE_GPU = Split()


def described(config: dict[str, Any], table: TensorTable | None = None) -> ModelMetadata:
    """What a config.json and the tensors' headers (or only the config) tell."""
    found = describe(ConfigFiles(parsed={"config.json": config}), table)
    return ModelMetadata(source="config.json", **{name: getattr(found, name) for name in Description.model_fields})


def dense(kind: str, architecture: str, sizes: tuple[int, ...], **keys: Any) -> ModelMetadata:
    """A decoder; sizes are hidden, inner, layers, heads, KV heads, vocabulary, positions."""
    names = (
        *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads"),
        *("vocab_size", "max_position_embeddings"),
    )
    base = {"model_type": kind, "architectures": [architecture], "torch_dtype": "bfloat16"}
    return described({**base, **dict(zip(names, sizes, strict=True)), **keys})


def gpt_oss(layers: int, experts: int) -> ModelMetadata:
    """gpt-oss with the headers of its published files."""
    table = TensorTable()
    for name, dtype, shape in gpt_oss_tensors(layers, experts):
        table.append(name, dtype, shape, tensor_bytes(dtype, shape), "")
    kinds = ["sliding_attention", "full_attention"] * (layers // 2)
    config = {**GPT_OSS_120B, "num_hidden_layers": layers, "num_local_experts": experts, "layer_types": kinds}
    return described(config, table)


FP8_CHANNELS = {
    "quant_method": "compressed-tensors",
    "format": "float-quantized",
    "ignore": ["lm_head"],
    "config_groups": {
        "group_0": {
            "targets": ["Linear"],
            "weights": {"num_bits": 8, "type": "float", "strategy": "channel"},
            "input_activations": {"num_bits": 8, "type": "float", "strategy": "token", "dynamic": True},
        }
    },
}
FP8_BLOCKS = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}
UNTIED = {"tie_word_embeddings": False}
QWEN3 = {"head_dim": 128, **UNTIED}
LATENT = {"kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128}

LLAMA_8B = dense("llama", "LlamaForCausalLM", (4096, 14336, 32, 32, 8, 128256, 131072))
LLAMA_70B_FP8 = dense(
    "llama", "LlamaForCausalLM", (8192, 28672, 80, 64, 8, 128256, 131072), quantization_config=FP8_CHANNELS
)
CODE_LLAMA_7B = dense("llama", "LlamaForCausalLM", (4096, 11008, 32, 32, 32, 32016, 16384))
QWEN25_7B = dense("qwen2", "Qwen2ForCausalLM", (3584, 18944, 28, 28, 4, 152064, 32768), **UNTIED)
QWEN3_06B = dense(
    "qwen3", "Qwen3ForCausalLM", (1024, 3072, 28, 16, 8, 151936, 40960), head_dim=128, tie_word_embeddings=True
)
QWEN3_8B = dense("qwen3", "Qwen3ForCausalLM", (4096, 12288, 36, 32, 8, 151936, 40960), **QWEN3)
QWEN3_14B = dense("qwen3", "Qwen3ForCausalLM", (5120, 17408, 40, 40, 8, 151936, 40960), **QWEN3)
QWEN3_32B = dense("qwen3", "Qwen3ForCausalLM", (5120, 25600, 64, 64, 8, 151936, 40960), **QWEN3)
QWEN3_30B_A3B = dense(
    "qwen3_moe",
    "Qwen3MoeForCausalLM",
    (2048, 6144, 48, 32, 4, 151936, 40960),
    num_experts=128,
    num_experts_per_tok=8,
    moe_intermediate_size=768,
    **QWEN3,
)
MIXTRAL_8X7B = dense(
    "mixtral",
    "MixtralForCausalLM",
    (4096, 14336, 32, 32, 8, 32000, 32768),
    num_local_experts=8,
    num_experts_per_tok=2,
    **UNTIED,
)
GEMMA2_27B = dense(
    "gemma2", "Gemma2ForCausalLM", (4608, 36864, 46, 32, 16, 256000, 8192), head_dim=128, sliding_window=4096
)
DEEPSEEK_V2_LITE = dense(
    "deepseek_v2",
    "DeepseekV2ForCausalLM",
    (2048, 10944, 27, 16, 16, 102400, 163840),
    **LATENT,
    moe_intermediate_size=1408,
    n_routed_experts=64,
    n_shared_experts=2,
    num_experts_per_tok=6,
    first_k_dense_replace=1,
    moe_layer_freq=1,
)
DEEPSEEK_R1 = dense(
    "deepseek_v3",
    "DeepseekV3ForCausalLM",
    (7168, 18432, 61, 128, 128, 129280, 163840),
    **LATENT,
    q_lora_rank=1536,
    moe_intermediate_size=2048,
    n_routed_experts=256,
    n_shared_experts=1,
    num_experts_per_tok=8,
    first_k_dense_replace=3,
    moe_layer_freq=1,
    num_nextn_predict_layers=1,
    quantization_config=FP8_BLOCKS,
)
MISTRAL_SMALL = described(
    {
        "model_type": "mistral3",
        "architectures": ["Mistral3ForConditionalGeneration"],
        "torch_dtype": "bfloat16",
        "text_config": {
            "model_type": "mistral",
            "hidden_size": 5120,
            "intermediate_size": 32768,
            "num_hidden_layers": 40,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "vocab_size": 131072,
            "max_position_embeddings": 131072,
            **UNTIED,
        },
        "vision_config": {
            "model_type": "pixtral",
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "head_dim": 64,
            "num_channels": 3,
            "patch_size": 14,
            "image_size": 1540,
        },
        "spatial_merge_size": 2,
        "projector_hidden_act": "gelu",
        "multimodal_projector_bias": False,
    }
)
GPT_OSS_SMALL, GPT_OSS_LARGE = gpt_oss(24, 32), gpt_oss(36, 128)


@dataclass(frozen=True)
class Run:
    """A measured run; None is a figure that was not published. `fits` is whether vLLM started."""

    name: str
    model: ModelMetadata
    version: str
    utilization: float
    context: int
    split: Split = ONE_GPU
    weights: float | None = None
    activation: float | None = None
    non_torch: float | None = None
    kv: float | None = None
    tokens: int | None = None
    fits: bool = True
    options: tuple[tuple[str, str], ...] = ()

    def ledger(self) -> Ledger:
        """What we say of rank 0, the first stage: the one that vLLM's log is read from."""
        tuning = Tuning.model_validate({"gpuMemoryUtilization": self.utilization, **dict(self.options)})
        stages = engine("vllm", self.version).stages(self.model, Task.GENERATE, gpus()[GPU], self.split, tuning)
        return stages[0].ledger(self.context)

    @property
    def measured_kv(self) -> float | None:
        """The published pool or, where only its parts are, the budget less the parts."""
        parts = (self.weights, self.activation, self.non_torch)
        if self.kv is not None or None in parts:
            return self.kv
        return self.utilization * gpus()[GPU].memory_gib - sum(part for part in parts if part is not None)


def _old(name: str, model: ModelMetadata, share: float, *figures: float, tp: int = 1, **more: Any) -> Run:
    weights, activation, non_torch, kv = figures or (None,) * 4
    split = Split(tensor=tp)
    return Run(
        name, model, "0.16.0", share, more.pop("context", 16384), split, weights, activation, non_torch, kv, **more
    )


def _new(name: str, model: ModelMetadata, *figures: float | None, version: str = "0.19.0", **more: Any) -> Run:
    split = Split(tensor=more.pop("tp", 1), pipeline=more.pop("pp", 1))
    options = tuple(more.pop("options", {}).items())
    return Run(name, model, version, 0.95, 8192, split, *figures, options=options, **more)


BEFORE_017 = (
    _old("gpt-oss-20b", GPT_OSS_SMALL, 0.9, 13.47, 7.38, 0.13, 50.28),
    _old("gpt-oss-120b", GPT_OSS_LARGE, 0.95, 64.38, 7.38, 0.13, 3.33),
    _old("Llama-3.3-70B-FP8", LLAMA_70B_FP8, 0.9, 33.88, 4.84, 0.55, 32.00, tp=2),
    _old("Llama-3.1-8B", LLAMA_8B, 0.9, 14.99, 4.76, 0.13, 51.38),
    _old("Qwen3-0.6B", QWEN3_06B, 0.9, 1.12, 5.56, 0.13, 64.45),
    _old("Qwen3-32B", QWEN3_32B, 0.9, 61.03, 5.64, 0.14, 4.45),
    _old("Qwen3-32B", QWEN3_32B, 0.9, 30.59, 5.64, 0.54, 34.49, tp=2),
    _old("Mistral-Small-3.2-24B", MISTRAL_SMALL, 0.95, 44.76, 2.12, 0.14, 28.20),
)
MUST_FAIL = (
    _old("Llama-3.3-70B-FP8", LLAMA_70B_FP8, 0.9, fits=False),
    _old("Qwen3-32B, 32k", QWEN3_32B, 0.9, context=32768, fits=False),
    _old("DeepSeek-R1", DEEPSEEK_R1, 0.9, fits=False),
    _old("DeepSeek-R1", DEEPSEEK_R1, 0.9, tp=8, fits=False),
)
VLLM_019 = (
    _new("Llama-3.1-8B", LLAMA_8B, 14.99, 1.89, 0.25, 58.11, 476_016),
    _new("Llama-3.1-8B", LLAMA_8B, 7.51, 1.89, 2.07, tp=2),
    _new("Llama-3.1-8B", LLAMA_8B, 3.77, 1.89, 2.13, tp=4),
    _new("Llama-3.1-8B", LLAMA_8B, 7.51, 1.10, 0.07, pp=2),
    _new("Llama-3.1-8B", LLAMA_8B, 4.26, 1.05, 0.07, pp=4),
    _new("Llama-3.1-8B, FP8 weights", LLAMA_8B, 8.49, 1.89, 0.25, 64.61, options={"quantization": "fp8"}),
    _new("Llama-3.1-8B, FP8 KV", LLAMA_8B, 14.99, 1.89, 0.25, 58.11, 952_032, options={"kvCacheDtype": "fp8"}),
    _new("Llama-3.1-8B, float32", LLAMA_8B, 29.98, 2.21, 0.25, 42.80, 175_296, options={"dtype": "float32"}),
    _new("Qwen2.5-7B", QWEN25_7B, 14.25, 2.21, 0.24, 58.53, 1_096_000),
    _new("Qwen2.5-7B, FP8 KV", QWEN25_7B, 14.25, 2.21, 0.24, 58.53, 2_192_000, options={"kvCacheDtype": "fp8"}),
    _new("Qwen2.5-7B", QWEN25_7B, 7.12, 2.21, 2.06, tp=2),
    _new("Qwen2.5-7B", QWEN25_7B, 3.55, 2.21, 2.13, tp=4),
)
BEYOND = (
    *(
        _new("Qwen3-14B", QWEN3_14B, 27.52, activation, runtime, kv, version=version)
        for version, activation, runtime, kv in (
            ("0.15.0", 5.64, 0.13, 41.94),
            ("0.16.0", 5.64, 0.13, 41.94),
            ("0.17.0", 2.23, 0.13, 45.34),
            ("0.18.0", 2.23, 0.25, 45.23),
        )
    ),
    _new("Qwen3-8B", QWEN3_8B, 15.27, 2.21, 0.25),
    _new("Qwen3-8B", QWEN3_8B, 5.48, 0.96, 0.07, pp=3),
    _new("CodeLlama-7B", CODE_LLAMA_7B, None, 0.77, 0.25),
    _new("gemma-2-27b", GEMMA2_27B, None, 3.66, 0.26),
    _new("Mixtral-8x7B", MIXTRAL_8X7B, None, 1.21, 2.07, tp=2),
    _new("Qwen3-30B-A3B", QWEN3_30B_A3B, None, 2.68, 0.27),
    _new("DeepSeek-V2-Lite", DEEPSEEK_V2_LITE, None, 1.93, 0.26),
)


def table(runs: tuple[Run, ...]) -> list[list[str]]:
    """Header and one row a run: measured and ours, then the error."""
    header = ["Model", "vLLM", "Split", "Weights", "Activation", "Non-torch", "KV pool", "KV tokens", "Verdict"]
    return [header, *(_row(run) for run in runs)]


def _row(run: Run) -> list[str]:
    ledger = run.ledger()
    ours = {line.name: line.bytes / GIB for line in ledger.lines}
    measured = {"weights": run.weights, "activation": run.activation, "nonTorch": run.non_torch}
    cells = [_compared(measured[name], ours[name]) for name in measured]
    cells.append(_compared(run.measured_kv, ledger.kv_cache / GIB))
    tokens = ledger.kv_tokens or 0
    counted = "" if run.tokens is None else f"{run.tokens:,} / {tokens:,} ({tokens / run.tokens - 1:+.2%})"
    verdict = ("runs" if run.fits else "fails") + " / " + ("fits" if ledger.fits else "does not fit")
    return [run.name, run.version, str(run.split), *cells, counted, verdict]


def _compared(measured: float | None, ours: float) -> str:
    return f"- / {ours:.2f}" if measured is None else f"{measured:.2f} / {ours:.2f} ({ours - measured:+.2f})"


def lines(rows: list[list[str]]) -> Iterator[str]:
    """The table as Markdown."""
    for row in (rows[0], ["---"] * len(rows[0]), *rows[1:]):
        yield "| " + " | ".join(row) + " |"
