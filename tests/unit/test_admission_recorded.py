"""Whom Kueue evicts, by its own tests, and whom the simulation evicts.

Each case is a situation from kubernetes-sigs/kueue, pkg/scheduler/preemption/preemption_test.go (014d949), and the
answer expected there. Left out are situations with features that our queues do not have: preemption while borrowing
(borrowWithinCohort), of newer equals, several pod sets on different flavors, hierarchical cohorts, fair sharing.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import pytest

from ome_iac.planning.admission import Block, Flavor, Gang, Preemption, Queue, Quota, admit

Policy = Literal["Never", "LowerPriority", "Any"]
CPU, MEMORY = "cpu", "memory"


class Given(NamedTuple):
    """A queue of Kueue's tests: quota of each resource, what it may borrow and what it lends at most."""

    cohort: str | None
    nominal: dict[str, int]
    borrowing: dict[str, int] | None
    lending: dict[str, int] | None
    within: Literal["Never", "LowerPriority"]
    reclaim: Policy


class Wl(NamedTuple):
    """A workload."""

    queue: str
    priority: int
    cpu: int = 0
    memory: int = 0
    flavor: str = "default"


BOTH = {CPU: 6, MEMORY: 3}
QUEUES = {
    "standalone": Given(None, {CPU: 6, MEMORY: 3}, None, None, "LowerPriority", "Never"),
    "c1": Given("cohort", BOTH, BOTH, None, "LowerPriority", "LowerPriority"),
    "c2": Given("cohort", BOTH, BOTH, None, "Never", "Any"),
    "d1": Given("no-limits", BOTH, None, None, "LowerPriority", "LowerPriority"),
    "d2": Given("no-limits", BOTH, None, None, "Never", "Any"),
    "l1": Given("legion", BOTH, {CPU: 12, MEMORY: 6}, None, "LowerPriority", "LowerPriority"),
    "lend1": Given("lend", {CPU: 6}, None, {CPU: 4}, "LowerPriority", "LowerPriority"),
    "a": Given("three", {CPU: 2, MEMORY: 2}, None, None, "LowerPriority", "Any"),
    "b": Given("three", {CPU: 2, MEMORY: 2}, None, None, "Never", "Never"),
    "c": Given("three", {CPU: 2, MEMORY: 2}, None, None, "Never", "Never"),
    "lend2": Given("lend", {CPU: 6}, None, {CPU: 2}, "LowerPriority", "LowerPriority"),
}

