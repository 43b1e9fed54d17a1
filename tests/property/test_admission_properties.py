"""What holds of every simulated admission, whatever the quotas, blocks and gangs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from ome_iac.planning.admission import Admission, Block, Flavor, Gang, Preemption, Queue, Quota, admit

GPU = "nvidia.com/gpu"
NODE = 8

FLAVORS = st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=3), min_size=1, max_size=2).map(
    lambda sizes: [
        Flavor(
            name=f"f{index}",
            node={GPU: NODE},
            blocks=tuple(Block(name=f"b{number}", nodes=nodes) for number, nodes in enumerate(blocks)),
        )
        for index, blocks in enumerate(sizes)
    ]
)


@st.composite
def queues(draw: st.DrawFn, flavors: Sequence[Flavor]) -> list[Queue]:
    limit = st.none() | st.integers(0, 40).map(lambda gpus: {GPU: gpus})
    found = []
    for index in range(draw(st.integers(1, 3))):
        cohort = draw(st.sampled_from([None, "shared"]))
        quotas = [
            Quota(
                flavor=flavor.name,
                nominal={GPU: draw(st.integers(0, 40))},
                borrowing=draw(limit) if cohort else None,
                lending=draw(limit) if cohort else None,
            )
            for flavor in flavors
        ]
        found.append(
            Queue(
                name=f"q{index}",
                cohort=cohort,
                quotas=tuple(quotas),
                strategy=draw(st.sampled_from(["BestEffortFIFO", "StrictFIFO"])),
                preemption=Preemption(
                    within_queue=draw(st.sampled_from(["Never", "LowerPriority"])),
                    reclaim_within_cohort=draw(st.sampled_from(["Never", "LowerPriority", "Any"])),
                ),
            )
        )
    return found


@st.composite
def gangs(draw: st.DrawFn, names: Sequence[str], flavors: Sequence[Flavor], most: int = 7) -> list[Gang]:
    return [
        Gang(
            name=f"g{index}",
            queue=draw(st.sampled_from(names)),
            priority=draw(st.integers(0, 2)),
            pods=draw(st.integers(1, 4)),
            requests={GPU: draw(st.sampled_from([1, 2, 4, 8]))},
            flavors=tuple(draw(st.permutations([flavor.name for flavor in flavors]))),
            one_block=draw(st.booleans()),
        )
        for index in range(draw(st.integers(0, most)))
    ]


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Queue], list[Flavor], list[Gang]]:
    flavors = draw(FLAVORS)
    made = draw(queues(flavors))
    return made, flavors, draw(gangs([queue.name for queue in made], flavors))


def admitted(admission: Admission) -> set[str]:
    return {verdict.gang for verdict in admission.verdicts if verdict.state == "admitted"}


def usage(admission: Admission, wanted: Sequence[Gang]) -> Counter[tuple[str, str]]:
    """GPUs by queue and flavor."""
    by_name = {gang.name: gang for gang in wanted}
    found: Counter[tuple[str, str]] = Counter()
    for verdict in admission.verdicts:
        if verdict.state == "admitted":
            assert verdict.flavor
            found[verdict.queue, verdict.flavor] += by_name[verdict.gang].total(GPU)
    return found


@given(worlds(), st.randoms())
def test_order_does_not_matter(world, random) -> None:  # type: ignore[no-untyped-def]
    first = admit(*world)
    for part in world:
        random.shuffle(part)
    assert admit(*world) == first


@given(worlds())
def test_nobody_is_over_quota(world: tuple[list[Queue], list[Flavor], list[Gang]]) -> None:
    made, flavors, wanted = world
    used = usage(admit(*world), wanted)
    for flavor in flavors:
        for queue in made:
            quota = quota_of(queue, flavor)
            if queue.cohort is None:
                assert used[queue.name, flavor.name] <= quota.nominal[GPU]
                continue
            members = [other for other in made if other.cohort == queue.cohort]
            total = sum(quota_of(other, flavor).nominal[GPU] for other in members)
            kept = sum(kept_back(quota_of(other, flavor)) for other in members if other is not queue)
            assert sum(used[other.name, flavor.name] for other in members) <= total
            assert used[queue.name, flavor.name] <= total - kept
            if quota.borrowing is not None:
                assert used[queue.name, flavor.name] <= quota.nominal[GPU] + quota.borrowing[GPU]


def quota_of(queue: Queue, flavor: Flavor) -> Quota:
    quota = queue.quota(flavor.name)
    assert quota
    return quota


def kept_back(quota: Quota) -> int:
    """What a queue does not lend: nobody else ever uses it."""
    return 0 if quota.lending is None else max(0, quota.nominal[GPU] - quota.lending[GPU])


@given(worlds())
def test_a_gang_is_whole_and_where_it_must_be(world: tuple[list[Queue], list[Flavor], list[Gang]]) -> None:
    _, flavors, wanted = world
    admission = admit(*world)
    assert [verdict.gang for verdict in admission.verdicts] == sorted(gang.name for gang in wanted)
    gpus: Counter[tuple[str, str]] = Counter()
    for gang in wanted:
        verdict = admission.of(gang.name)
        if verdict.state != "admitted":
            assert not verdict.blocks
            assert verdict.flavor is None
            assert verdict.why
            continue
        assert sum(pods for _, pods in verdict.blocks) == gang.pods
        assert len(verdict.blocks) == 1 or not gang.one_block
        for block, pods in verdict.blocks:
            gpus[verdict.flavor or "", block] += pods * gang.requests[GPU]
    for flavor in flavors:
        for block in flavor.blocks:
            assert gpus[flavor.name, block.name] <= block.nodes * NODE


@given(worlds())
def test_the_running_stay_unless_someone_was_let_in_for_them(
    world: tuple[list[Queue], list[Flavor], list[Gang]],
) -> None:
    made, flavors, wanted = world
    before = {v.gang: v.flavor or "" for v in admit(made, flavors, wanted[::2]).verdicts if v.state == "admitted"}
    after = admit(made, flavors, wanted, running=before)
    evicted = {verdict.gang for verdict in after.verdicts if verdict.state == "evicted"}
    assert evicted <= set(before)
    for name in evicted:
        assert "had to go for" in after.of(name).why
    if all(queue.preemption.within_queue == queue.preemption.reclaim_within_cohort == "Never" for queue in made):
        assert set(before) <= admitted(after)


@st.composite
def one_queue(draw: st.DrawFn) -> tuple[Queue, Flavor, list[Gang]]:
    """One strict queue and gangs of one priority."""
    flavor = Flavor(
        name="f0",
        node={GPU: NODE},
        blocks=tuple(
            Block(name=f"b{number}", nodes=nodes)
            for number, nodes in enumerate(draw(st.lists(st.integers(0, 4), min_size=1, max_size=3)))
        ),
    )
    quota = Quota(flavor="f0", nominal={GPU: draw(st.integers(0, 80))})
    wanted = [
        gang.model_copy(update={"priority": 0, "requests": {GPU: NODE}}) for gang in draw(gangs(["q0"], [flavor]))
    ]
    return Queue(name="q0", quotas=(quota,), strategy="StrictFIFO"), flavor, wanted


@given(one_queue(), st.integers(0, 24), st.data())
def test_more_capacity_never_takes_a_place_away(
    world: tuple[Queue, Flavor, list[Gang]], more_quota: int, data: st.DataObject
) -> None:
    """Of one priority in a strict queue. Elsewhere it is not so in Kueue either: a gang that now fits may go first."""
    queue, flavor, wanted = world
    first = admitted(admit([queue], [flavor], wanted))
    quota = Quota(flavor="f0", nominal={GPU: queue.quotas[0].nominal[GPU] + more_quota})
    grown = flavor.model_copy(
        update={
            "blocks": tuple(
                Block(name=block.name, nodes=block.nodes + data.draw(st.integers(0, 2))) for block in flavor.blocks
            )
        }
    )
    second = admitted(admit([queue.model_copy(update={"quotas": (quota,)})], [grown], wanted))
    assert first <= second


@given(worlds(), st.integers(0, 24))
def test_what_runs_is_not_evicted_by_its_equals_when_capacity_grows(
    world: tuple[list[Queue], list[Flavor], list[Gang]], more: int
) -> None:
    made, flavors, wanted = world
    wanted = [gang.model_copy(update={"priority": 0}) for gang in wanted]
    made = [
        queue.model_copy(update={"preemption": Preemption(reclaim_within_cohort="LowerPriority")}) for queue in made
    ]
    running = {v.gang: v.flavor or "" for v in admit(made, flavors, wanted).verdicts if v.state == "admitted"}
    grown = [
        flavor.model_copy(update={"blocks": tuple(Block(name=b.name, nodes=b.nodes + more % 3) for b in flavor.blocks)})
        for flavor in flavors
    ]
    richer = [
        queue.model_copy(
            update={
                "quotas": tuple(
                    quota.model_copy(update={"nominal": {GPU: quota.nominal[GPU] + more}}) for quota in queue.quotas
                )
            }
        )
        for queue in made
    ]
    assert set(running) <= admitted(admit(richer, grown, wanted, running=running))
