"""Services with prefill and decode apart: both are searched for, paired and placed together, before all others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ome_iac.planning.candidates import Candidate, speed_of
from ome_iac.planning.cost import service_cost
from ome_iac.planning.placement import Wanted
from ome_iac.planning.plan import Rejection, RolePlan, ServicePlan
from ome_iac.planning.roles import role_plan
from ome_iac.planning.serving.decisions import RoleName
from ome_iac.planning.serving.disaggregation import Pair, Pairing, Replicas, pair_up, role_demands
from ome_iac.planning.serving.handover import prefill_and_decode
from ome_iac.planning.serving.routing import has_picker
from ome_iac.problems import Problem
from ome_iac.runtimes.splits import Split
from ome_iac.spec.platform import PlatformSpec
from ome_iac.spec.services import InferenceService

REASONS = 3
"""Of the reasons against every pair, how many are told."""


@dataclass(frozen=True)
class PlacedPair:
    """A service and the pair taken; `full` are the better pairs whose pools had no room."""

    item: Wanted
    pairing: Pairing
    index: int
    replicas: Replicas
    full: tuple[Rejection, ...]

    @property
    def chosen(self) -> Pair:
        """The pair taken."""
        return self.pairing.fitting[self.index]


def apart(service: InferenceService) -> bool:
    """Whether a document asks for prefill and decode apart: by its pattern, or as OME does with a decoder."""
    return service.spec.intent.pattern == "prefill-decode" or service.spec.decoder is not None


def replicas_of(service: InferenceService) -> Replicas:
    """OME's engine is prefill where there is a decoder; at least one of each."""
    decoder = service.spec.decoder
    return Replicas(service.replicas, max(1, (decoder.min_replicas if decoder else None) or 1))


def place_pairs(wanted: Sequence[Wanted], platform: PlatformSpec) -> tuple[list[PlacedPair], list[Problem]]:
    """Whoever needs most GPUs is placed first; a service that finds no pair, or no room for one, is a problem."""
    known: dict[tuple[object, ...], Pairing] = {}
    found = [(item, _pairing(item, platform, known)) for item in wanted]
    placed: list[PlacedPair] = []
    problems: list[Problem] = []
    for item, pairing in sorted(found, key=_largest_first):
        taken = _place(item, pairing)
        if isinstance(taken, PlacedPair):
            placed.append(taken)
        else:
            problems.append(taken)
    return placed, problems


def _pairing(item: Wanted, platform: PlatformSpec, known: dict[tuple[object, ...], Pairing]) -> Pairing:
    """All pairs; services that ask the same of the same model share them."""
    asker, replicas = item.asker, replicas_of(item.service)
    before, after = role_demands(asker.demand, item.service.spec.intent.concurrency, replicas)
    where = tuple(pool.name for pool in item.pools)
    key = (id(asker.model), before, after, tuple(asker.engines), replicas, where)
    if key not in known:
        ways = [asker.search(item.pools, demand).fitting for demand in (before, after)]
        known[key] = pair_up(asker.model, after, ways[0], ways[1], replicas, platform.rdma, has_picker(platform))
    return known[key]


def _largest_first(found: tuple[Wanted, Pairing]) -> tuple[int, str, str]:
    item, pairing = found
    gpus = pairing.fitting[0].gpus(replicas_of(item.service)) if pairing.fitting else 0
    return (-gpus, *item.key)


def _place(item: Wanted, pairing: Pairing) -> PlacedPair | Problem:
    pattern = item.service.spec.intent.pattern
    if pattern not in ("auto", "prefill-decode"):
        what = f"{pattern} has prefill and decode together, and the decoder asks for them apart"
        return item.service.problem("spec.intent.pattern", what, "leave out one of them")
    replicas = replicas_of(item.service)
    full: list[Rejection] = []
    for index, pair in enumerate(pairing.fitting):
        lack = _take(item, pair, replicas)
        if lack is None:
            return PlacedPair(item, pairing, index, replicas, tuple(full))
        full.append(pair.decode.rejection(lack))
    path = "spec.decoder" if item.service.spec.decoder else "spec.intent.pattern"
    if full:
        reasons = "; ".join(dict.fromkeys(reason for rejection in full for reason in rejection.reasons))
        remedy = "add nodes, or fewer replicas of engine and decoder"
        return item.service.problem(path, f"prefill and decode find no room: {reasons}", remedy)
    if not pairing.mismatches:
        failures = item.found.failed[-REASONS:]
        reasons = "; ".join(dict.fromkeys(reason for failure in failures for reason in failure.reasons))
        what = f"{item.document.name} fits nowhere as prefill or as decode: {reasons}"
        return item.service.problem(path, what, "a pool with more memory per node, or fewer requests at once")
    told = pairing.mismatches[:REASONS]
    what = f"prefill and decode cannot be apart: {'; '.join(each.what for each in told)}"
    return item.service.problem(path, what, "; ".join(dict.fromkeys(each.remedy for each in told)))


