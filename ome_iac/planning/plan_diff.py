"""What lies between two plans of a stack: selection, memory, context, cost, and the changes of input behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from pydantic import Field

from ome_iac.hardware import GIB
from ome_iac.planning.decision import Decision
from ome_iac.planning.plan import ModelPlan, Plan, PoolPlan, RolePlan, ServicePlan
from ome_iac.problems import Problem

State = Literal["added", "removed", "changed"]
T = TypeVar("T")


class Change(Decision):
    """One figure or choice, before and after, as a person reads it; empty where there was or is none."""

    field: str
    before: str
    after: str


class ItemDiff(Decision):
    """A pool, a model or a service that is not as it was."""

    name: str
    state: State
    changes: tuple[Change, ...] = ()
    why: tuple[str, ...] = Field(default=(), description="changes of input that explain it; empty for pools and models")


class PlanDiff(Decision):
    """Two plans of one stack. A refused side has problems and no plan, and then nothing is compared."""

    stack: str
    before: str = Field(description="a commit, or a plan's file")
    after: str
    refused_before: tuple[str, ...]
    refused_after: tuple[str, ...]
    cost_per_hour: Change | None = Field(description="of all pools, USD list; None where it is the same")
    pools: tuple[ItemDiff, ...]
    models: tuple[ItemDiff, ...]
    services: tuple[ItemDiff, ...]

    @property
    def empty(self) -> bool:
        """Whether both sides are decided, and alike in all that is compared."""
        refused = self.refused_before or self.refused_after
        return not (refused or self.cost_per_hour or self.pools or self.models or self.services)


@dataclass(frozen=True)
class Side:
    """One of the two: what it is called, and its plan or why it has none."""

    label: str
    plan: Plan | None
    problems: Sequence[Problem] = ()


def compare(stack: str, before: Side, after: Side) -> PlanDiff:
    """All differences, sorted by name; the same plan twice gives none."""
    old, new = before.plan, after.plan
    pools: tuple[ItemDiff, ...] = ()
    models: tuple[ItemDiff, ...] = ()
    services: tuple[ItemDiff, ...] = ()
    if old and new:
        pools = _items({pool.name: pool for pool in old.pools}, {pool.name: pool for pool in new.pools}, _pool_facts)
        models = _items(
            {model.name: model for model in old.models}, {model.name: model for model in new.models}, _model_facts
        )
        services = _services(old, new)
    return PlanDiff(
        stack=stack,
        before=before.label,
        after=after.label,
        refused_before=tuple(map(str, before.problems)),
        refused_after=tuple(map(str, after.problems)),
        cost_per_hour=_change("cost", _money(old.cost_per_hour), _money(new.cost_per_hour)) if old and new else None,
        pools=pools,
        models=models,
        services=services,
    )


def _services(old: Plan, new: Plan) -> tuple[ItemDiff, ...]:
    before, after = ({_full_name(item): item for item in plan.services} for plan in (old, new))
    found = []
    for item in _items(before, after, _service_facts):
        if item.state == "changed":
            why = tuple(_reasons(before[item.name], after[item.name], old, new))
            item = item.model_copy(update={"why": why})
        found.append(item)
    return tuple(found)


def _items(before: dict[str, T], after: dict[str, T], facts: Callable[[T], dict[str, str]]) -> tuple[ItemDiff, ...]:
    found = []
    for name in sorted(before.keys() | after.keys()):
        old = facts(before[name]) if name in before else {}
        new = facts(after[name]) if name in after else {}
        changes = tuple(
            change
            for field in dict.fromkeys((*old, *new))
            if (change := _change(field, old.get(field, ""), new.get(field, "")))
        )
        if changes:
            state: State = "changed" if old and new else "added" if new else "removed"
            found.append(ItemDiff(name=name, state=state, changes=changes))
    return tuple(found)


def _change(field: str, before: str, after: str) -> Change | None:
    return Change(field=field, before=before, after=after) if before != after else None


def _full_name(service: ServicePlan) -> str:
    return f"{service.namespace}/{service.name}"


def _pool_facts(pool: PoolPlan) -> dict[str, str]:
    return {
        "shape": pool.shape,
        "nodes": str(pool.nodes),
        "GPUs used": f"{pool.gpus_used} of {pool.gpus}",
        "price of a GPU": _money(_gpu_price(pool)),
        "cost": _money(pool.cost_per_hour),
    }


def _model_facts(model: ModelPlan) -> dict[str, str]:
    facts = model.metadata
    return {
        "source": facts.source,
        "revision": facts.revision or "",
        "weights": f"{facts.weights.bytes:,} bytes" if facts.weights else "unknown",
        "context": f"{facts.context_length:,} tokens" if facts.context_length else "",
    }


def _service_facts(service: ServicePlan) -> dict[str, str]:
    facts = {"model": service.model, "pattern": service.pattern}
    for role in service.roles:
        prefix = "" if len(service.roles) == 1 else f"{role.role} "
        facts |= {f"{prefix}{field}": text for field, text in _role_facts(role).items()}
    facts["context"] = f"{service.context_length:,} tokens"
    if service.speed:
        bound = ">= " if service.speed.is_bound else ""
        paced = service.speed.time_per_output_token_ms
        facts["time to first token"] = f"{bound}{service.speed.time_to_first_token_ms:.4g} ms"
        facts["time per token"] = f"{bound}{paced:.4g} ms" if paced is not None else ""
    facts["cost"] = _money(service.cost_per_hour)
    return facts


def _role_facts(role: RolePlan) -> dict[str, str]:
    ledger = role.memory
    weights = sum(line.bytes for line in ledger.lines if line.name == "weights")
    held = ledger.concurrency
    tuning = role.tuning.model_dump(exclude_none=True, by_alias=True)
    return {
        "runtime": role.runtime,
        "image": role.image,
        "place": f"{role.pool} ({role.gpu})",
        "split": f"{role.split}, {role.nodes} nodes" if role.nodes > 1 else str(role.split),
        "replicas": str(role.replicas),
        "tuning": ", ".join(f"{name} {value}" for name, value in sorted(tuning.items())),
        "weights a GPU": f"{weights / GIB:.2f} GiB",
        "KV cache a GPU": f"{ledger.kv_cache / GIB:.2f} GiB",
        "requests at full length": "" if held is None else f"{held:.1f}",
    }


def _reasons(old: ServicePlan, new: ServicePlan, before: Plan, after: Plan) -> Iterator[str]:
    """Changes of input that touch the service, most direct first; what became of the old choice; what is left."""
    found = [
        *_asked(old, new),
        *_moved(old, new, before, after),
        *_upgraded(old, new),
        *_grown(old, new, before, after),
    ]
    yield from found
    yield from _fate(old, new)
    if not found:
        others = _others_on(old, new, before, after)
        yield f"other services on its pools: {others}" if others else "the planner itself, or what it knows, changed"


def _asked(old: ServicePlan, new: ServicePlan) -> Iterator[str]:
    """What the service's own document says otherwise."""
    before, after = (item.intent.model_dump(by_alias=True, mode="json") for item in (old, new))
    for field in sorted(before.keys() | after.keys()):
        was, now = before.get(field), after.get(field)
        if was != now:
            yield f"intent.{field} {_or_none(was)} -> {_or_none(now)}"
    if old.model != new.model:
        yield f"it serves another model: {old.model} -> {new.model}"
    was_replicas, now_replicas = (item.engine.replicas for item in (old, new))
    if was_replicas != now_replicas:
        yield f"replicas {was_replicas} -> {now_replicas}"


