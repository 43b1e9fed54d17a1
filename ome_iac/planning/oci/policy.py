"""IAM statements without which pools cannot come to be, and no other."""

from __future__ import annotations

from collections.abc import Sequence

from ome_iac.planning.oci.plan import NodePoolPlan, PolicyPlan, Tags
from ome_iac.spec.infrastructure import Cluster, NewOke, Oke


def plan_policy(
    document: Cluster, cluster: NewOke | Oke, pools: Sequence[NodePoolPlan], tags: Tags
) -> PolicyPlan | None:
    """What OKE's pools and nodes may do in the cluster's compartment; None where no pool needs anything.

    A managed pool launches into its compute cluster (and host group) in its own name; a self-managed node joins in the
    name of a dynamic group (oci-hpc-oke, terraform/iam.tf; OKE, Working with Self-Managed Nodes).
    """
    compartment = cluster.compartment_id
    within = f"in compartment id {compartment}"
    as_pool = f"{within} where request.principal.type = 'nodepool'"
    statements = set()
    if any(pool.mode == "managed-rdma" for pool in pools):
        statements.add(f"Allow any-user to {{COMPUTE_CLUSTER_LAUNCH_INSTANCE}} {as_pool}")
    if any(pool.host_group_id for pool in pools):
        statements.add(f"Allow any-user to {{HOST_GROUP_LAUNCH_INSTANCE}} {as_pool}")
    if any((pool.capacity_reservation_id or pool.reservation) and not pool.self_managed for pool in pools):
        statements.add(f"Allow any-user to use compute-capacity-reservations {as_pool}")
    name = f"{document.name}-nodes"
    joining = any(pool.self_managed for pool in pools)
    if joining:
        statements.add(f"Allow dynamic-group {name} to {{CLUSTER_JOIN}} {within}")
    if not statements:
        return None
    return PolicyPlan(
        name=name,
        compartment_id=compartment,
        home_region=cluster.home_region or cluster.region if isinstance(cluster, NewOke) else None,
        statements=tuple(sorted(statements)),
        joining=f"ALL {{instance.compartment.id = '{compartment}'}}" if joining else None,
        tenancy_id=cluster.tenancy_id,
        tags=tags,
    )
