"""The roofline bound of one replica: bytes, operations and traffic over what the hardware can do at its published peak.

Every efficiency is 1.0 and whatever can overlap is taken to overlap, so that no replica is faster. What is left out
(launches, routing, sampling, queues, vision towers, the traffic of routed experts' results) makes real replicas slower
still. Experts are taken to be chosen evenly: a batch with a taste for some of them reads fewer.
"""

from __future__ import annotations

from dataclasses import dataclass

from ome_iac.hardware import GIB, Gpu
from ome_iac.models.metadata import Attention, ModelMetadata, Role
from ome_iac.planning.speed import BOUND, Lengths, Speed
from ome_iac.runtimes.catalog import Task
from ome_iac.runtimes.kv_cache import elements_per_token
from ome_iac.runtimes.splits import DEFAULTS, Split, Tuning, layer_count
from ome_iac.runtimes.weights import OUTSIDE, STORED_FLOATS, TOWERS

SHORTEST_CHUNK = 2048
"""Tokens of a prompt that an engine computes at once by default, at least (vLLM on small GPUs)."""

SIXTEEN_BIT_METHODS = frozenset({"awq", "gptq", "auto-round", "bitsandbytes", "gguf", "hqq"})
"""Quantizations of weights alone: they are unpacked and multiplied in 16 bits."""


@dataclass(frozen=True)
class _Pass:
    """Seconds that one GPU of each pipeline stage is busy, added over the stages, by resource."""

    memory: float
    compute: float
    link: float
    network: float
    weight_bytes: float
    cache_bytes: float

    @property
    def seconds(self) -> float:
        """At least: all resources at once."""
        return max(self.memory, self.compute, self.link, self.network)

    @property
    def limit(self) -> str:
        """The resource that decides."""
        names = ("memory", "compute", "link", "network")
        return max(names, key=lambda name: (getattr(self, name), -names.index(name)))


def roofline(
    model: ModelMetadata,
    gpu: Gpu,
    split: Split,
    lengths: Lengths,
    concurrency: int,
    tuning: Tuning = DEFAULTS,
    *,
    task: Task = Task.GENERATE,
    nodes: int = 1,
    network_gbps: float = 0.0,
) -> Speed | None:
    """No replica with `concurrency` requests in flight is faster; None where the weights are unknown.

    `nodes` are those of the replica, `network_gbps` is a node's RDMA one way (0: not counted).
    """
    if model.weights is None or model.parameters is None:
        return None
    replica = _Replica(model, gpu, split, tuning, task, nodes, network_gbps)
    prompt, answer = lengths.input_tokens, lengths.output_tokens
    first = replica.prefill(1, prompt)
    pieces = max(1.0, prompt / (tuning.max_num_batched_tokens or SHORTEST_CHUNK))
    to_first = first.seconds * (pieces + split.pipeline - 1) / (pieces * split.pipeline)
    everyone = replica.prefill(concurrency, prompt)
    prefill_text = (
        f"prefill: {prompt:,} tokens in {to_first * 1000:.3g} ms: {first.compute * 1000:.3g} ms of computation at "
        f"{replica.rate_name}, {first.memory * 1000:.3g} ms of reading {first.weight_bytes / GIB:.2f} GiB a GPU"
    )
    peak = "every resource at its published peak, all at once, nothing in the way: no replica is faster"
    if task is not Task.GENERATE:
        return Speed(
            time_to_first_token_ms=_rounded(to_first * 1000),
            time_per_output_token_ms=None,
            tokens_per_second=None,
            requests_per_second=_rounded(concurrency * split.pipeline / everyone.seconds),
            lengths=lengths,
            concurrency=concurrency,
            source=BOUND,
            detail=(prefill_text, peak),
        )
    context = prompt + answer // 2
    step = replica.decode(max(1.0, concurrency / split.pipeline), context)
    latency = to_first + (answer - 1) * step.seconds
    busy = max(
        answer * getattr(step, name) + getattr(everyone, name) / split.pipeline
        for name in ("compute", "link", "network")
    )
    per_second = concurrency * answer / max(latency, busy)
    decode_text = (
        f"decode: {step.seconds * 1000:.3g} ms a token: {step.weight_bytes / GIB:.2f} GiB of weights and "
        f"{step.cache_bytes / GIB:.2f} GiB of KV at {context:,} tokens per GPU / {gpu.bandwidth_tb_s} TB/s = "
        f"{step.memory * 1000:.3g} ms; computation {step.compute * 1000:.3g} ms, between GPUs "
        f"{(step.link + step.network) * 1000:.3g} ms; {step.limit} decides"
    )
    return Speed(
        time_to_first_token_ms=_rounded(to_first * 1000),
        time_per_output_token_ms=_rounded(step.seconds * 1000),
        tokens_per_second=_rounded(per_second),
        requests_per_second=_rounded(per_second / answer),
        lengths=lengths,
        concurrency=concurrency,
        source=BOUND,
        detail=(decode_text, prefill_text, peak),
    )