CASES: dict[str, tuple[dict[str, Wl], Wl, set[str]]] = {
    "the lowest priority": (
        {"low": Wl("standalone", -1, 2), "mid": Wl("standalone", 0, 2), "high": Wl("standalone", 1, 2)},
        Wl("standalone", 1, 2),
        {"low"},
    ),
    "several": (
        {"low": Wl("standalone", -1, 2), "mid": Wl("standalone", 0, 2), "high": Wl("standalone", 1, 2)},
        Wl("standalone", 1, 3),
        {"low", "mid"},
    ),
    "nobody for a low priority": (
        {"low": Wl("standalone", -1, 3), "mid": Wl("standalone", 0, 3)},
        Wl("standalone", -1, 1),
        set(),
    ),
    "nobody where the lower ones are too few": (
        {"low": Wl("standalone", -1, 3), "mid": Wl("standalone", 0, 3)},
        Wl("standalone", 0, 4),
        set(),
    ),
    "some quota is free": (
        {"low": Wl("standalone", -1, 1), "mid": Wl("standalone", 0, 1), "high": Wl("standalone", 1, 3)},
        Wl("standalone", 1, 2),
        {"low"},
    ),
    "the least set leaves the lowest out": (
        {"low": Wl("standalone", -1, 1), "mid": Wl("standalone", 0, 2), "high": Wl("standalone", 1, 3)},
        Wl("standalone", 1, 2),
        {"mid"},
    ),
    "only of the flavor that is wanted": (
        {
            "low": Wl("standalone", -1, 0, 2, "alpha"),
            "mid": Wl("standalone", 0, 0, 1, "beta"),
            "high": Wl("standalone", 1, 0, 1, "beta"),
        },
        Wl("standalone", 1, 1, 2, "beta"),
        {"mid"},
    ),
    "a borrower gives back": (
        {"c1-low": Wl("c1", -1, 3), "c2-mid": Wl("c2", 0, 3), "c2-high": Wl("c2", 1, 6)},
        Wl("c1", 1, 3),
        {"c2-mid"},
    ),
    "a borrower gives back, other resources being full": (
        {"c1-low": Wl("c1", -1, 3, 3), "c2-mid": Wl("c2", 0, 3), "c2-high": Wl("c2", 1, 6)},
        Wl("c1", 1, 3),
        {"c2-mid"},
    ),
    "nobody borrows": (
        {"c1-high": Wl("c1", 1, 4), "c2-low-1": Wl("c2", -1, 4)},
        Wl("c1", 1, 4),
        set(),
    ),
    "too little is borrowed": (
        {"c1-high": Wl("c1", 1, 4), "c2-low-1": Wl("c2", -1, 4), "c2-low-2": Wl("c2", -1, 4)},
        Wl("c1", 1, 4),
        set(),
    ),
    "its own queue, borrowing another resource": (
        {"c1-low": Wl("c1", -1, 4), "c2-low-1": Wl("c2", -1, 4), "c2-high-2": Wl("c2", 1, 4)},
        Wl("c1", 1, 4, 5),
        {"c1-low"},
    ),
    "its own queue, borrowing the same resource": (
        {"c1-med": Wl("c1", 0, 4), "c1-low": Wl("c1", -1, 4), "c2-low-1": Wl("c2", -1, 4)},
        Wl("c1", 1, 4),
        {"c1-low"},
    ),
    "its own queue, borrowing without a limit": (
        {"d1-med": Wl("d1", 0, 4), "d1-low": Wl("d1", -1, 4), "d2-low-1": Wl("d2", -1, 4)},
        Wl("d1", 1, 4),
        {"d1-low"},
    ),
    "its own queue, though others borrow too": (
        {
            "c1-med": Wl("c1", 0, 4),
            "c2-low-1": Wl("c2", -1, 5),
            "c2-low-2": Wl("c2", -1, 1),
            "c2-low-3": Wl("c2", -1, 1),
        },
        Wl("c1", 1, 2, 5),
        {"c1-med"},
    ),
    "a cohort of one queue": (
        {"l1-med": Wl("l1", 0, 4), "l1-low": Wl("l1", -1, 2)},
        Wl("l1", 1, 4),
        {"l1-med"},
    ),
    "not an equal, where only lower ones are reclaimed": (
        {"c1": Wl("c1", 0, 2), "c2-1": Wl("c2", 0, 4), "c2-2": Wl("c2", 0, 4)},
        Wl("c1", 0, 4),
        set(),
    ),
    "an equal, where any are reclaimed": (
        {"c1-1": Wl("c1", 0, 4), "c1-2": Wl("c1", 1, 4), "c2": Wl("c2", 0, 2)},
        Wl("c2", 0, 4),
        {"c1-1"},
    ),
    "its own queue and the cohort together": (
        {"c1-low": Wl("c1", -1, 3), "c1-mid": Wl("c1", 0, 2), "c2-low": Wl("c2", -1, 3), "c2-mid": Wl("c2", 0, 4)},
        Wl("c1", 0, 4),
        {"c1-low", "c2-low"},
    ),
    "nobody of its own queue, where that is never done": (
        {"c2-low": Wl("c2", -1, 3)},
        Wl("c2", 1, 4),
        set(),
    ),
    "what was lent comes back": (
        {"lend1-low": Wl("lend1", -1, 3), "lend2-mid": Wl("lend2", 0, 3), "lend2-high": Wl("lend2", 1, 4)},
        Wl("lend1", 1, 3),
        {"lend2-mid"},
    ),
    "its own queue and borrowers of what it lends": (
        {
            "lend1-low": Wl("lend1", -1, 3),
            "lend1-mid": Wl("lend1", 0, 2),
            "lend2-low": Wl("lend2", -1, 3),
            "lend2-mid": Wl("lend2", 0, 4),
        },
        Wl("lend1", 0, 4),
        {"lend1-low", "lend2-low"},
    ),
    "nobody for more than is lent": ({"lend2-low": Wl("lend2", -1, 10)}, Wl("lend1", 0, 9), set()),
    "its own queue, which borrows itself": (
        {
            **{"a1": Wl("a", -2, 1), "a2": Wl("a", -2, 1), "a3": Wl("a", -1, 1)},
            **{"b1": Wl("b", 0, 1), "b2": Wl("b", 0, 1), "b3": Wl("b", 0, 1)},
        },
        Wl("a", 0, 2),
        {"a1", "a2"},
    ),
    "its own queue, which borrows two resources": (
        {
            **{"a1": Wl("a", -2, 1, 1), "a2": Wl("a", -2, 1, 1), "a3": Wl("a", -1, 1, 1)},
            **{"b1": Wl("b", 0, 1, 1), "b2": Wl("b", 0, 1, 1), "b3": Wl("b", 0, 1, 1)},
        },
        Wl("a", 0, 2, 2),
        {"a1", "a2"},
    ),
    "its own queue, which borrows one of two resources": (
        {
            **{"a1": Wl("a", -2, 1), "a2": Wl("a", -2, 1), "a3": Wl("a", -1, 1)},
            **{"b1": Wl("b", 0, 1), "b2": Wl("b", 0, 1), "b3": Wl("b", 0, 1)},
        },
        Wl("a", 0, 2, 2),
        {"a1", "a2"},
    ),
    "others too, where its own does not borrow": (
        {
            **{"a1": Wl("a", -1, 1), "b1": Wl("b", 0, 1), "b2": Wl("b", 0, 1), "b3": Wl("b", 0, 1)},
            **{"b4": Wl("b", 0, 1), "b5": Wl("b", -1, 1)},
        },
        Wl("a", 0, 2),
        {"a1", "b5"},
    ),
}


