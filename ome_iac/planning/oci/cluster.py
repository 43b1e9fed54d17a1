"""The OKE cluster, decided: one that the stack makes, or as much of one that is there as pools need."""

from __future__ import annotations

import json
from collections.abc import Iterator
from difflib import get_close_matches
from ipaddress import IPv4Network

from ome_iac.planning.oci.network import existing_network
from ome_iac.planning.oci.plan import AddOnPlan, ClusterPlan, ExistingCluster, NetworkIds, Tags
from ome_iac.problems import Problem
from ome_iac.spec.infrastructure import Cluster, NewOke, Oke
from ome_iac.spec.network import ExistingNetwork

ADD_ONS = (
    "AmdGpuPlugin",
    "CertManager",
    "ClusterAutoscaler",
    "CoreDNS",
    "Flannel",
    "Istio",
    "KubeProxy",
    "KubernetesDashboard",
    "KubernetesMetricsServer",
    "NativeIngressController",
    "NodeFeatureDiscovery",
    "NvidiaGpuPlugin",
    "OciVcnIpNative",
    "OracleDatabaseOperator",
    "WeblogicKubernetesOperator",
)
"""OKE's add-ons by the names its API takes. New ones appear: only a name close to one of these is taken for a slip."""


def plan_cluster(document: Cluster, wanted: NewOke, tags: Tags) -> ClusterPlan:
    """The cluster. Its pods have addresses of the VCN; its API is private unless said otherwise."""
    existing = existing_network(wanted.network) if isinstance(wanted.network, ExistingNetwork) else None
    return ClusterPlan(
        name=document.name,
        compartment_id=wanted.compartment_id,
        region=wanted.region,
        kubernetes_version=wanted.kubernetes_version,
        network=existing,
        public_endpoint=wanted.api == "public",
        services_cidr=wanted.services_cidr,
        add_ons=tuple(
            AddOnPlan(
                name=add_on.name, version=add_on.version, configuration=dict(sorted(add_on.configuration.items()))
            )
            for add_on in sorted(wanted.add_ons, key=lambda add_on: add_on.name)
        ),
        kms_key_id=wanted.kms_key_id,
        image_policy_key_ids=tuple(sorted(wanted.image_policy_key_ids)),
        protect=wanted.protect,
        tags=tags,
    )


def existing_cluster(oke: Oke) -> ExistingCluster:
    """A cluster that is there."""
    subnets = {"workers": oke.node_subnet_id, **({"pods": oke.pod_subnet_id} if oke.pod_subnet_id else {})}
    return ExistingCluster(
        cluster_id=oke.cluster_id,
        network=NetworkIds.model_validate({"vcn_id": None, "subnets": subnets, "groups": {}}),
        vcn_native=oke.pod_subnet_id is not None,
        api_host=oke.api_host,
        ca_certificate=oke.ca_certificate,
    )


def cluster_problems(document: Cluster) -> Iterator[Problem]:
    """What speaks against a cluster as it was written, the network's addresses apart."""
    spec = document.spec
    if spec.oke and spec.create:
        yield document.problem("spec.create", "beside spec.oke: the cluster is there, or it is made", "keep one")
    if spec.create is None:
        return
    names = [add_on.name for add_on in spec.create.add_ons]
    for index, name in enumerate(names):
        near = get_close_matches(name.lower(), (known.lower() for known in ADD_ONS), n=1, cutoff=0.8)
        if name not in ADD_ONS and near:
            meant = next(known for known in ADD_ONS if known.lower() == near[0])
            what = f"OKE has no add-on {name}"
            yield document.problem(f"spec.create.addOns.{index}.name", what, f'did you mean "{meant}"?')
        elif name in names[:index]:
            yield document.problem(f"spec.create.addOns.{index}.name", f"{name} is there twice", "keep one")


def pod_subnet(document: Cluster) -> tuple[str, IPv4Network] | None:
    """Where an existing pod subnet's size is said, and the subnet; None where nothing says it."""
    network = document.spec.create.network if document.spec.create else None
    if isinstance(network, ExistingNetwork) and network.pod_subnet_cidr:
        return "spec.create.network.podSubnetCidr", IPv4Network(network.pod_subnet_cidr)
    return None


def kubeconfig(name: str, cluster_id: str, region: str, server: str, certificate: str) -> str:
    """A kubeconfig (JSON, which is YAML) made of what does not change while the cluster lives.

    `server` is an https URL, `certificate` the cluster's CA in base64. Tokens come from OCI's own command line, each
    time anew (OKE, Setting Up Cluster Access: `oci ce cluster generate-token`).
    """
    arguments = ["ce", "cluster", "generate-token", "--cluster-id", cluster_id, "--region", region]
    execute = {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": "oci",
        "args": arguments,
        "interactiveMode": "Never",
    }
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": certificate}}],
            "users": [{"name": name, "user": {"exec": execute}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        }
    )
