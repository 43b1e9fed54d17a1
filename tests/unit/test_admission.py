"""Simulated admission on cases whose outcome Kueue's documentation fixes."""

from __future__ import annotations

from typing import Any

import pytest

from ome_iac.planning.admission import (
    Admission,
    Block,
    Flavor,
    Gang,
    Preemption,
    Queue,
    Quota,
    admit,
)
from ome_iac.planning.admission.packing import Floor, pack

GPU, VF = "nvidia.com/gpu", "nvidia.com/rdma-vf"


def flavor(*blocks: int, name: str = "h100") -> Flavor:
    made = tuple(Block(name=f"b{number}", nodes=nodes) for number, nodes in enumerate(blocks))
    return Flavor(name=name, node={GPU: 8, VF: 16}, blocks=made)


def queue(
    name: str, nominal: int, *, cohort: str | None = None, strategy: str = "BestEffortFIFO", **rest: Any
) -> Queue:
    limits = {key: {GPU: rest.pop(key)} for key in ("borrowing", "lending") if key in rest}
    quota = Quota(flavor="h100", nominal={GPU: nominal, VF: nominal * 2}, **limits)
    return Queue(name=name, cohort=cohort, quotas=(quota,), strategy=strategy, preemption=Preemption(**rest))


def gang(name: str, pods: int, gpus: int = 8, *, queue: str = "a", priority: int = 0, one_block: bool = False) -> Gang:
    requests = {GPU: gpus, VF: gpus * 2}
    return Gang(
        name=name, queue=queue, priority=priority, pods=pods, requests=requests, flavors=("h100",), one_block=one_block
    )


def states(admission: Admission) -> dict[str, str]:
    return {verdict.gang: verdict.state for verdict in admission.verdicts}


def test_a_gang_is_admitted_whole_or_waits() -> None:
    result = admit([queue("a", 16)], [flavor(4)], [gang("four", 4), gang("two", 2)])
    assert states(result) == {"four": "waiting", "two": "admitted"}
    assert result.of("four").why == "a lacks 32 nvidia.com/gpu, 64 nvidia.com/rdma-vf on h100"
    assert result.of("four").helps == ()  # nor have the nodes a place for it beside `two`
    assert result.of("two").blocks == (("b0", 2),)


def test_a_strict_queue_lets_nobody_pass_and_says_who_stands_before() -> None:
    result = admit([queue("a", 16, strategy="StrictFIFO")], [flavor(4)], [gang("four", 4), gang("two", 2)])
    assert states(result) == {"four": "waiting", "two": "waiting"}
    assert result.of("two").why == "waits behind four in a, which is StrictFIFO"


def test_higher_priority_goes_first() -> None:
    gangs = [gang("aaa", 2), gang("zzz", 2, priority=10)]
    result = admit([queue("a", 16)], [flavor(4)], gangs)
    assert states(result) == {"aaa": "waiting", "zzz": "admitted"}
    assert "16 nvidia.com/gpu" in result.of("aaa").helps[0]
    assert "more quota of h100 for a" in result.of("aaa").helps[0]
    assert result.of("aaa").helps[1] == "a priority above 10 would evict zzz"


def test_the_running_are_evicted_for_a_higher_priority_the_last_admitted_first() -> None:
    gangs = [gang("one", 1), gang("two", 1), gang("urgent", 1, priority=10)]
    result = admit([queue("a", 16)], [flavor(4)], gangs, running={"one": "h100", "two": "h100"})
    assert states(result) == {"one": "admitted", "two": "evicted", "urgent": "admitted"}
    assert result.of("urgent").evicts == ("two",)
    assert result.of("two").why.startswith("had to go for urgent; a lacks 8 nvidia.com/gpu")


def test_equals_do_not_evict_each_other() -> None:
    gangs = [gang("aaa", 2), gang("zzz", 2)]
    result = admit([queue("a", 16)], [flavor(4)], gangs, running={"zzz": "h100"})
    assert states(result) == {"aaa": "waiting", "zzz": "admitted"}


def test_only_as_many_are_evicted_as_it_takes() -> None:
    gangs = [gang("big", 3), gang("small", 1), gang("urgent", 3, priority=1)]
    result = admit([queue("a", 32)], [flavor(4)], gangs, running={"big": "h100", "small": "h100"})
    assert states(result) == {"big": "evicted", "small": "admitted", "urgent": "admitted"}


def test_what_a_cohort_does_not_use_is_borrowed_up_to_the_limit() -> None:
    queues = [queue("a", 8, cohort="c", borrowing=8), queue("b", 16, cohort="c")]
    result = admit(queues, [flavor(4)], [gang("g1", 1), gang("g2", 1), gang("g3", 1)])
    assert states(result) == {"g1": "admitted", "g2": "admitted", "g3": "waiting"}
    assert result.of("g1").borrows == {}
    assert result.of("g2").borrows == {GPU: 8, VF: 16}
    assert result.of("g2").why == "fits a on h100; borrows 8 nvidia.com/gpu, 16 nvidia.com/rdma-vf from cohort c"


def test_what_is_not_lent_is_not_borrowed() -> None:
    queues = [queue("a", 8, cohort="c"), queue("b", 16, cohort="c", lending=8)]
    result = admit(queues, [flavor(4)], [gang("g1", 1), gang("g2", 1), gang("g3", 1)])
    assert states(result) == {"g1": "admitted", "g2": "admitted", "g3": "waiting"}


