"""Kueue's admission, played through on declared quota and nodes.

Order within a queue is priority, then the name: on a first apply nothing else tells gangs of one priority apart, and
Kueue takes the one that was created first. In each cycle the head of every queue is looked at; those that do not borrow
go first, then the higher priority, as Kueue's scheduler orders them. A gang that does not fit evicts what its queue's
preemption policy allows, as Kueue's classic algorithm does (concepts/preemption): borrowers of the cohort before its
own queue, lowest priority first, the last admitted first; then whoever need not have gone is put back. Kueue's fair
sharing changes who may borrow; it is off by default and not simulated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ome_iac.planning.admission.explain import helps_for, text, why_not
from ome_iac.planning.admission.model import Amounts, Flavor, Gang, Queue, Verdict
from ome_iac.planning.admission.snapshot import Snapshot
from ome_iac.planning.decision import Decision


class Admission(Decision):
    """The verdict on every gang, by name, and what each queue then uses."""

    verdicts: tuple[Verdict, ...]

    @property
    def waiting(self) -> tuple[Verdict, ...]:
        """Gangs that are not admitted."""
        return tuple(verdict for verdict in self.verdicts if verdict.state != "admitted")

    def of(self, gang: str) -> Verdict:
        """The verdict on a gang."""
        return next(verdict for verdict in self.verdicts if verdict.gang == gang)


def admit(
    queues: Iterable[Queue],
    flavors: Iterable[Flavor],
    gangs: Iterable[Gang],
    running: Mapping[str, str] | None = None,
) -> Admission:
    """Who is admitted. `running` names gangs that hold their quota already, and the flavor each is on; they are taken
    as admitted in the order of their names, and as far as they fit. Order of the inputs does not matter."""
    return _Simulation(queues, flavors, gangs, running or {}).run()


class _Simulation:
    def __init__(
        self,
        queues: Iterable[Queue],
        flavors: Iterable[Flavor],
        gangs: Iterable[Gang],
        running: Mapping[str, str],
    ) -> None:
        self._queues = {queue.name: queue for queue in sorted(queues, key=lambda queue: queue.name)}
        self._flavors = {flavor.name: flavor for flavor in flavors}
        self._gangs = sorted(gangs, key=_rank)
        self._by_queue: dict[str, list[Gang]] = {}
        self._alike: dict[Kind, list[Gang]] = {}
        for gang in self._gangs:
            self._by_queue.setdefault(gang.queue, []).append(gang)
            self._alike.setdefault(kind_of(gang), []).append(gang)
        self._now = Snapshot(self._queues, self._flavors)
        self._ran: set[str] = set()
        self._evicted_by: dict[str, str] = {}
        self._evicts: dict[str, tuple[str, ...]] = {}
        for gang in sorted(self._gangs, key=lambda gang: gang.name):
            flavor = running.get(gang.name)
            if flavor and self._now.admit(gang, flavor):
                self._ran.add(gang.name)

    def run(self) -> Admission:
        blocked: set[str] = set()
        while heads := self._heads(blocked):
            heads.sort(key=lambda gang: (self._would_borrow(gang), *_rank(gang)))
            for gang in heads:
                freed = self._try(gang)
                if freed is None:
                    blocked |= {gang.name} if gang.name in self._evicted_by else self._names_alike(gang)
                elif freed:  # quota was given back: who was refused before may fit now
                    blocked.clear()
        return Admission(verdicts=self._verdicts())

    def _heads(self, blocked: set[str]) -> list[Gang]:
        """The next of each queue; in a strict queue nobody passes one that waits."""
        heads = []
        for name, pending in self._pending().items():
            waiting = [gang for gang in pending if gang.name not in blocked]
            strict = self._queues[name].strategy == "StrictFIFO"
            if waiting and (not strict or waiting[0] is pending[0]):
                heads.append(waiting[0])
        return heads

    def _names_alike(self, gang: Gang) -> set[str]:
        return {other.name for other in self._alike[kind_of(gang)]}

    def _pending(self) -> dict[str, list[Gang]]:
        return {
            name: [gang for gang in gangs if not self._now.has(gang)] for name, gangs in sorted(self._by_queue.items())
        }

    def _try(self, gang: Gang) -> bool | None:
        """Admit the gang: False without, True with evictions; None where it has to wait."""
        for flavor in gang.flavors:
            if self._now.admit(gang, flavor):
                return False
        if gang.name in self._evicted_by:  # or two gangs could evict each other for ever
            return None
        for flavor in gang.flavors:
            targets = self._targets(gang, flavor)
            after = self._now.copy()
            for target in targets:
                after.remove(target)
            if targets and after.admit(gang, flavor):
                self._now = after
                self._evicted_by |= {target.name: gang.name for target in targets}
                self._evicts[gang.name] = tuple(sorted(target.name for target in targets))
                return True
        return None

    def _targets(self, gang: Gang, flavor: str) -> tuple[Gang, ...]:
        """Whom to evict; nobody where that would not do."""
        if flavor not in self._flavors or not self._now.quotas.may_preempt(gang, flavor):
            return ()
        # Where quota is not what is lacking, but a place, every resource of the gang is.
        lacking = self._now.quotas.shortage(gang, flavor) or gang.requests
        own, cohort = self._candidates(gang, flavor, lacking)
        if cohort and self._now.quotas.under_nominal(gang.queue, flavor, lacking):
            found = self._least(gang, flavor, (*cohort, *own), lacking, borrowing=False)
            if found:
                return found
        return self._least(gang, flavor, own, lacking, borrowing=True)

    def _candidates(self, gang: Gang, flavor: str, lacking: Amounts) -> tuple[Sequence[Gang], Sequence[Gang]]:
        """Of the gang's queue and of the cohort's others, in the order in which they would be evicted."""
        queue = self._queues[gang.queue]
        policy = queue.preemption
        own, cohort = [], []
        for age, other in enumerate(self._now.admitted_on(flavor)):
            lower = other.priority < gang.priority
            if not any(other.total(name) for name in lacking):
                continue
            if other.queue == gang.queue:
                if policy.within_queue == "LowerPriority" and lower:
                    own.append((other.priority, -age, other))
            elif queue.cohort is not None and self._queues[other.queue].cohort == queue.cohort:
                reclaimed = {"Never": False, "LowerPriority": lower, "Any": True}[policy.reclaim_within_cohort]
                if reclaimed and self._now.quotas.is_borrowing(other.queue, flavor, lacking):
                    cohort.append((other.priority, -age, other))
        return [other for *_, other in sorted(own, key=_order)], [other for *_, other in sorted(cohort, key=_order)]

    def _least(
        self, gang: Gang, flavor: str, candidates: Sequence[Gang], lacking: Amounts, borrowing: bool
    ) -> tuple[Gang, ...]:
        """The first candidates that make room, less those that need not go."""
        trial = self._now.copy()
        targets: list[Gang] = []
        for candidate in candidates:
            other = candidate.queue != gang.queue
            if other and not trial.quotas.is_borrowing(candidate.queue, flavor, lacking):
                continue  # what its queue still has is its own
            trial.remove(candidate)
            targets.append(candidate)
            if trial.fits(gang, flavor, borrowing):
                break
        else:
            return ()
        for target in reversed(targets[:-1]):
            back = trial.copy()
            if back.admit(target, flavor) and back.fits(gang, flavor, borrowing):
                targets.remove(target)
                trial = back
        return tuple(targets)

    def _would_borrow(self, gang: Gang) -> bool:
        return not any(self._now.quotas.shortage(gang, flavor, borrowing=False) == {} for flavor in gang.flavors)

    def _verdicts(self) -> tuple[Verdict, ...]:
        borrowed = self._now.borrowed()
        waiting: dict[Kind, tuple[str, tuple[str, ...]]] = {}
        found = []
        for gang in sorted(self._gangs, key=lambda gang: gang.name):
            if self._now.has(gang):
                found.append(self._admitted(gang, borrowed[gang.name]))
                continue
            kind = kind_of(gang)
            if kind not in waiting:
                waiting[kind] = why_not(self._now, gang), helps_for(self._now, gang)
            found.append(self._waiting(gang, *waiting[kind]))
        return tuple(found)

    def _admitted(self, gang: Gang, borrowed: Amounts) -> Verdict:
        flavor, evicts = self._now.flavor_of(gang), self._evicts.get(gang.name, ())
        why = [f"fits {gang.queue} on {flavor}"]
        if borrowed:
            why.append(f"borrows {text(borrowed)} from cohort {self._queues[gang.queue].cohort}")
        if evicts:
            why.append("evicts " + ", ".join(evicts))
        return Verdict(
            gang=gang.name,
            queue=gang.queue,
            state="admitted",
            flavor=flavor,
            blocks=self._now.blocks_of(gang),
            borrows=borrowed,
            evicts=evicts,
            why="; ".join(why),
        )

    def _waiting(self, gang: Gang, why: str, helps: tuple[str, ...]) -> Verdict:
        if self._queues[gang.queue].strategy == "StrictFIFO":
            first = next(other for other in self._by_queue[gang.queue] if not self._now.has(other))
            if first is not gang:
                why, helps = f"waits behind {first.name} in {gang.queue}, which is StrictFIFO", ()
        evictor = self._evicted_by.get(gang.name)
        return Verdict(
            gang=gang.name,
            queue=gang.queue,
            state="evicted" if gang.name in self._ran else "waiting",
            why=f"had to go for {evictor}; {why}" if evictor else why,
            helps=helps,
        )


Kind = tuple[object, ...]


def kind_of(gang: Gang) -> Kind:
    """Gangs of one kind differ in name only: where one finds no room, none does."""
    requests = tuple(sorted(gang.requests.items()))
    return (gang.queue, gang.priority, gang.pods, requests, gang.flavors, gang.one_block)


def _order(candidate: tuple[int, int, Gang]) -> tuple[int, int]:
    return candidate[:2]


def _rank(gang: Gang) -> tuple[int, str]:
    return (-gang.priority, gang.name)
