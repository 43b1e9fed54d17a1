"""One model on one GPU at one split: the verdict of `ome-iac fit`. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ome_iac.hardware import GIB, Gpu
from ome_iac.models.metadata import ModelMetadata, Source
from ome_iac.runtimes.catalog import Task
from ome_iac.runtimes.engines import Engine, nearest_legal, task_of
from ome_iac.runtimes.memory import Ledger, longest_context, tightest
from ome_iac.runtimes.splits import Split, Tuning

LINES = ("weights", "activation", "nonTorch", "cudaGraph")
UNKNOWN_CONTEXT = 2048
"""Tokens of a request where neither the model nor the user says."""


@dataclass(frozen=True)
class Fit:
    """The verdict; `ledger` is that of the stage with least room, None where there are no weights to reckon with."""

    model: ModelMetadata
    engine: Engine
    gpu: Gpu
    split: Split
    ledger: Ledger | None
    illegal: tuple[str, ...]
    limited_by: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether it runs."""
        return not self.limited_by

    def summary(self) -> dict[str, Any]:
        """Plain data; memory in GiB, to hundredths. `kvTokens` and `maxConcurrency` are those of the whole replica."""
        ledger = self.ledger
        concurrency = ledger.concurrency if ledger else 0.0
        return {
            "fits": self.fits,
            "perGpu": _per_gpu(ledger) if ledger else None,
            "kvTokens": ledger.kv_tokens if ledger else 0,
            "maxConcurrency": None if concurrency is None else round(concurrency, 2),
            "limitedBy": "; ".join(self.limited_by) or None,
            "engine": self.engine.catalog.engine,
            "version": self.engine.catalog.version,
            "stage": ledger.stage if ledger else None,
            "illegal": list(self.illegal),
            "notes": list(self.notes),
        }


def fit_model(
    model: ModelMetadata,
    engine: Engine,
    gpu: Gpu,
    split: Split,
    tuning: Tuning,
    context_length: int | None,
    gpus_per_node: int,
) -> Fit:
    """Whether the model runs so, and if not, every reason why."""
    task = task_of(model) or Task.GENERATE
    notes = list(engine.notes)
    illegal = list(engine.illegal_splits(model, split))
    if illegal:
        nearest = nearest_legal(engine, model, split)
        illegal.append(f"the nearest legal split is {nearest}" if nearest else "no split of it is legal")
    reasons = [*engine.refusals(model, task), *engine.gpu_refusals(model, gpu, tuning), *illegal]
    if split.tensor > gpus_per_node:
        notes.append(f"TP {split.tensor} spans nodes of {gpus_per_node} GPUs: it needs RDMA between them, and is slow")
    elif split.gpus > gpus_per_node:
        notes.append(f"{split.gpus} GPUs are {-(-split.gpus // gpus_per_node)} nodes: they need RDMA between them")
    own = model.context_length
    if own and context_length and context_length > own:
        reasons.append(f"{context_length:,} tokens are more than the model's {own:,}")
    if model.weights is None:
        reasons.append("its weights are unknown: " + ("; ".join(model.missing) or "nothing tells their size"))
        return Fit(model, engine, gpu, split, None, tuple(illegal), tuple(reasons), tuple(notes))
    if derived_bytes(model):
        notes.append("bytes are derived from the configuration: no weights were read")
    if split.data > 1:
        notes.append(f"KV tokens and concurrency are of all {split.data} data parallel ranks together")
    wanted = context_length or own or UNKNOWN_CONTEXT
    stages = engine.stages(model, task, gpu, split, tuning)
    ledger = tightest(stages, wanted)
    where = f" on stage {ledger.stage + 1} of {split.pipeline}" if split.pipeline > 1 else ""
    if ledger.kv_cache < 0:
        reasons.append(f"weights and overhead exceed the budget by {-ledger.kv_cache / GIB:.2f} GiB per GPU{where}")
    elif not ledger.fits:
        longest = longest_context(stages, wanted)
        reasons.append(
            f"KV cache: {wanted:,} tokens need {ledger.kv_bytes_per_request / GIB:.2f} GiB per GPU{where}, "
            f"{ledger.kv_cache / GIB:.2f} are left, enough for {longest:,}"
        )
    return Fit(model, engine, gpu, split, ledger, tuple(illegal), tuple(reasons), tuple(notes))


def derived_bytes(model: ModelMetadata) -> bool:
    """Whether the bytes of the weights were computed from the configuration instead of read."""
    evidence = model.provenance.get("weights") or model.provenance.get("parameters")
    return evidence is not None and evidence.source is Source.DERIVED


def _per_gpu(ledger: Ledger) -> dict[str, float]:
    amounts = dict.fromkeys(LINES, 0)
    for line in (*ledger.lines, *ledger.beside):
        amounts[line.name] += line.bytes
    amounts |= {"kvCache": ledger.kv_cache, "total": ledger.total, "free": ledger.free}
    return {name: round(amount / GIB, 2) for name, amount in amounts.items()}