def test_an_owner_takes_back_what_was_borrowed_whatever_the_priority() -> None:
    queues = [queue("a", 8, cohort="c"), queue("b", 8, cohort="c")]
    gangs = [gang("guest", 2, priority=5), gang("owner", 1, queue="b")]
    result = admit(queues, [flavor(2)], gangs, running={"guest": "h100"})
    assert states(result) == {"guest": "evicted", "owner": "admitted"}


@pytest.mark.parametrize(("policy", "owner"), [("Never", "waiting"), ("LowerPriority", "waiting"), ("Any", "admitted")])
def test_the_policy_says_what_is_taken_back(policy: str, owner: str) -> None:
    queues = [queue("a", 8, cohort="c"), queue("b", 8, cohort="c", reclaim_within_cohort=policy)]
    gangs = [gang("guest", 2, priority=5), gang("owner", 1, queue="b")]
    assert states(admit(queues, [flavor(2)], gangs, running={"guest": "h100"}))["owner"] == owner


def test_who_stays_within_its_own_is_not_evicted_from_another_queue() -> None:
    queues = [queue("a", 8, cohort="c"), queue("b", 8, cohort="c")]
    gangs = [gang("home", 1), gang("greedy", 2, queue="b", priority=100)]
    result = admit(queues, [flavor(2)], gangs, running={"home": "h100"})
    assert states(result) == {"greedy": "waiting", "home": "admitted"}


def test_who_does_not_borrow_goes_first() -> None:
    queues = [queue("a", 0, cohort="c"), queue("b", 8, cohort="c")]
    gangs = [gang("guest", 1, priority=50), gang("owner", 1, queue="b")]
    assert states(admit(queues, [flavor(1)], gangs)) == {"guest": "waiting", "owner": "admitted"}


def test_a_gang_of_one_block_waits_for_one_and_says_so() -> None:
    result = admit([queue("a", 40)], [flavor(2, 2)], [gang("three", 3, one_block=True)])
    [verdict] = result.verdicts
    assert verdict.state == "waiting"
    assert verdict.why == "h100 has room for its 3 pods, but in no one block (nodes: b0 2, b1 2)"
    assert verdict.helps == ("1 more node of h100 in b0",)
    assert states(admit([queue("a", 40)], [flavor(2, 2)], [gang("three", 3)])) == {"three": "admitted"}


def test_gangs_are_packed_tightly_so_that_large_ones_find_a_block() -> None:
    gangs = [gang("a-small", 1, one_block=True), gang("b-large", 4, one_block=True), gang("c-small", 1, one_block=True)]
    result = admit([queue("a", 100)], [flavor(4, 2)], gangs)
    assert set(states(result).values()) == {"admitted"}
    assert result.of("b-large").blocks == (("b0", 4),)


def test_an_arrangement_that_no_greedy_order_finds_is_found() -> None:
    """Into blocks of 10 and 8, largest first and tightest block first goes wrong; 4 + 3 + 3 and 5 + 3 do fit."""
    gangs = [gang(f"g{index}", size, one_block=True) for index, size in enumerate((5, 4, 3, 3, 3))]
    floor = pack(gangs, flavor(10, 8))
    assert floor
    used = {block: sum(pods for g in gangs for b, pods in floor.blocks_of(g) if b == block) for block in ("b0", "b1")}
    assert used == {"b0": 10, "b1": 8}


def test_pods_share_a_node() -> None:
    result = admit([queue("a", 100)], [flavor(1)], [gang("two", 1, 2), gang("four", 1, 4), gang("too", 1, 4)])
    assert sorted(states(result).values()) == ["admitted", "admitted", "waiting"]


def test_giving_back_leaves_what_was_there() -> None:
    empty = Floor.empty(flavor(2, 1))
    one = empty.with_gang(gang("one", 2, 4))
    assert one
    two = one.with_gang(gang("two", 1))
    assert two
    assert two.without(gang("two", 1)) == one


def test_a_resource_that_the_queue_does_not_cover_keeps_a_gang_out_for_ever() -> None:
    """As `nvidia.com/rdma-vf` does where a queue covers GPUs only."""
    bare = Queue(name="a", quotas=(Quota(flavor="h100", nominal={GPU: 64}),))
    result = admit([bare], [flavor(4)], [gang("one", 1)])
    assert result.of("one").state == "waiting"
    assert result.of("one").why == "a has no quota of nvidia.com/rdma-vf on h100: Kueue never admits it"
    assert result.of("one").helps == ()


def test_the_second_flavor_is_tried_where_the_first_is_full() -> None:
    quotas = tuple(Quota(flavor=name, nominal={GPU: 8, VF: 16}) for name in ("h100", "h200"))
    both = Queue(name="a", quotas=quotas)
    gangs = [gang(name, 1).model_copy(update={"flavors": ("h200", "h100")}) for name in ("one", "two", "three")]
    result = admit([both], [flavor(2), flavor(2, name="h200")], gangs)
    assert [result.of(name).flavor for name in ("one", "three", "two")] == ["h200", "h100", None]


def test_thousands_of_gangs_take_no_time() -> None:
    gangs = [gang(f"g{index:04}", 1, 1 + index % 2) for index in range(2000)]
    result = admit([queue("a", 3000)], [flavor(100, 100, 100)], gangs)
    waiting = sum(verdict.state == "waiting" for verdict in result.verdicts)
    assert 0 < waiting < 700
