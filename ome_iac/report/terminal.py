"""A `Plan` as a person reads it in a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from ome_iac.hardware import GIB
from ome_iac.models.metadata import Source
from ome_iac.planning.admission.summary import admission_lines, tenant_lines
from ome_iac.planning.plan import Plan, PoolPlan, Rejection, RolePlan, ServicePlan
from ome_iac.problems import Problem
from ome_iac.report.oci import oci_lines
from ome_iac.report.serving import across, around

BAR = 24
SHOWN_REJECTIONS = 4


def print_plan(console: Console, plan: Plan, explain: str | None = None) -> None:
    """The whole plan; `explain` names a service whose rejections are all shown."""
    for line in plan_lines(plan, explain):
        console.print(line, soft_wrap=True, highlight=False)


def print_problems(console: Console, problems: tuple[Problem, ...]) -> None:
    """One line each, and how many there are."""
    for problem in problems:
        line = Text.assemble(("error", "bold red"), " ", str(problem))
        console.print(line, soft_wrap=not console.is_terminal, highlight=False)
    if len(problems) > 1:
        console.print(f"{len(problems)} problems; nothing was changed", style="dim")


def plan_lines(plan: Plan, explain: str | None = None) -> Iterator[str]:
    """The plan's lines, in rich markup."""
    services = _count(len(plan.services), "service")
    pools = _count(len(plan.pools), "pool")
    yield f"[bold]stack {plan.stack}[/]   {services}, {pools}, ${plan.cost_per_hour:.2f}/h list"
    for pool in plan.pools:
        yield ""
        yield from _pool_lines(pool, plan)
    yield from oci_lines(plan.oci)
    yield from _sharing_lines(plan)
    for service in plan.services:
        yield ""
        yield from _service_lines(plan, service, everything=explain in (service.name, "all"))
    yield from across(plan, _row)


def _pool_lines(pool: PoolPlan, plan: Plan) -> Iterator[str]:
    made = "made by this stack" if pool.made else "there already"
    yield (
        f"[bold]{pool.name}[/]   {_count(pool.nodes, 'node')} {pool.shape} ({pool.gpu}), {made}, "
        f"${pool.cost_per_hour:.2f}/h"
    )
    on_it = (
        ", ".join(service.name for service in plan.services if pool.name in {role.pool for role in service.roles})
        or "nothing"
    )
    yield _row("GPUs", f"{bar([(pool.gpus_used, '#')], pool.gpus)}   {pool.gpus_used} of {pool.gpus} used: {on_it}")
    if pool.idle_per_hour:
        yield _row("idle", f"${pool.idle_per_hour:.2f}/h for GPUs that no replica has")


def _sharing_lines(plan: Plan) -> Iterator[str]:
    """Reservations, dedicated clusters and queues, then tenants; nothing where the stack has none."""
    shared = [admission_lines(plan.admission)] if plan.admission else []
    for lines in (*shared, *([tenant_lines(plan.tenants)] if plan.tenants else [])):
        yield ""
        yield from (escape(line) for line in lines)


def _service_lines(plan: Plan, service: ServicePlan, everything: bool) -> Iterator[str]:
    facts = plan.model(service.model).metadata
    revision = f"@{facts.revision.removeprefix('sha256:')[:7]}" if facts.revision else ""
    size = ""
    if facts.parameters and facts.weights:
        by_bytes = sorted(facts.weights.by_dtype.items(), key=lambda item: -item[1])
        dtypes = "+".join(dtype for dtype, _ in by_bytes)
        evidence = facts.provenance.get("parameters")
        derived = ", derived from the config" if evidence and evidence.source is Source.DERIVED else ""
        size = f"{_parameters(facts.parameters.total)} params, {dtypes}, {facts.weights.bytes / GIB:.1f} GiB{derived}"
    name = service.name if service.namespace == "default" else f"{service.namespace}/{service.name}"
    yield f"[bold]{name}[/]   {escape(service.model)}{revision}   {size}"
    for role in service.roles:
        yield from _role_lines(plan, service, role)
    yield from around(service, _row)
    yield from _price(service)
    yield _row("why", service.why)
    yield from _rejections(plan, service, everything)
    for index, flip in enumerate(service.flips):
        yield _row("" if index else "flip", escape(flip))
    for note in (*plan.model(service.model).notes, *service.notes):
        yield _row("note", f"[yellow]{escape(note)}[/]")


def _role_lines(plan: Plan, service: ServicePlan, role: RolePlan) -> Iterator[str]:
    where = f"{role.runtime} on {role.pool} ({plan.pool(role.pool).shape})"
    counted = f"{_count(role.replicas, 'replica')}: {_count(role.gpus, 'GPU')}"
    yield _row("runtime" if role.role == "engine" else role.role, f"{where}, {_split(role)}, {counted}")
    yield _row("per GPU", _memory(role))
    yield _row("serves", _serves(service, role))
    start = role.startup
    yield _row("starts", f"in about {_duration(start.expected_seconds)} ({start.bandwidth_source})")


