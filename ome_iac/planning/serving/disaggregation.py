"""Prefill and decode apart: how large each is, and which replicas may be put together.

KV cache goes from a prefill replica to a decode replica by NIXL. What has to agree on both sides is read in the
released sources: vLLM 0.33.0 (kv_connector/v1/nixl: compute_nixl_compatibility_hash, tp_ratio, base_worker.py) and
SGLang 0.5.23 (disaggregation/common/conn.py, arg_groups/pd_disaggregation_hook.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from packaging.version import Version

from ome_iac.models.metadata import ModelMetadata
from ome_iac.planning.candidates import Candidate
from ome_iac.planning.demand import Demand
from ome_iac.planning.proofs import Proof
from ome_iac.planning.serving.handover import (
    BLOCK_TOKENS,
    CONNECTORS,
    STAGING_MIB,
    Mismatch,
    fewest_heads,
    needs_staging,
)
from ome_iac.planning.speed import fastest_first
from ome_iac.runtimes.catalog import Task
from ome_iac.runtimes.engines import Engine
from ome_iac.runtimes.engines.sglang import Sglang
from ome_iac.spec.infrastructure import ManagedRdmaPool
from ome_iac.spec.platform import RdmaNetwork

STAGING_BYTES = STAGING_MIB * 1024**2
"""Where tensor parallel differs, SGLang gathers KV heads here on decode; that prefill takes as much is assumed."""
REGROUPS_BOTH_WAYS = Version("0.33")
"""From here vLLM's NIXL also takes KV from more ranks than it has (read in 0.33.0; older releases are not taken to)."""


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many of each."""

    prefill: int
    decode: int


@dataclass(frozen=True, slots=True)
class Pair:
    """A way to serve with prefill and decode apart."""

    prefill: Candidate
    decode: Candidate
    context_length: int
    """Tokens of one request that both sides hold."""
    together: bool
    """Whether all pods have to stand on one node, since no RDMA joins them."""

    def cost_per_hour(self, replicas: Replicas) -> float:
        """List price of all replicas' GPUs."""
        return self.prefill.cost_per_hour * replicas.prefill + self.decode.cost_per_hour * replicas.decode

    def gpus(self, replicas: Replicas) -> int:
        """GPUs of all replicas."""
        return self.prefill.split.gpus * replicas.prefill + self.decode.split.gpus * replicas.decode

    def __str__(self) -> str:
        return f"{self.prefill} for prefill, {self.decode.pool.name}, {self.decode.split} for decode"


@dataclass(frozen=True, slots=True)
class Pairing:
    """What was found: pairs, best first, and every reason against the others once, of the nearest to a pair first."""

    fitting: tuple[Pair, ...]
    mismatches: tuple[Mismatch, ...]


