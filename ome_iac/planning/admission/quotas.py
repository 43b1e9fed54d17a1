"""Quota arithmetic of one cohort, as Kueue's documentation of ClusterQueues states it (concepts/cluster_queue).

Of its nominal quota a queue lends the cohort `lending` at most (all, where that is None) and keeps the rest. Whatever
of all lendable quota nobody uses may be borrowed, `borrowing` at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ome_iac.planning.admission.model import Amounts, Gang, Queue

Slot = tuple[str, str]
"""Flavor and resource."""


class Quotas:
    """Queues and what each uses of every slot. Cohorts are flat: a queue without one is a cohort of its own."""

    def __init__(self, queues: Mapping[str, Queue]) -> None:
        self._queues = queues
        self._usage: dict[tuple[str, Slot], int] = {}

    def copy(self) -> Quotas:
        """The same usage, changed independently."""
        other = Quotas(self._queues)
        other._usage = dict(self._usage)
        return other

    def add(self, gang: Gang, flavor: str, sign: int = 1) -> None:
        """Charge a gang to its queue, or give back (`sign` -1)."""
        for resource in gang.requests:
            key = (gang.queue, (flavor, resource))
            self._usage[key] = self._usage.get(key, 0) + sign * gang.total(resource)

    def used(self, queue: str, slot: Slot) -> int:
        """Of a queue."""
        return self._usage.get((queue, slot), 0)

    def nominal(self, queue: str, slot: Slot) -> int:
        """A queue's own quota; 0 where it has none."""
        quota = self._queues[queue].quota(slot[0])
        return quota.nominal.get(slot[1], 0) if quota else 0

    def uncovered(self, gang: Gang, flavor: str) -> tuple[str, ...]:
        """Resources that the gang asks for and its queue does not have at all: Kueue never admits it then."""
        quota = self._queues[gang.queue].quota(flavor)
        covered = quota.nominal if quota else {}
        return tuple(sorted(name for name, amount in gang.requests.items() if amount and name not in covered))

    def shortage(self, gang: Gang, flavor: str, borrowing: bool = True) -> Amounts:
        """What is missing for the gang of each resource; empty where it fits."""
        missing = {}
        for resource in gang.requests:
            amount = gang.total(resource)
            lack = amount - self.available(gang.queue, (flavor, resource), borrowing)
            if amount and lack > 0:
                missing[resource] = lack
        return missing

    def under_nominal(self, queue: str, flavor: str, resources: Iterable[str]) -> bool:
        """Whether the queue uses less than its own of each of these resources."""
        return all(self.used(queue, (flavor, name)) < self.nominal(queue, (flavor, name)) for name in resources)

    def may_preempt(self, gang: Gang, flavor: str) -> bool:
        """Whether the gang may evict others: what it lacks must be within its queue's own quota."""
        if self.uncovered(gang, flavor):
            return False
        lacking = self.shortage(gang, flavor)
        return all(gang.total(name) <= self.nominal(gang.queue, (flavor, name)) for name in lacking)

    def available(self, queue: str, slot: Slot, borrowing: bool = True) -> int:
        """What the queue may still use of a slot, its cohort's spare quota included where it may borrow."""
        nominal, used = self.nominal(queue, slot), self.used(queue, slot)
        members = self._members(queue)
        spare = sum(self._lendable(name, slot) for name in members) - sum(
            self._shared_use(name, slot) for name in members
        )
        kept = max(0, nominal - self._lendable(queue, slot) - used)
        quota = self._queues[queue].quota(slot[0])
        limit = 0 if not borrowing else quota.borrowing.get(slot[1]) if quota and quota.borrowing is not None else None
        ceiling = kept + spare
        return ceiling if limit is None else min(ceiling, nominal + limit - used)

    def borrows(self, gang: Gang, flavor: str) -> Amounts:
        """What the queue would use above its nominal quota with the gang, of the gang's resources."""
        found = {}
        for resource in sorted(gang.requests):
            slot = (flavor, resource)
            above = self.used(gang.queue, slot) + gang.total(resource) - self.nominal(gang.queue, slot)
            if gang.total(resource) and above > 0:
                found[resource] = min(above, gang.total(resource))
        return found

    def is_borrowing(self, queue: str, flavor: str, resources: Iterable[str]) -> bool:
        """Whether the queue uses more than its own of any of these resources."""
        return any(self.used(queue, (flavor, name)) > self.nominal(queue, (flavor, name)) for name in resources)

    def _members(self, queue: str) -> list[str]:
        cohort = self._queues[queue].cohort
        if cohort is None:
            return [queue]
        return sorted(name for name, other in self._queues.items() if other.cohort == cohort)

    def _lendable(self, queue: str, slot: Slot) -> int:
        nominal, quota = self.nominal(queue, slot), self._queues[queue].quota(slot[0])
        limit = quota.lending.get(slot[1]) if quota and quota.lending is not None else None
        return nominal if limit is None else min(limit, nominal)

    def _shared_use(self, queue: str, slot: Slot) -> int:
        return max(0, self.used(queue, slot) - (self.nominal(queue, slot) - self._lendable(queue, slot)))