def queue(name: str, given: Given) -> Queue:
    return Queue(
        name=name,
        cohort=given.cohort,
        quotas=tuple(
            Quota(flavor=flavor, nominal=given.nominal, borrowing=given.borrowing, lending=given.lending)
            for flavor in ("default", "alpha", "beta")
        ),
        preemption=Preemption(within_queue=given.within, reclaim_within_cohort=given.reclaim),
    )


def gang(name: str, workload: Wl) -> Gang:
    requests = {resource: amount for resource, amount in ((CPU, workload.cpu), (MEMORY, workload.memory)) if amount}
    return Gang(
        name=name,
        queue=workload.queue,
        priority=workload.priority,
        pods=1,
        requests=requests,
        flavors=(workload.flavor,),
    )


@pytest.mark.parametrize("name", CASES)
def test_whom_kueue_evicts_is_evicted(name: str) -> None:
    admitted, incoming, expected = CASES[name]
    ample = {CPU: 100, MEMORY: 100}
    flavors = [
        Flavor(name=kind, node=ample, blocks=(Block(name="", nodes=1),)) for kind in ("default", "alpha", "beta")
    ]
    gangs = [*(gang(key, workload) for key, workload in admitted.items()), gang("in", incoming)]
    running = {key: workload.flavor for key, workload in admitted.items()}
    result = admit((queue(*item) for item in QUEUES.items()), flavors, gangs, running)
    assert set(result.of("in").evicts) == expected
    if expected:
        assert result.of("in").state == "admitted"
