"""vLLM: memory rules and command line.

Memory rules from the runs llm-d-planner published (H100, vLLM 0.19) and from the released source: since 0.17 the
activation peak is about four logits tensors, since 0.21 CUDA graphs are counted inside the memory budget.
"""

from __future__ import annotations

from ome_iac.hardware import GIB, Gpu
from ome_iac.models.metadata import ModelMetadata
from ome_iac.runtimes.catalog import Task
from ome_iac.runtimes.engines.base import Engine, Launch
from ome_iac.runtimes.memory import Ledger, LedgerLine, kv_bytes_per_request, weights_line

UTILIZATION = 0.92
NON_TORCH_GIB = {1: 0.27, 2: 2.08, 4: 2.17, 8: 2.25}
CUDA_GRAPH_GIB = 1.04
LOGITS_COPIES = 4
ACTIVATION_FLOOR_GIB = 0.75
RUNS = "llm-d-planner's vLLM 0.19 runs on H100"


class Vllm(Engine):
    """`vllm serve`."""

    port = 8000
    minimum_capability = "7.5"

    def batch_limits(self, gpu: Gpu) -> tuple[int, int]:
        """Sequences and tokens of one batch: vLLM's own defaults for the GPU (EngineArgs.get_batch_defaults)."""
        if gpu.memory_gib >= 160:
            return 1024, 16384
        if gpu.memory_gib >= 70 and not gpu.name.startswith("A100"):
            return 1024, 8192
        return 256, 2048

    def ledger(self, model: ModelMetadata, task: Task, gpu: Gpu, tensor_parallel: int, context_length: int) -> Ledger:
        """The memory of one GPU."""
        sequences, tokens = self.batch_limits(gpu)
        logits = LOGITS_COPIES * sequences * (model.vocabulary_size or 0) * 4 if task is Task.GENERATE else 0
        width = 2 * (model.intermediate_size or 0) // tensor_parallel + 4 * (model.hidden_size or 0)
        activation = max(logits, tokens * width * 2, int(ACTIVATION_FLOOR_GIB * GIB))
        return Ledger(
            total=gpu.memory_bytes,
            budget=int(UTILIZATION * gpu.memory_bytes),
            budget_formula=f"gpu-memory-utilization {UTILIZATION} x {gpu.memory_gib} GiB",
            lines=(
                weights_line(model, tensor_parallel),
                LedgerLine(
                    name="activation",
                    bytes=activation,
                    formula=f"max({LOGITS_COPIES} x {sequences} sequences x vocabulary x 4 B, {tokens} tokens x "
                    f"{width} x 2 B, {ACTIVATION_FLOOR_GIB} GiB)",
                    source=RUNS,
                ),
                LedgerLine(
                    name="nonTorch",
                    bytes=int(NON_TORCH_GIB[tensor_parallel] * GIB),
                    formula=f"CUDA context and NCCL at TP {tensor_parallel}",
                    source=RUNS if tensor_parallel < 8 else f"{RUNS}, carried on from TP 4",
                ),
                LedgerLine(
                    name="cudaGraph", bytes=int(CUDA_GRAPH_GIB * GIB), formula="mean of 0.51 to 1.85 GiB", source=RUNS
                ),
            ),
            kv_bytes_per_request=kv_bytes_per_request(model, context_length, tensor_parallel),
            context_length=context_length,
        )

    def command(self, launch: Launch) -> tuple[str, ...]:
        """`vllm serve` with every limit spelt out, so that the proof does not hang on the engine's defaults."""
        sequences, tokens = self.batch_limits(launch.gpu)
        command = [
            *("vllm", "serve", launch.model_path),
            *("--served-model-name", launch.served_name),
            *("--host", "0.0.0.0"),
            *("--port", str(self.port)),
            *("--tensor-parallel-size", str(launch.tensor_parallel)),
            *("--max-model-len", str(launch.context_length)),
            *("--max-num-seqs", str(sequences)),
            *(
                "--max-num-batched-tokens",
                str(max(tokens, launch.context_length) if launch.task is not Task.GENERATE else tokens),
            ),
            *("--gpu-memory-utilization", str(UTILIZATION)),
            *("--disable-access-log-for-endpoints", "/health,/metrics"),
        ]
        if launch.task is not Task.GENERATE:
            command += ["--runner", "pooling"]
        if launch.revision:
            command += ["--revision", launch.revision]
        return tuple(command)