def _moved(old: ServicePlan, new: ServicePlan, before: Plan, after: Plan) -> Iterator[str]:
    was, now = before.model(old.model).metadata, after.model(new.model).metadata
    if old.model != new.model or was == now:
        return
    if was.source != now.source:
        yield f"the model comes from elsewhere: {was.source} -> {now.source}"
    if was.revision != now.revision:
        yield f"the model moved: revision {_short(was.revision)} -> {_short(now.revision)}"
    elif was.weights != now.weights or was.source == now.source:
        yield "other facts are known of the model at the same revision"


def _upgraded(old: ServicePlan, new: ServicePlan) -> Iterator[str]:
    was, now = old.engine, new.engine
    kinds = [role.runtime.split()[0] for role in (was, now)]
    if was.runtime != now.runtime and kinds[0] == kinds[1]:
        yield f"the engine's version: {was.runtime} -> {now.runtime}"
    elif was.runtime == now.runtime and was.image != now.image and was.gpu == now.gpu:
        yield f"the runtime's image: {was.image} -> {now.image}"


def _grown(old: ServicePlan, new: ServicePlan, before: Plan, after: Plan) -> Iterator[str]:
    """What happened to any pool: each may have made the difference, being taken or not."""
    was, now = ({pool.name: pool for pool in plan.pools} for plan in (before, after))
    used = {role.pool for service in (old, new) for role in service.roles}
    for name in sorted(was.keys() | now.keys(), key=lambda name: (name not in used, name)):
        if name not in was:
            yield f"pool {name} was added: {now[name].nodes} x {now[name].shape}"
        elif name not in now:
            yield f"pool {name} was removed"
        else:
            yield from _pool_reasons(was[name], now[name])


def _pool_reasons(was: PoolPlan, now: PoolPlan) -> Iterator[str]:
    if was.shape != now.shape:
        yield f"pool {was.name} has another shape: {was.shape} -> {now.shape}"
    if was.nodes != now.nodes:
        yield f"pool {was.name} {'grew' if now.nodes > was.nodes else 'shrank'}: {was.nodes} -> {now.nodes} nodes"
    if was.shape == now.shape and _gpu_price(was) != _gpu_price(now):
        yield f"the price of {was.shape}: {_money(_gpu_price(was))} -> {_money(_gpu_price(now))} a GPU"


def _fate(old: ServicePlan, new: ServicePlan) -> Iterator[str]:
    """Why the way that was taken before is not taken now, in the new plan's own words."""
    was, now = old.engine, new.engine
    if (was.runtime, was.pool, was.split) == (now.runtime, now.pool, now.split):
        return
    kind = was.runtime.split()[0]
    for rejection in new.rejected:
        same = rejection.runtime.split()[0] == kind and rejection.split in (None, was.split)
        if same and rejection.pool in (was.pool, "any"):
            yield f"{was.runtime} on {was.pool}, {was.split} is no longer taken: {'; '.join(rejection.reasons)}"
            return


def _others_on(old: ServicePlan, new: ServicePlan, before: Plan, after: Plan) -> str:
    pools = {role.pool for service in (old, new) for role in service.roles}
    was, now = (
        {_full_name(item) for item in plan.services if any(role.pool in pools for role in item.roles)}
        for plan in (before, after)
    )
    own = {_full_name(old), _full_name(new)}
    parts = [f"{name} came" for name in sorted(now - was - own)] + [f"{name} went" for name in sorted(was - now - own)]
    return ", ".join(parts)


def _gpu_price(pool: PoolPlan) -> float:
    return pool.cost_per_hour / pool.gpus


def _money(amount: float) -> str:
    return f"${amount:.2f}/h"


def _short(revision: str | None) -> str:
    return revision.removeprefix("sha256:")[:10] if revision else "unknown"


def _or_none(value: object) -> str:
    if value is None:
        return "unset"
    return f"{value:,}" if isinstance(value, int) else str(value)
