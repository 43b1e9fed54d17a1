"""SGLang: memory rules and command line.

`mem_fraction_static` is the share of memory that weights and KV cache may take; the rest is reserved by the rule in
SGLang's own source (0.5.23, arg_groups/memory_hook.py), which we evaluate here and pass on explicitly.
"""

from __future__ import annotations

from ome_iac.hardware import GIB, Gpu
from ome_iac.models.metadata import ModelMetadata
from ome_iac.runtimes.catalog import Task
from ome_iac.runtimes.engines.base import Engine, Launch
from ome_iac.runtimes.memory import Ledger, LedgerLine, kv_bytes_per_request, weights_line

MIB = 1024**2
NON_TORCH_GIB = {1: 0.5, 2: 1.1, 4: 1.2, 8: 1.3}
SOURCE = "SGLang 0.5.23, memory_hook.py"


class Sglang(Engine):
    """`python3 -m sglang.launch_server`."""

    port = 30000
    minimum_capability = "7.5"

    def batch_limits(self, gpu: Gpu, tensor_parallel: int) -> tuple[int, int]:
        """Tokens of a prefill chunk and sequences of the largest decode graph: SGLang's defaults for the GPU."""
        many = tensor_parallel >= 4
        if gpu.memory_gib < 20:
            return 2048, 8
        if gpu.memory_gib < 35:
            return 4096, 160 if many else 48
        if gpu.memory_gib < 60:
            return 4096, 160 if many else 32
        if gpu.memory_gib < 160:
            return 8192, 512 if many else 256
        return 16384, 512

    def static_fraction(self, gpu: Gpu, tensor_parallel: int) -> float:
        """The share for weights and KV cache."""
        chunk, sequences = self.batch_limits(gpu, tensor_parallel)
        reserved = 512 + chunk * 1.5 + tensor_parallel / 8 * 1024 + sequences * 2 + _prefill_graphs(chunk) * 8
        if gpu.memory_gib > 60:
            reserved = max(reserved, 10 * 1024)
        total = gpu.memory_bytes / MIB
        return round((total - reserved) / total, 3)

    def ledger(self, model: ModelMetadata, task: Task, gpu: Gpu, tensor_parallel: int, context_length: int) -> Ledger:
        """The memory of one GPU; activations and graphs are what the budget leaves outside."""
        fraction = self.static_fraction(gpu, tensor_parallel)
        return Ledger(
            total=gpu.memory_bytes,
            budget=int(fraction * gpu.memory_bytes),
            budget_formula=f"mem-fraction-static {fraction} x {gpu.memory_gib} GiB",
            lines=(
                weights_line(model, tensor_parallel),
                LedgerLine(
                    name="nonTorch",
                    bytes=int(NON_TORCH_GIB[tensor_parallel] * fraction * GIB),
                    formula=f"{fraction} x (CUDA context and NCCL at TP {tensor_parallel})",
                    source=SOURCE,
                ),
            ),
            kv_bytes_per_request=kv_bytes_per_request(model, context_length, tensor_parallel),
            context_length=context_length,
        )

    def command(self, launch: Launch) -> tuple[str, ...]:
        """The server with every limit spelt out."""
        chunk, sequences = self.batch_limits(launch.gpu, launch.tensor_parallel)
        command = [
            *("python3", "-m", "sglang.launch_server"),
            *("--model-path", launch.model_path),
            *("--served-model-name", launch.served_name),
            *("--host", "0.0.0.0"),
            *("--port", str(self.port)),
            *("--tp-size", str(launch.tensor_parallel)),
            *("--context-length", str(launch.context_length)),
            *("--chunked-prefill-size", str(chunk)),
            *("--cuda-graph-max-bs-decode", str(sequences)),
            *("--mem-fraction-static", str(self.static_fraction(launch.gpu, launch.tensor_parallel))),
            "--enable-metrics",
        ]
        if launch.task is not Task.GENERATE:
            command.append("--is-embedding")
        if launch.revision:
            command += ["--revision", launch.revision]
        return tuple(command)


def _prefill_graphs(chunk: int) -> int:
    """How many prefill graphs SGLang captures up to `chunk` tokens (generate_prefill_cuda_graph_batch_sizes)."""
    ladder = ((4, 32, 4), (48, 256, 16), (288, 512, 32), (576, 1024, 64), (1280, 4096, 256), (4608, chunk, 512))
    return sum(1 for first, last, step in ladder for size in range(first, last + 1, step) if size <= chunk)
