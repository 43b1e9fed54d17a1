"""What an engine needs of each GPU for a model at a split, whatever the requests: computed once for all services."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from ome_iac.hardware import Gpu, Shape
from ome_iac.models.metadata import ModelMetadata
from ome_iac.runtimes.catalog import Task
from ome_iac.runtimes.engines import Engine
from ome_iac.runtimes.engines.custom import Custom
from ome_iac.runtimes.kv_cache import Layout, longest
from ome_iac.runtimes.memory import Stage
from ome_iac.runtimes.splits import Split, Tuning


@dataclass(slots=True)
class Proof:
    """One split of one model: its stages, or why it is illegal."""

    split: Split
    stages: tuple[Stage, ...]
    illegal: tuple[str, ...]
    room: int
    """Bytes left for the KV cache on the stage with least; negative where the weights do not fit."""
    limits: tuple[tuple[int, Layout], ...]
    """Bytes of whole blocks and how a request is laid out in them: each stage that may decide."""
    copies: int
    _longest: dict[int, int] = field(default_factory=dict)
    _last: tuple[int, float | None] | None = None

    @classmethod
    def legal(cls, split: Split, stages: tuple[Stage, ...]) -> Proof:
        """Of a split that the model allows."""
        least: dict[Layout, int] = {}
        for stage in stages:
            least[stage.layout] = min(stage.usable, least.get(stage.layout, stage.usable))
        limits = tuple((usable, layout) for layout, usable in least.items())
        return cls(split, stages, (), min(stage.room for stage in stages), limits, stages[0].copies)

    def fits(self, context_length: int) -> bool:
        """Whether the weights and one request of that length have room."""
        held = self.concurrency(context_length)
        return self.room >= 0 and (held is None or held >= self.copies)

    def concurrency(self, context_length: int) -> float | None:
        """Requests of that length at once; None where requests keep nothing (encoders)."""
        if self._last is None or self._last[0] != context_length:
            held = [
                self.copies * max(0.0, usable / need)
                for usable, layout in self.limits
                if (need := layout.request_bytes(context_length))
            ]
            self._last = context_length, min(held, default=None)
        return self._last[1]

    def request_bytes(self, context_length: int) -> int:
        """KV bytes of one request on the stage where it takes most."""
        return max(layout.request_bytes(context_length) for _, layout in self.limits)

    def longest(self, most: int) -> int:
        """Tokens of the longest single request, at most `most`; 0 where the weights do not fit."""
        if most not in self._longest:
            reach = min(longest(layout, usable, most) for usable, layout in self.limits) if self.room >= 0 else 0
            self._longest[most] = reach
        return self._longest[most]


@dataclass
class Proofs:
    """The proofs of one planning run. Models and engines are told apart by identity: they outlive the run."""

    _of: dict[tuple[object, ...], ModelProofs] = field(default_factory=dict)

    def of(
        self, engine: Engine, model: ModelMetadata, task: Task, tuning: Tuning, tensor: int | None = None
    ) -> ModelProofs:
        """Those of a model with an engine; `tensor`: of splits of that size only."""
        key = (engine, id(model), task, tuning, tensor)
        if key not in self._of:
            self._of[key] = ModelProofs(engine, model, task, tuning, tensor)
        return self._of[key]


@dataclass
class ModelProofs:
    """All proofs of one model with one engine."""

    engine: Engine
    model: ModelMetadata
    task: Task
    tuning: Tuning
    tensor: int | None
    _refusals: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _nodes: dict[tuple[str, int], tuple[Proof, ...]] = field(default_factory=dict)
    _splits: dict[tuple[str, Split], Proof] = field(default_factory=dict)

    @cached_property
    def refusals(self) -> tuple[str, ...]:
        """Why the engine cannot serve the model on anything."""
        return self.engine.refusals(self.model, self.task)

    def shape_refusals(self, shape: Shape) -> tuple[str, ...]:
        """Why the engine cannot serve the model on nodes of the shape."""
        if shape.name not in self._refusals:
            engine = self.engine
            self._refusals[shape.name] = (
                *engine.gpu_refusals(self.model, shape.gpu, self.tuning),
                *(engine.shape_refusals(shape) if isinstance(engine, Custom) else ()),
            )
        return self._refusals[shape.name]

    def on_nodes(self, shape: Shape, nodes: int) -> tuple[Proof, ...]:
        """The splits that take exactly so many nodes of a shape (parts of one node: 1)."""
        key = (shape.name, nodes)
        if key not in self._nodes:
            if isinstance(self.engine, Custom):
                splits = [self.engine.split if self.tensor is None else Split(tensor=self.tensor)]
            else:
                splits = splits_of(self.model, shape.gpus, nodes, self.tensor)
            self._nodes[key] = tuple(self._proof(shape.gpu, split) for split in splits)
        return self._nodes[key]

    def _proof(self, gpu: Gpu, split: Split) -> Proof:
        key = (gpu.name, split)
        if key not in self._splits:
            illegal = self.engine.illegal_splits(self.model, split)
            self._splits[key] = (
                Proof(split, (), illegal, -1, (), 1)
                if illegal
                else Proof.legal(split, self.engine.stages(self.model, self.task, gpu, split, self.tuning))
            )
        return self._splits[key]


def splits_of(model: ModelMetadata, gpus: int, nodes: int, tensor: int | None = None) -> list[Split]:
    """The splits of one node of `gpus` GPUs; of several nodes: stages across them, then tensor parallel across them.

    `tensor` leaves those of that size only, which on one node need be no power of two.
    """
    if nodes == 1:
        sizes = [size for size in (1, 2, 4, 8, 16) if size < gpus] + [gpus]
        if tensor is not None:
            sizes = [tensor] if tensor <= gpus else []
        plain = [Split(tensor=size) for size in sizes]
    else:
        plain = [Split(tensor=gpus, pipeline=nodes), Split(tensor=gpus * nodes)]
        plain = [split for split in plain if tensor in (None, split.tensor)]
    return [split for each in plain for split in _with_experts(model, each, tensor is None)]


def _with_experts(model: ModelMetadata, split: Split, free: bool) -> list[Split]:
    """The split; for models with experts also whole experts on each GPU; and where a latent (MLA) cache would stand on
    every GPU of a tensor parallel group, attention data parallel, so that each GPU keeps other requests."""
    if model.experts is None or split.stage_gpus == 1:
        return [split]
    gpus = split.stage_gpus
    ways = [split, split.model_copy(update={"expert": gpus})]
    if free and split.pipeline == 1 and any(group.kind == "mla" for group in model.attention):
        ways.append(Split(data=gpus, expert=gpus))
    return ways