def _take(item: Wanted, pair: Pair, replicas: Replicas) -> str | None:
    """Room for both sides, all or nothing; or what is missing."""
    pools = {way.pool.name: way.pool for way in (pair.prefill, pair.decode)}
    before = {name: pool.capacity.with_more(0) for name, pool in pools.items()}
    for way, count in ((pair.prefill, replicas.prefill), (pair.decode, replicas.decode)):
        pod, pods = item.asker.pod(way), count * way.nodes
        if not way.pool.capacity.place(pod, pods):
            lack = way.pool.capacity.shortage(way.pool.name, pod, pods)
            for name, pool in pools.items():
                pool.capacity = before[name]
            return lack
    return None


def pair_service(placed: PlacedPair) -> ServicePlan:
    """The service as planned, with both roles told of each other; called once everything is placed.

    A roll-out starts the new pod first where the pool has a node to spare, but not where all pods share one node.
    """
    item, pair, counts = placed.item, placed.chosen, placed.replicas
    demand, intent = item.asker.demand, item.service.spec.intent
    prefill = _role("prefill", pair.prefill, counts.prefill, item, pair.together)
    decode = _role("decode", pair.decode, counts.decode, item, pair.together)
    prefill, decode = prefill_and_decode(item.metadata, prefill, decode, pair.together)
    _, after = role_demands(demand, intent.concurrency, counts)
    speed = pair.decode.speed or speed_of(item.metadata, after, pair.decode, item.asker.estimates)
    component = item.service.spec.engine
    return ServicePlan(
        name=item.service.name,
        namespace=item.service.namespace,
        model=item.document.name,
        task=demand.task,
        pattern="prefill-decode",
        roles=(prefill, decode),
        context_length=pair.context_length,
        volume=item.volume,
        labels=dict(sorted(component.labels.items())),
        annotations=dict(sorted(component.annotations.items())),
        together=pair.together,
        cost_per_hour=prefill.cost_per_hour + decode.cost_per_hour,
        speed=speed,
        # A decode replica is paid for together with the prefill replicas that feed it.
        price=service_cost(pair.cost_per_hour(counts) / counts.decode, counts.decode, speed),
        intent=intent,
        why=_why(placed),
        rejected=(*placed.full, *_others(placed)),
        flips=(),
        notes=tuple(_notes(placed)),
    )


def _role(name: RoleName, way: Candidate, replicas: int, item: Wanted, together: bool) -> RolePlan:
    demand = item.asker.demand
    role = role_plan(
        name,
        way,
        replicas,
        model=item.metadata,
        task=demand.task,
        volume=item.volume,
        served_name=item.document.name,
        scratch_bytes=demand.scratch_bytes,
    )
    spare = way.nodes == 1 and not together and way.pool.capacity.has_room(item.asker.pod(way))
    return role.model_copy(update={"max_surge": int(spare)})


def _why(placed: PlacedPair) -> str:
    pair, count = placed.chosen, len(placed.pairing.fitting)
    price = f"${pair.cost_per_hour(placed.replicas):.2f}/h for {pair}"
    objective = placed.item.asker.demand.objective
    superlative = {"fewest-gpus": "fewest GPUs", "fastest": "fastest"}.get(objective, "cheapest")
    return f"the only pair that fits: {price}" if count == 1 else f"{superlative} of {count} pairs that fit: {price}"


def _others(placed: PlacedPair) -> list[Rejection]:
    """The best pair of each other way to decode, and why the rest are no pairs."""
    chosen, counts = placed.chosen, placed.replicas
    best: dict[tuple[str, str, Split], Rejection] = {}
    taken = _way(chosen)
    for pair in placed.pairing.fitting[placed.index + 1 :]:
        if _way(pair) == taken or _way(pair) in best:
            continue
        price = f"${pair.cost_per_hour(counts):.2f}/h against ${chosen.cost_per_hour(counts):.2f}/h"
        reason = f"fits with prefill {pair.prefill.pool.name}, {pair.prefill.split}, at {price}"
        best[_way(pair)] = pair.decode.rejection(reason)
    unfit = {"fits": False, "split": None}
    reasons = (chosen.decode.rejection(mismatch.what) for mismatch in placed.pairing.mismatches)
    return [*best.values(), *(each.model_copy(update=unfit) for each in reasons)]


def _way(pair: Pair) -> tuple[str, str, Split]:
    return pair.decode.engine.name, pair.decode.pool.name, pair.decode.split


def _notes(placed: PlacedPair) -> list[str]:
    pair, demand = placed.chosen, placed.item.asker.demand
    notes = list(pair.prefill.engine.notes)
    if pair.context_length < demand.context_length:
        notes.append(
            f"context reduced from the model's {demand.context_length:,} to {pair.context_length:,} tokens: "
            "set intent.contextLength to insist"
        )
    if pair.together:
        notes.append(f"no RDMA in {pair.prefill.pool.name}: all pods stand on one node and KV cache goes over TCP")
    if pair.prefill.pool.document.spec.mode == "existing" and not pair.together:
        notes.append(f"that the nodes of {pair.prefill.pool.name} are on one cluster network is assumed")
    if pair.prefill.pool.shape.gpu.vendor == "amd":
        notes.append("that the engine's ROCm image carries NIXL is assumed")
    return notes
