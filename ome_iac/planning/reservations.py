"""CapacityReservation: what is reserved at OCI, what of it is used, what the rest costs; and the queues on its pools.

Reserved capacity on which no instance runs is billed at 85 % of the instance's price (Oracle, capacity reservations).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ome_iac.hardware import Shape, shapes
from ome_iac.planning.admission.model import Block
from ome_iac.planning.admission.plan import OciReservationPlan, ReservationPlan, ReservedNodes
from ome_iac.planning.oci.tags import stack_tags
from ome_iac.planning.plan import PoolPlan
from ome_iac.problems import Problem, did_you_mean
from ome_iac.spec.capacity import CapacityReservation, Reserved
from ome_iac.spec.infrastructure import GpuMemoryClusterPool, ManagedPool, NodePool
from ome_iac.spec.stack import Stack

UNUSED_SHARE = 0.85
"""Of the list price, for a reserved instance that does not run."""


def check_reservations(stack: Stack) -> Iterable[Problem]:
    """What is wrong with reservations, whatever the services turn out to need."""
    pools = {pool.name: pool for pool in stack.of(NodePool)}
    broken = {name for kind, name in stack.unusable if kind == "NodePool"}
    covered: dict[str, CapacityReservation] = {}
    for reservation in stack.of(CapacityReservation):
        for index, name in enumerate(reservation.spec.pools):
            if name not in pools:
                if name not in broken:
                    yield reservation.problem(
                        f"spec.pools.{index}", f"there is no NodePool {name}", did_you_mean(name, pools)
                    )
                continue
            first = covered.setdefault(name, reservation)
            if first is not reservation:
                what = f"{name} is covered by {first.label} already"
                yield reservation.problem(f"spec.pools.{index}", what, "cover it once")
        yield from _check_oci(
            reservation, [pools[name] for name in dict.fromkeys(reservation.spec.pools) if name in pools]
        )
        names = Counter(priority.name for priority in reservation.spec.priorities)
        for index, priority in enumerate(reservation.spec.priorities):
            if names[priority.name] > 1:
                yield reservation.problem(
                    f"spec.priorities.{index}.name", f"{priority.name} is there twice", "name it once"
                )


def plan_reservations(stack: Stack, pools: Sequence[PoolPlan]) -> tuple[ReservationPlan, ...]:
    """The reservations, after the services were placed on the pools."""
    by_name = {pool.name: pool for pool in pools}
    return tuple(
        _plan(stack, reservation, [by_name[name] for name in sorted(set(reservation.spec.pools)) if name in by_name])
        for reservation in stack.of(CapacityReservation)
    )


def declared_blocks(stack: Stack, pools: Sequence[PoolPlan]) -> dict[str, list[Block]]:
    """The network blocks of each pool's nodes, by the pool's name, as far as a reservation declares them.

    Two pools of one shape share its blocks in the order of their names: OCI does not say beforehand which node it
    launches where.
    """
    found: dict[str, list[Block]] = {}
    for reservation in stack.of(CapacityReservation):
        capacity = reservation.spec.oci.capacity if reservation.spec.oci else ()
        left = {
            shape: [
                Block(name=block.id, nodes=block.nodes)
                for item in capacity
                if item.shape == shape and item.placement
                for block in sorted(item.placement.blocks, key=lambda block: block.id)
            ]
            for shape in sorted({item.shape for item in capacity})
        }
        for pool in sorted(pools, key=lambda pool: pool.name):
            shape = pool.shape
            if pool.name in reservation.spec.pools and left.get(shape):
                found[pool.name], left[shape] = _split(left[shape], pool.nodes)
    return found


def _split(blocks: Sequence[Block], nodes: int) -> tuple[list[Block], list[Block]]:
    """The first `nodes` nodes of the blocks, and the others."""
    first, rest = [], []
    for block in blocks:
        here = min(block.nodes, nodes)
        nodes -= here
        first.append(Block(name=block.name, nodes=here))
        rest.append(Block(name=block.name, nodes=block.nodes - here))
    return [block for block in first if block.nodes], [block for block in rest if block.nodes]


def _check_oci(reservation: CapacityReservation, pools: Sequence[NodePool]) -> Iterable[Problem]:
    oci = reservation.spec.oci
    if oci is None:
        return
    reserved = Counter[str]()
    for index, item in enumerate(oci.capacity):
        path = f"spec.oci.capacity.{index}"
        shape = shapes().get(item.shape)
        reserved[item.shape] += item.nodes
        if shape is None:
            yield reservation.problem(
                f"{path}.shape", f"there is no GPU shape {item.shape}", did_you_mean(item.shape, shapes())
            )
        else:
            yield from _check_placement(reservation, path, item, shape)
    wanted = Counter[str]()
    for pool in pools:
        wanted[pool.spec.shape] += _most_nodes(pool)
        elsewhere = sorted(set(_domains(pool)) - {oci.availability_domain})
        if elsewhere:
            yield reservation.problem(
                "spec.oci.availabilityDomain",
                f"is {oci.availability_domain}, but NodePool/{pool.name} is in {', '.join(elsewhere)} too"
                if oci.availability_domain in _domains(pool)
                else f"is {oci.availability_domain}, but NodePool/{pool.name} is in {', '.join(elsewhere)}",
                "a reservation is in one availability domain: one reservation and one pool for each",
            )
    for shape_name in sorted(wanted):
        if reserved[shape_name] < wanted[shape_name]:
            names = ", ".join(sorted(pool.name for pool in pools if pool.spec.shape == shape_name))
            yield reservation.problem(
                "spec.oci.capacity",
                f"reserves {reserved[shape_name]} {shape_name}, its pools ({names}) have {wanted[shape_name]} nodes",
                f"reserve {wanted[shape_name]}, or make the pools smaller",
            )


def _check_placement(reservation: CapacityReservation, path: str, item: Reserved, shape: Shape) -> Iterable[Problem]:
    if item.placement is None:
        return
    if shape.rdma is None:
        what = f"{item.shape} has no cluster network"
        yield reservation.problem(f"{path}.placement", what, "leave it out")
    in_blocks = sum(block.nodes for block in item.placement.blocks)
    if in_blocks > item.nodes:
        what = f"the blocks have {in_blocks} nodes, {item.nodes} are reserved"
        yield reservation.problem(f"{path}.placement.blocks", what, f"{item.nodes} nodes together at most")


def _most_nodes(pool: NodePool) -> int:
    """Nodes of a pool at its largest: what is not reserved cannot be launched in a reservation."""
    spec = pool.spec
    autoscale = spec.autoscale if isinstance(spec, ManagedPool | GpuMemoryClusterPool) else None
    return max(spec.nodes, autoscale.max_nodes) if autoscale else spec.nodes


def _domains(pool: NodePool) -> tuple[str, ...]:
    """Availability domains that a pool's nodes are in; none for nodes that are there already."""
    spec = pool.spec
    if spec.mode == "existing":
        return ()
    return spec.availability_domains if spec.mode == "managed" else (spec.availability_domain,)


