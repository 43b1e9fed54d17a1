"""Capacity and tenants as a person reads them: plain lines, for whichever view shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from ome_iac.planning.admission.model import Queue, Verdict
from ome_iac.planning.admission.plan import AdmissionPlan, DedicatedPlan, ReservationPlan
from ome_iac.planning.tenancy.plan import TenantPlan


def admission_lines(plan: AdmissionPlan) -> Iterator[str]:
    """Reservations, dedicated clusters and queues, then every gang that waits, why, and what would help."""
    for reservation in plan.reservations:
        yield from _reservation(reservation)
    for dedicated in plan.dedicated:
        yield from _dedicated(dedicated)
    for queue in plan.queues:
        yield _queue(plan, queue)
    for verdict in plan.admission.verdicts:
        if verdict.state == "admitted" and (verdict.borrows or verdict.evicts):
            yield f"{verdict.gang}   {verdict.why}"
    for alike in _alike(plan.admission.waiting):
        first = alike[0]
        names = first.gang if len(alike) == 1 else f"{first.gang} and {len(alike) - 1} more like it"
        yield f"{names}   {first.state}: {first.why}"
        if first.helps:
            yield f"    would do: {'; '.join(first.helps)}"


def tenant_lines(tenants: Iterable[TenantPlan]) -> Iterator[str]:
    """One line a tenant, and what there is to say of it."""
    for tenant in tenants:
        gpus = ", ".join(f"{count} GPUs of {pool}" for pool, count in tenant.gpus.items()) or "no quota of its own"
        namespaces = ", ".join(f"{space.name} ({space.pod_security})" for space in tenant.namespaces)
        yield f"tenant {tenant.name}   {gpus}; {namespaces}; ${tenant.cost_per_hour:.2f}/h used"
        for note in tenant.notes:
            yield f"    note: {note}"


def _reservation(plan: ReservationPlan) -> Iterator[str]:
    pools = ", ".join(plan.pools)
    where = f" in {plan.oci.availability_domain}" if plan.oci else ", nothing reserved at OCI"
    yield (
        f"reservation {plan.name}   {pools}{where}: {plan.gpus_used} of {plan.gpus} GPUs used, "
        f"${plan.idle_cost_per_hour:.2f}/h idle"
    )
    for note in plan.notes:
        yield f"    note: {note}"


def _dedicated(plan: DedicatedPlan) -> Iterator[str]:
    cost = "price unknown" if plan.cost_per_hour is None else f"${plan.cost_per_hour:.2f}/h"
    what = f"{plan.unit_count} x {plan.unit_shape}"
    if plan.backend == "cluster":
        yield f"dedicated {plan.name}   {what} ({plan.pool}) for namespace {plan.namespace}, {cost}"
    else:
        served = f" for {plan.model}" if plan.model else ""
        yield f"dedicated {plan.name}   {what} of OCI Generative AI{served}, {cost}: {plan.why}"
    for note in plan.notes:
        yield f"    note: {note}"


def _queue(plan: AdmissionPlan, queue: Queue) -> str:
    gpus = {
        quota.flavor: sum(amount for name, amount in quota.nominal.items() if name.endswith(".com/gpu"))
        for quota in queue.quotas
    }
    quotas = ", ".join(f"{count} GPUs of {flavor}" for flavor, count in gpus.items())
    states = Counter(verdict.state for verdict in plan.admission.verdicts if verdict.queue == queue.name)
    told = ", ".join(f"{states[state]} {state}" for state in sorted(states)) or "nothing asks"
    cohort = f", cohort {queue.cohort}" if queue.cohort else ""
    return f"queue {queue.name}   {quotas}{cohort}, for {', '.join(queue.namespaces) or 'nobody'}: {told}"


def _alike(waiting: Sequence[Verdict]) -> list[list[Verdict]]:
    """Gangs that wait for the same reason, together, in the order of their names."""
    found: dict[tuple[str, str, str, tuple[str, ...]], list[Verdict]] = {}
    for verdict in waiting:
        found.setdefault((verdict.queue, verdict.state, verdict.why, verdict.helps), []).append(verdict)
    return list(found.values())