def role_demands(demand: Demand, concurrency: int, replicas: Replicas) -> tuple[Demand, Demand]:
    """What a prefill and what a decode replica has to hold, of `concurrency` requests at once in the whole service.

    Prefill holds a request until decode has pulled it, so one at a time has to fit; the time to the first token is its
    matter. Decode holds its share of all requests, and the time per token is its matter.
    """
    return (
        replace(demand, concurrency=1, per_token_ms=None),
        replace(demand, concurrency=-(-concurrency // replicas.decode), first_token_ms=None),
    )


def pair_up(
    model: ModelMetadata,
    demand: Demand,
    prefill: Sequence[Candidate],
    decode: Sequence[Candidate],
    replicas: Replicas,
    network: RdmaNetwork,
    picker: bool,
) -> Pairing:
    """Every prefill way with every decode way of the same engine, ranked.

    `demand` is what a decode replica has to hold; `picker`: whether a gateway can ask an endpoint picker, which is what
    joins vLLM's. Rank: RDMA before one node; the demand's objective over all replicas; the same tensor parallel on both
    sides; the order in which the ways came.
    """
    fitting: list[tuple[tuple[object, ...], Pair]] = []
    mismatches: dict[Mismatch, int] = {}
    if demand.task is not Task.GENERATE:
        what = f"a model for {demand.task} has no decode step: there is nothing to take apart"
        return Pairing((), (Mismatch(what, "leave out decoder and intent.pattern"),))
    for first, before in enumerate(prefill):
        for second, after in enumerate(decode):
            if before.engine is not after.engine:
                continue
            pair = _pair(model, demand, before, after)
            reasons = (*_unjoined(before.engine, picker), *_mismatches(model, demand, pair, replicas, network))
            if reasons:
                mismatches |= {each: min(len(reasons), mismatches.get(each, len(reasons))) for each in reasons}
                continue
            equal = before.split.tensor == after.split.tensor
            objective = _objective(pair, demand.objective, replicas)
            fitting.append(((pair.together, *objective, not equal, first + second, first), pair))
    fitting.sort(key=lambda entry: entry[0])
    nearest = sorted(mismatches, key=lambda each: mismatches[each])
    return Pairing(tuple(pair for _, pair in fitting), tuple(nearest))


def _pair(model: ModelMetadata, demand: Demand, prefill: Candidate, decode: Candidate) -> Pair:
    """The two with what they need for each other, holding what both hold: whole blocks, where nobody insists."""
    engine = prefill.engine
    if isinstance(engine, Sglang) and needs_staging(model, prefill.split.tensor, decode.split.tensor):
        prefill, decode = (_smaller(engine, model, demand.task, way) for way in (prefill, decode))
    context = demand.context_length
    shortest = min(prefill.context_length, decode.context_length)
    if not demand.insisted and shortest < context:
        block = BLOCK_TOKENS.get(_kind(engine), 1)
        context = shortest // block * block
    prefill, decode = (
        replace(way, context_length=context, concurrency=way.proof.concurrency(context)) for way in (prefill, decode)
    )
    return Pair(prefill, decode, context, together=not _on_rdma(prefill, decode))


def _objective(pair: Pair, objective: str, replicas: Replicas) -> tuple[object, ...]:
    money, gpus = pair.cost_per_hour(replicas), pair.gpus(replicas)
    speeds = (fastest_first(pair.decode.speed), fastest_first(pair.prefill.speed))
    by_objective: dict[str, tuple[object, ...]] = {
        "cheapest": (money, gpus),
        "fewest-gpus": (gpus, money),
        "fastest": (*speeds, money, gpus),
    }
    return by_objective[objective]


def _kind(engine: Engine) -> str:
    return engine.catalog.engine


def _unjoined(engine: Engine, picker: bool) -> Iterator[Mismatch]:
    """Who sends a request first to prefill and then to decode: SGLang's router; for vLLM a picker and a proxy."""
    if CONNECTORS.get(_kind(engine)) not in engine.disaggregation:
        yield Mismatch(f"{engine.name} hands no KV cache to another replica", "runtime vllm or sglang")
    elif _kind(engine) == "vllm" and not picker:
        what = f"prefill and decode of {engine.name} are joined by a gateway's endpoint picker, and there is no gateway"
        yield Mismatch(what, "a Platform with spec.ingress of kind gateway and inference-extension; or runtime sglang")


def _mismatches(
    model: ModelMetadata, demand: Demand, pair: Pair, replicas: Replicas, network: RdmaNetwork
) -> Iterator[Mismatch]:
    """Everything that keeps a decode replica from taking over what a prefill replica computed."""
    before, after = pair.prefill, pair.decode
    yield from _network(pair, replicas, network)
    if (before.tuning.kv_cache_dtype, before.tuning.dtype) != (after.tuning.kv_cache_dtype, after.tuning.dtype):
        yield Mismatch("prefill and decode keep KV in different types", "one kvCacheDtype for both")
    if before.pool.shape.gpu.name != after.pool.shape.gpu.name:
        what = f"{before.pool.shape.gpu.name} and {after.pool.shape.gpu.name} lay out KV each in its own way"
        yield Mismatch(what, "one GPU model for both")
    for role, way in (("prefill", before), ("decode", after)):
        if way.split.pipeline > 1 or way.split.data > 1:
            yield Mismatch(f"{way.split} for {role}: NIXL moves KV between tensor parallel ranks only", "TP alone")
    yield from _tensor(model, pair)
    block = BLOCK_TOKENS.get(_kind(before.engine), 1)
    tokens = -(-pair.context_length // block) * block
    for role, way in (("prefill", before), ("decode", after)):
        if not way.proof.fits(tokens):
            what = f"{way} has no room for {tokens:,} tokens in blocks of {block} for {role}"
            yield Mismatch(what, f"a context length of {way.proof.longest(tokens) // block * block:,} or less")
    if after.concurrency is not None and after.concurrency < demand.concurrency:
        what = f"{after} holds {int(after.concurrency)} of {demand.concurrency} requests for decode"
        yield Mismatch(what, "more decode replicas (decoder.minReplicas), or fewer requests")


def _network(pair: Pair, replicas: Replicas, network: RdmaNetwork) -> Iterator[Mismatch]:
    """RDMA between all pods, or all of them on one node."""
    before, after = pair.prefill, pair.decode
    shape = before.pool.shape
    if not pair.together:
        yield from _on_hosts(pair, network)
    elif before.pool is not after.pool:
        what = f"no RDMA network joins {before.pool.name} and {after.pool.name}"
        yield Mismatch(what, "one pool for both, or two managed-rdma pools of one computeClusterId")
    elif pair.gpus(replicas) > shape.gpus or before.nodes > 1 or after.nodes > 1:
        lack = "has no RDMA network" if shape.rdma is None else "is not in a compute cluster"
        what = f"{before.pool.name} ({shape.name}) {lack}, and {pair.gpus(replicas)} GPUs are more than a node's"
        remedy = (
            "a pool of mode managed-rdma" if shape.rdma else "a shape with a cluster network, such as BM.GPU.H100.8"
        )
        yield Mismatch(what, f"{remedy}; or prefill and decode together (intent.pattern: standard)")


def _on_hosts(pair: Pair, network: RdmaNetwork) -> Iterator[Mismatch]:
    """On the node's own network two pods with one port cannot share a node: a replica takes whole nodes."""
    for role, way in (("prefill", pair.prefill), ("decode", pair.decode)):
        shape = way.pool.shape
        virtual = shape.rdma is not None and shape.rdma.virtual_functions and network.mode != "host"
        if shape.gpu_memory_cluster:
            what = f"how KV cache goes from pod to pod of {shape.name}'s NVLink domain is not known"
            yield Mismatch(what, "a shape whose nodes have RDMA NICs of their own, such as BM.GPU.H100.8")
        elif not virtual and way.gpus_per_node < shape.gpus:
            what = (
                f"{role} on {way.gpus_per_node} of {shape.gpus} GPUs would share the node's own network and its ports"
            )
            remedy = "virtual functions (spec.rdma.mode of the Platform), or intent.tensorParallel of whole nodes"
            yield Mismatch(what, remedy)


def _on_rdma(before: Candidate, after: Candidate) -> bool:
    """Whether both pools' nodes are on one cluster network: a pool's own, or that of a compute cluster.

    Nodes that are there already are taken to be on one; those of a plain managed pool are on none.
    """
    one, other = before.pool.document.spec, after.pool.document.spec
    if before.pool.shape.rdma is None or after.pool.shape.rdma is None or one.mode == "managed":
        return False
    if before.pool is after.pool:
        return True
    if not isinstance(one, ManagedRdmaPool) or not isinstance(other, ManagedRdmaPool):
        return False
    return one.compute_cluster_id is not None and one.compute_cluster_id == other.compute_cluster_id


def _tensor(model: ModelMetadata, pair: Pair) -> Iterator[Mismatch]:
    """Whether KV heads can be regrouped from one tensor parallel size to the other."""
    before, after = pair.prefill.split.tensor, pair.decode.split.tensor
    if before == after:
        return
    sizes = f"prefill TP {before} and decode TP {after}"
    if any(group.state_bytes for group in model.attention):
        yield Mismatch(f"{sizes}: recurrent state is not regrouped", "the same TP for both")
    elif after % before and before % after:
        yield Mismatch(f"{sizes}: neither is a multiple of the other", f"decode TP {before} or {2 * before}")
    elif before < after or _kind(pair.prefill.engine) != "vllm":
        return
    elif pair.prefill.engine.version < REGROUPS_BOTH_WAYS:
        yield Mismatch(
            f"{sizes}: {pair.prefill.engine.name} gathers from no more ranks than it has", f"decode TP {before}"
        )
    elif before > fewest_heads(model):
        what = f"{sizes}: prefill repeats its {fewest_heads(model)} KV heads, which vLLM does not undo"
        yield Mismatch(what, f"prefill TP {after} or less")


def _smaller(engine: Sglang, model: ModelMetadata, task: Task, way: Candidate) -> Candidate:
    """With the memory that regrouping KV heads takes off the share of weights and KV cache."""
    gpu, split = way.pool.shape.gpu, way.split
    share = engine.static_fraction(model, gpu, split, way.tuning) - STAGING_BYTES / gpu.memory_bytes
    if share <= 0:
        return way
    tuning = way.tuning.model_copy(update={"gpu_memory_utilization": round(share, 3)})
    proof = Proof.legal(split, engine.stages(model, task, gpu, split, tuning))
    context = min(way.context_length, proof.longest(way.context_length))
    return replace(way, tuning=tuning, proof=proof, context_length=context, concurrency=proof.concurrency(context))
