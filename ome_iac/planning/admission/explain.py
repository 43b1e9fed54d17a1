"""Why a gang waits, with numbers, and the least change that would admit it."""

from __future__ import annotations

from ome_iac.planning.admission.model import Amounts, Block, Flavor, Gang
from ome_iac.planning.admission.packing import pack
from ome_iac.planning.admission.snapshot import Snapshot

GIB = 2**30
BYTES = ("memory", "ephemeral-storage")
MOST_TRIED = 20
"""Gangs whose going is tried out, lowest priority first."""


def text(amounts: Amounts) -> str:
    """`8 nvidia.com/gpu, 120 GiB memory`."""
    return ", ".join(
        f"{-(-amount // GIB):,} GiB {name}" if name in BYTES else f"{amount:,} {name}"
        for name, amount in sorted(amounts.items())
    )


def why_not(now: Snapshot, gang: Gang) -> str:
    """The reason, flavor by flavor."""
    return "; ".join(_on(now, gang, flavor) for flavor in gang.flavors) or "names no flavor"


def helps_for(now: Snapshot, gang: Gang) -> tuple[str, ...]:
    """Changes of which each alone admits the gang beside everything that is admitted."""
    found: list[str] = []
    for flavor in gang.flavors:
        if flavor not in now.flavors or now.quotas.uncovered(gang, flavor):
            continue
        missing = now.quotas.shortage(gang, flavor)
        if missing and now.floor_with(gang, flavor) is not None:
            found.append(f"{text(missing)} more quota of {flavor} for {gang.queue}")
        elif not missing:
            found.extend(_more_nodes(now, gang, now.flavors[flavor]))
    lower = _lowest_in_the_way(now, gang)
    if lower:
        found.append(f"a priority above {lower.priority} would evict {lower.name}")
    return tuple(found)


def _on(now: Snapshot, gang: Gang, flavor: str) -> str:
    if flavor not in now.flavors:
        return f"there is no flavor {flavor}"
    uncovered = now.quotas.uncovered(gang, flavor)
    if uncovered:
        return f"{gang.queue} has no quota of {', '.join(uncovered)} on {flavor}: Kueue never admits it"
    missing = now.quotas.shortage(gang, flavor)
    if missing:
        return f"{gang.queue} lacks {text(missing)} on {flavor}"
    nodes = now.flavors[flavor]
    apart = pack_apart(now, gang, flavor) if gang.one_block else False
    if apart:
        sizes = ", ".join(f"{block.name} {block.nodes}" for block in sorted(nodes.blocks, key=lambda block: block.name))
        return f"{flavor} has room for its {gang.pods} pods, but in no one block (nodes: {sizes})"
    return f"{flavor} has no room for its {gang.pods} pods beside those admitted, on {nodes.nodes} nodes"


def pack_apart(now: Snapshot, gang: Gang, flavor: str) -> bool:
    """Whether the gang would have a place if it need not be in one block."""
    return now.floor_with(gang.model_copy(update={"one_block": False}), flavor) is not None


def _more_nodes(now: Snapshot, gang: Gang, flavor: Flavor) -> list[str]:
    """The fewest nodes, and in which block; no more than one for each pod of the gang."""
    for extra in range(1, gang.pods + 1):
        for block in sorted(flavor.blocks, key=lambda block: block.name):
            grown = flavor.model_copy(update={"blocks": tuple(_grown(other, block, extra) for other in flavor.blocks)})
            if pack([*now.admitted_on(flavor.name), gang], grown) is not None:
                where = f" in {block.name}" if block.name else ""
                return [f"{extra} more node{'s' if extra > 1 else ''} of {flavor.name}{where}"]
    return []


def _grown(other: Block, block: Block, extra: int) -> Block:
    return other.model_copy(update={"nodes": other.nodes + extra}) if other.name == block.name else other


def _lowest_in_the_way(now: Snapshot, gang: Gang) -> Gang | None:
    """The gang of the same queue and lowest priority that makes room by going; None where none does alone."""
    if now.queues[gang.queue].preemption.within_queue == "Never":
        return None
    for flavor in gang.flavors:
        if flavor not in now.flavors or now.quotas.uncovered(gang, flavor):
            continue
        missing = now.quotas.shortage(gang, flavor)
        own = [
            other
            for other in now.admitted_on(flavor)
            if other.queue == gang.queue
            and other.priority >= gang.priority
            and all(other.total(name) >= amount for name, amount in missing.items())
        ]
        for other in sorted(own, key=lambda other: (other.priority, other.name))[:MOST_TRIED]:
            without = now.copy()
            without.remove(other)
            if without.fits(gang, flavor):
                return other
    return None