def _split(role: RolePlan) -> str:
    split = role.split
    parts = [f"tensor parallel {split.tensor}"]
    parts += [f"{split.pipeline} pipeline stages"] if split.pipeline > 1 else []
    parts += [f"data parallel {split.data}"] if split.data > 1 else []
    parts += [f"expert parallel {split.expert}"] if split.expert > 1 else []
    parts += [f"{role.nodes} nodes a replica"] if role.nodes > 1 else []
    return ", ".join(parts)


def _memory(role: RolePlan) -> str:
    ledger = role.memory
    lines = {line.name: line.bytes for line in ledger.lines}
    weights = lines.pop("weights")
    other = sum(lines.values())
    kv = max(0, ledger.kv_cache)
    drawn = bar([(weights, "#"), (other, "="), (kv, "-")], ledger.total)
    cache = "KV" if ledger.kv_bytes_per_request else "free"
    return (
        f"{drawn}   {weights / GIB:.1f} weights + {other / GIB:.1f} overhead + {kv / GIB:.1f} {cache} = "
        f"{ledger.budget / GIB:.1f} of {ledger.total / GIB:.1f} GiB"
    )


def _serves(service: ServicePlan, role: RolePlan) -> str:
    parts = [f"{service.context_length:,} tokens a request"]
    ledger = role.memory
    if ledger.concurrency is not None and ledger.kv_tokens is not None:
        held = int(ledger.concurrency)
        parts.append(f"{ledger.kv_tokens:,} KV tokens, {_count(held, 'request')} at full length a replica")
    if service.speed and service.speed.time_per_output_token_ms is not None:
        sign = ">= " if service.speed.is_bound else ""
        parts.append(f"{sign}{service.speed.time_per_output_token_ms:.1f} ms/token ({service.speed.source})")
    return ", ".join(parts)


def _price(service: ServicePlan) -> Iterator[str]:
    price = service.price
    if price.per_million_tokens is None or service.speed is None:
        return
    sign = ">= " if service.speed.is_bound else ""
    asked = f"{sign}${price.per_million_tokens:,.2f} a million output tokens with {service.speed.concurrency} in flight"
    full = price.per_million_tokens_full
    more = f", ${full:,.2f} with {price.full_concurrency}" if full and full != price.per_million_tokens else ""
    yield _row("price", f"${price.per_hour:.2f}/h, {asked}{more}")


def _rejections(plan: Plan, service: ServicePlan, everything: bool) -> Iterator[str]:
    shown = service.rejected if everything else _telling(plan, service)
    for index, rejection in enumerate(shown):
        yield _row("not" if index == 0 else "", escape(rejection_text(rejection)))
    left = len(service.rejected) - len(shown)
    if left:
        yield _row("", f"{left} more: --explain {service.name}")


def _telling(plan: Plan, service: ServicePlan) -> tuple[Rejection, ...]:
    """What a reader asks about first: the next best ways, and what is cheaper and does not fit."""
    fitting = [rejection for rejection in service.rejected if rejection.fits]
    cheaper: dict[str, Rejection] = {}
    for rejection in service.rejected:
        if rejection.fits or rejection.runtime != service.engine.runtime or not rejection.split:
            continue
        pool = plan.pool(rejection.pool)
        if service.engine.replicas * rejection.split.gpus * pool.cost_per_hour / pool.gpus < service.cost_per_hour:
            cheaper[rejection.pool] = rejection
    return (*fitting[:2], *cheaper.values())[:SHOWN_REJECTIONS]


def rejection_text(rejection: Rejection) -> str:
    """`vllm 0.33.0 on h100, TP 2: why`."""
    split = f", {rejection.split}" if rejection.split else ""
    return f"{rejection.runtime} on {rejection.pool}{split}: {'; '.join(rejection.reasons)}"


def _row(label: str, text: str) -> str:
    return f"  [dim]{label:<9}[/]{text}"


def bar(parts: list[tuple[int, str]], total: int, width: int = BAR) -> str:
    """Each part in its sign, drawn to scale; dots for what is left of `total`."""
    drawn = "".join(sign * round(width * amount / total) for amount, sign in parts)[:width]
    return f"{drawn:.<{width}}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _parameters(count: int) -> str:
    for unit, size in (("T", 10**12), ("B", 10**9), ("M", 10**6)):
        if count >= size:
            return f"{count / size:.2f}{unit}"
    return str(count)


def _duration(seconds: int) -> str:
    return f"{seconds} s" if seconds < 120 else f"{round(seconds / 60)} min"
