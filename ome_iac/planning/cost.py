"""What a plan costs, USD list: by the hour, by the million output tokens, and what is paid for nothing.

Prices are the shapes' (hardware/shapes.yaml). A price per token that rests on a bound of speed is a bound too: no
cheaper than this.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from ome_iac.planning.speed import Speed

UNUSED_RESERVATION_SHARE = 0.85
"""Of the list price, what OCI bills for reserved capacity that no instance uses (OCI documentation of capacity
reservations, as of September 2026)."""

HOURS_PER_MONTH = 744
"""As Oracle's estimator counts a month."""


class _Cost(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class ServiceCost(_Cost):
    """What a service costs; prices per token are None where it gives no tokens, or nothing tells how fast."""

    per_hour: float = Field(description="of all replicas' GPUs, busy or not")
    per_million_tokens: float | None = Field(description="output tokens, their prompts included, as much asked as said")
    per_million_tokens_full: float | None = Field(description="the same with as many requests as the replica holds")
    full_concurrency: int | None = Field(description="requests in flight of a full replica")
    source: str = Field(description="of the speed that the price at the asked concurrency rests on; empty without")
    full_source: str = Field("", description="of the speed that the price of a full replica rests on; empty without")


class PoolCost(_Cost):
    """What a pool costs, and what of it nobody uses."""

    per_hour: float
    idle_gpus: int
    idle_per_hour: float = Field(description="of GPUs that no replica has, on nodes that run")


class ReservationCost(_Cost):
    """What a capacity reservation costs beside the nodes that use it."""

    unused_nodes: int
    per_hour: float = Field(description="85 % of the list price of what is reserved and not used")


def service_cost(
    replica_per_hour: float,
    replicas: int,
    speed: Speed | None,
    full: Speed | None = None,
) -> ServiceCost:
    """`speed` is a replica's at the asked concurrency, `full` at the batch that `full_batch` says it holds.

    Both rest on the same number of replicas: what is asked of the service is asked of all of them.
    """
    return ServiceCost(
        per_hour=round(replica_per_hour * replicas, 4),
        per_million_tokens=per_million_tokens(replica_per_hour, speed),
        per_million_tokens_full=per_million_tokens(replica_per_hour, full),
        full_concurrency=full.concurrency if full else None,
        source=speed.source if speed else "",
        full_source=full.source if full else "",
    )


def per_million_tokens(replica_per_hour: float, speed: Speed | None) -> float | None:
    """USD for a million output tokens of a replica that is kept busy so; None where there are none."""
    if speed is None or not speed.tokens_per_second:
        return None
    return float(f"{replica_per_hour / (speed.tokens_per_second * 3600 / 1e6):.4g}")


def full_batch(held: float | None, longest: int, typical: int, max_num_seqs: int) -> int:
    """Requests of `typical` tokens that a replica runs at once at most.

    `held` is how many requests of `longest` tokens the KV cache holds (None: requests keep nothing); `max_num_seqs` is
    the engine's own limit, of all data parallel ranks.
    """
    if held is None:
        return max_num_seqs
    return max(1, min(max_num_seqs, int(held * longest / max(1, typical))))


def pool_cost(price_per_gpu_hour: float, nodes: int, gpus_per_node: int, gpus_used: int) -> PoolCost:
    """A pool of that many nodes, each paid whole."""
    idle = nodes * gpus_per_node - gpus_used
    return PoolCost(
        per_hour=round(nodes * gpus_per_node * price_per_gpu_hour, 4),
        idle_gpus=idle,
        idle_per_hour=round(idle * price_per_gpu_hour, 4),
    )


def reservation_cost(
    price_per_gpu_hour: float, gpus_per_node: int, reserved_nodes: int, used_nodes: int
) -> ReservationCost:
    """A reservation of so many nodes of one shape; nodes that use it are paid as nodes, not here."""
    unused = max(0, reserved_nodes - used_nodes)
    return ReservationCost(
        unused_nodes=unused,
        per_hour=round(UNUSED_RESERVATION_SHARE * unused * gpus_per_node * price_per_gpu_hour, 4),
    )


def per_month(per_hour: float) -> float:
    """USD of a month at that price an hour."""
    return round(per_hour * HOURS_PER_MONTH, 2)