def _plan(stack: Stack, reservation: CapacityReservation, pools: Sequence[PoolPlan]) -> ReservationPlan:
    spec = reservation.spec
    oci = _plan_oci(stack, reservation, pools)
    idle = sum(pool.cost_per_hour * (1 - pool.gpus_used / pool.gpus) for pool in pools)
    notes = [
        f"{item.nodes - item.launched} of {item.nodes} {item.shape} are reserved and not launched: "
        f"${item.unused_cost_per_hour:.2f}/h at {UNUSED_SHARE:.0%} of the list price"
        for item in (oci.capacity if oci else ())
        if item.launched < item.nodes
    ]
    return ReservationPlan(
        name=reservation.name,
        pools=tuple(pool.name for pool in pools),
        cohort=spec.cohort or reservation.name,
        oci=oci,
        gpus=sum(pool.gpus for pool in pools),
        gpus_used=sum(pool.gpus_used for pool in pools),
        unused_cost_per_hour=sum(item.unused_cost_per_hour for item in oci.capacity) if oci else 0.0,
        idle_cost_per_hour=idle,
        notes=tuple(notes),
    )


def _plan_oci(stack: Stack, reservation: CapacityReservation, pools: Sequence[PoolPlan]) -> OciReservationPlan | None:
    oci = reservation.spec.oci
    compartment = compartment_of(stack, oci.compartment_id) if oci else None
    if oci is None or compartment is None:
        return None
    launched = Counter[str]()
    for pool in pools:
        launched[pool.shape] += pool.nodes
    capacity = []
    for item in oci.capacity:
        here = min(item.nodes, launched[item.shape])
        launched[item.shape] -= here
        capacity.append(_reserved(item, here))
    return OciReservationPlan(
        compartment_id=compartment,
        availability_domain=oci.availability_domain,
        capacity=tuple(capacity),
        protect=oci.protect,
        tags=stack_tags(stack.name, stack.cluster),
    )


def _reserved(item: Reserved, launched: int) -> ReservedNodes:
    placement = item.placement
    return ReservedNodes(
        shape=item.shape,
        nodes=item.nodes,
        launched=launched,
        fault_domain=item.fault_domain,
        hpc_island_id=placement.hpc_island_id if placement else None,
        network_blocks=tuple(
            Block(name=block.id, nodes=block.nodes)
            for block in sorted(placement.blocks if placement else (), key=lambda block: block.id)
        ),
        unused_cost_per_hour=(item.nodes - launched) * shapes()[item.shape].price_per_hour * UNUSED_SHARE,
    )


def compartment_of(stack: Stack, own: str | None) -> str | None:
    """The compartment that a document names, else the cluster's; None where neither says."""
    cluster = stack.cluster.spec
    return own or (
        cluster.oke.compartment_id if cluster.oke else cluster.create.compartment_id if cluster.create else None
    )


def priorities_of(stack: Stack) -> Mapping[str, int]:
    """Priority classes that the stack declares, by name."""
    return {
        priority.name: priority.value
        for reservation in stack.of(CapacityReservation)
        for priority in reservation.spec.priorities
    }
