"""Kueue's objects (kueue.x-k8s.io/v1beta2) from an `AdmissionPlan`; nothing is decided here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ome_iac.hardware import GIB
from ome_iac.planning.admission.model import Amounts, Flavor, Queue, Quota, Topology
from ome_iac.planning.admission.nodes import DISK, MEMORY
from ome_iac.planning.admission.plan import AdmissionPlan, DedicatedNodesPlan

Manifest = dict[str, Any]

API_VERSION = "kueue.x-k8s.io/v1beta2"
DEDICATED = "ome-iac/dedicated"
NAMESPACE_NAME = "kubernetes.io/metadata.name"
"""Label that the API server puts on every namespace."""


def cluster_objects(plan: AdmissionPlan) -> list[Manifest]:
    """What is not namespaced, in the order in which it has to exist."""
    return [
        *(_topology(topology) for topology in plan.topologies),
        *(_flavor(flavor) for flavor in plan.flavors),
        *(_named("WorkloadPriorityClass", item.name, value=item.value) for item in plan.priorities),
        *(_cluster_queue(queue) for queue in plan.queues),
    ]


def local_queues(plan: AdmissionPlan, namespace: str) -> list[Manifest]:
    """The queues of a namespace."""
    return [
        {
            "apiVersion": API_VERSION,
            "kind": "LocalQueue",
            "metadata": {"name": queue.name, "namespace": namespace},
            "spec": {"clusterQueue": queue.name},
        }
        for queue in plan.queues
        if namespace in queue.namespaces
    ]


def namespace_object(plan: DedicatedNodesPlan) -> Manifest:
    """The namespace of a dedicated cluster."""
    labels = {"app.kubernetes.io/managed-by": "ome-iac", DEDICATED: plan.name}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": plan.namespace, "labels": labels}}


def _topology(topology: Topology) -> Manifest:
    return _named("Topology", topology.name, spec={"levels": [{"nodeLabel": level} for level in topology.levels]})


def _flavor(flavor: Flavor) -> Manifest:
    taints = [*flavor.taints, *([flavor.dedicated] if flavor.dedicated else [])]
    spec: Manifest = {
        "nodeLabels": dict(flavor.node_labels),
        "nodeTaints": [{"key": key, "value": value, "effect": effect} for key, value, effect in taints],
    }
    if flavor.dedicated:
        key, value, effect = flavor.dedicated
        spec["tolerations"] = [{"key": key, "operator": "Equal", "value": value, "effect": effect}]
    if flavor.topology:
        spec["topologyName"] = flavor.topology
    return _named("ResourceFlavor", flavor.name, spec=spec)


def _cluster_queue(queue: Queue) -> Manifest:
    spec: Manifest = {
        "namespaceSelector": {
            "matchExpressions": [{"key": NAMESPACE_NAME, "operator": "In", "values": list(queue.namespaces)}]
        }
        if queue.namespaces
        # An empty selector means every namespace; this one means none.
        else {"matchExpressions": [{"key": NAMESPACE_NAME, "operator": "DoesNotExist"}]},
        "queueingStrategy": queue.strategy,
        "resourceGroups": _resource_groups(queue),
        "preemption": {
            "withinClusterQueue": queue.preemption.within_queue,
            "reclaimWithinCohort": queue.preemption.reclaim_within_cohort if queue.cohort else "Never",
        },
        "flavorFungibility": {"whenCanBorrow": "MayStopSearch", "whenCanPreempt": "TryNextFlavor"},
    }
    if queue.cohort:
        spec["cohortName"] = queue.cohort
    return _named("ClusterQueue", queue.name, spec=spec)


def _resource_groups(queue: Queue) -> list[Manifest]:
    """A flavor is in one group, and so is a resource: flavors of different resources share one group, in which each
    has the others' at zero."""
    covered = queue.resources
    return [
        {
            "coveredResources": list(covered),
            "flavors": [
                {"name": quota.flavor, "resources": [_resource(quota, name, bool(queue.cohort)) for name in covered]}
                for quota in queue.quotas
            ],
        }
    ]


def _resource(quota: Quota, name: str, shared: bool) -> Manifest:
    found: Manifest = {"name": name, "nominalQuota": _quantity(name, quota.nominal)}
    if shared and quota.borrowing is not None:
        found["borrowingLimit"] = _quantity(name, quota.borrowing)
    if shared and quota.lending is not None:
        found["lendingLimit"] = _quantity(name, quota.lending)
    return found


def _quantity(name: str, amounts: Amounts) -> str:
    """Bytes as whole GiB: every request is one, so what is cut off could not have been used."""
    amount = amounts.get(name, 0)
    return f"{amount // GIB}Gi" if name in (MEMORY, DISK) else str(amount)


def _named(kind: str, name: str, **body: object) -> Manifest:
    metadata: Mapping[str, object] = {"name": name, "labels": {"app.kubernetes.io/managed-by": "ome-iac"}}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": dict(metadata), **body}