def precision(model: ModelMetadata, gpu: Gpu, tuning: Tuning = DEFAULTS) -> str:
    """The fastest precision that the GPU could multiply these weights in: fp4, fp8, int8, bf16 or fp16."""
    sixteen = "bf16" if model.dtype == "bfloat16" and "bf16" in gpu.teraflops else "fp16"
    stored = model.quantization
    wanted: tuple[str, ...] = ()
    if stored is None:
        wanted = ("fp8",) if tuning.quantization == "fp8" else ()
    elif stored.activations and "int" in stored.activations:
        wanted = ("int8",)
    elif stored.method not in SIXTEEN_BIT_METHODS:
        wanted = ("fp4", "fp8") if stored.bits <= 4 else ("fp8",)
    found = [name for name in wanted if name in gpu.teraflops]
    return max(found, key=lambda name: gpu.teraflops[name]) if found else sixteen


@dataclass(frozen=True)
class _Replica:
    model: ModelMetadata
    gpu: Gpu
    split: Split
    tuning: Tuning
    task: Task
    nodes: int
    network_gbps: float

    @property
    def rate_name(self) -> str:
        name = precision(self.model, self.gpu, self.tuning)
        return f"{self.gpu.teraflops[name]:g} TFLOPS {name}"

    def prefill(self, requests: float, tokens: int) -> _Pass:
        """All tokens of so many prompts; the head sees the last of each. What is read of the cache is not counted."""
        return self._pass(requests, tokens, tokens, cached=False)

    def decode(self, requests: float, context: int) -> _Pass:
        """One token of so many requests, each with `context` tokens behind it."""
        return self._pass(requests, 1, context, cached=True)

    def _pass(self, requests: float, new: int, context: int, cached: bool) -> _Pass:
        split, model = self.split, self.model
        rank = max(1.0, requests / split.data)  # requests of the busiest data parallel rank
        tokens = requests * new
        weight_bytes = self._weight_bytes(tokens)
        cache_bytes = rank * self._cache_bytes(context) if cached else 0.0
        dense, expert, head = self._parameters()
        linear = 2 * (rank * new * dense / split.tensor + tokens * expert / split.stage_gpus)
        linear += 2 * rank * head / split.tensor
        attention = rank * new * sum(self._scores(group, context, cached) for group in model.attention) / split.tensor
        rates = self.gpu.teraflops
        name = precision(model, self.gpu, self.tuning)
        scores_at = "fp8" if self.tuning.kv_bytes(model) == 1 and "fp8" in rates else None
        sixteen = rates.get("bf16") or rates["fp16"]
        compute = linear / rates[name] + attention / (rates[scores_at] if scores_at else sixteen)
        link, network = self._traffic(rank * new)
        return _Pass(
            memory=(weight_bytes + cache_bytes) / (self.gpu.bandwidth_tb_s * 1e12),
            compute=compute / 1e12,
            link=link / (self.gpu.link_gb_s * 1e9),
            network=network / (self.network_gbps * 125e6) if self.network_gbps else 0.0,
            weight_bytes=weight_bytes,
            cache_bytes=cache_bytes,
        )

    def _weight_bytes(self, tokens: float) -> float:
        """Read by one GPU: what every token passes, and of the experts those that `tokens` tokens choose evenly."""
        weights, experts = self.model.weights, self.model.experts
        assert weights is not None
        roles = weights.by_role
        outside = sum(roles.get(role, 0) for role in OUTSIDE)
        routed = roles.get(Role.EXPERT, 0) if experts else 0
        head = (roles.get(Role.HEAD) or roles.get(Role.EMBEDDING, 0)) if self.task is Task.GENERATE else 0
        linear, plain = self._loaded()
        touched = 1 - (1 - experts.active / experts.routed) ** tokens if experts else 0.0
        dense = max(0, weights.bytes - outside - routed) * linear + head * plain
        return dense / self.split.tensor + touched * routed * linear / self.split.stage_gpus

    def _loaded(self) -> tuple[float, float]:
        """Bytes in memory per byte stored, of linear layers and of the head: 32 bits become 16, or FP8 on request."""
        weights = self.model.weights
        if self.model.quantization or weights is None or not sum(weights.by_dtype.values()):
            return 1.0, 1.0
        width = self.tuning.compute_bytes(self.model)
        loaded = sum(
            size * min(1.0, width / STORED_FLOATS[dtype]) if dtype in STORED_FLOATS else size
            for dtype, size in weights.by_dtype.items()
        )
        plain = loaded / sum(weights.by_dtype.values())
        return plain / width if self.tuning.quantization == "fp8" else plain, plain

    def _cache_bytes(self, context: int) -> float:
        """Of one request, read by one GPU of each stage; recurrent state is read and written."""
        element, tensor = self.tuning.kv_bytes(self.model), self.split.tensor
        total = 0.0
        for group in self.model.attention:
            layers = len(group.layer_indices)
            total += layers * elements_per_token(group, tensor) * element * _seen(group, context)
            total += 2 * layers * (group.state_bytes or 0) / tensor
        return total

    def _parameters(self) -> tuple[float, float, float]:
        """Parameters that a token is multiplied with: in layers, in its experts, and in the head."""
        model = self.model
        assert model.parameters is not None
        assert model.weights is not None
        active, total = model.parameters.active, model.parameters.total
        roles, experts = model.weights.by_role, model.experts
        vocabulary = (model.vocabulary_size or 0) * (model.hidden_size or 0)
        ends = vocabulary * sum(1 for role in (Role.EMBEDDING, Role.HEAD) if roles.get(role))
        towers = total * sum(roles.get(role, 0) for role in TOWERS) / (model.weights.bytes or 1)
        in_experts = 0.0
        if experts and experts.active < experts.routed:
            in_experts = (total - active) / (experts.routed / experts.active - 1)
        head = vocabulary if self.task is Task.GENERATE and ends else 0
        return max(0.0, active - ends - towers - in_experts), in_experts, head

    def _scores(self, group: Attention, context: int, cached: bool) -> float:
        """Operations of attention for one token in the layers of the group; a prompt's token sees half of it."""
        if group.kind in ("linear", "mamba", "cross"):
            return 0.0
        wide = group.head_dim + (group.value_head_dim or group.head_dim)
        if group.kind == "mla" and cached:
            wide = 2 * (group.latent_dim or 0) + (group.rope_head_dim or 0)
        if cached or group.kind == "encoder":
            seen = _seen(group, context)
        else:
            window = min(group.window or context, context)
            seen = window - window * window / (2 * context) if group.kind != "chunked" else window / 2
        return 2 * len(group.layer_indices) * group.heads * wide * seen

    def _traffic(self, tokens: float) -> tuple[float, float]:
        """Bytes that one GPU sends over the link and one node over the network: two sums a layer, and stages' outputs.

        A switch may add (NVLink SHARP), so a GPU sends what it does not own once, not twice.
        """
        split, layers = self.split, layer_count(self.model)
        size = tokens * (self.model.hidden_size or 0) * self.tuning.compute_bytes(self.model)
        per_node = max(1, split.gpus // self.nodes)
        ways = -(-split.tensor // per_node)
        inside = split.tensor // ways
        link = 2 * layers * size * (inside - 1) / inside
        network = 2 * layers * size * (ways - 1) / ways
        if split.pipeline > 1 and self.nodes == 1:
            link += (split.pipeline - 1) * size / split.tensor
        elif split.pipeline > 1 and ways == 1:
            network += (min(self.nodes, split.pipeline) - 1) * size
        return link, network


def _seen(group: Attention, context: int) -> float:
    """Cached tokens that a token at that position reads; on average half of a chunk that is left behind again."""
    if group.kind in ("linear", "mamba", "encoder", "cross"):
        return float(context) if group.kind == "encoder" else 0.0
    if not group.window or context <= group.window:
        return float(context)
    return float(group.window) if group.kind == "sliding" else group.window / 2


def _rounded(value: float) -> float:
    """Four figures: the same on every machine."""
    return float(f"{value:.4g}")
