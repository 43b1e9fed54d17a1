"""What is true of whole kinds of Kubernetes objects: their scope, and which of their fields never change in place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ome_iac.rehearsal.providers.diffing import Path, parse
from ome_iac.rehearsal.providers.package import ProviderError


@dataclass(frozen=True, order=True)
class ObjectKind:
    """A kind with its API version, as in an object: `apps/v1`, `Deployment`."""

    api_version: str
    kind: str

    @property
    def group(self) -> str:
        """The API group, empty for the core one."""
        return self.api_version.rpartition("/")[0]

    @property
    def qualified(self) -> str:
        """`Deployment.apps`, `ConfigMap`: the kind without its version."""
        return f"{self.kind}.{self.group}" if self.group else self.kind


@dataclass(frozen=True, order=True)
class ObjectRef:
    """One object: its kind, its namespace (None for cluster-scoped kinds) and its name."""

    kind: ObjectKind
    namespace: str | None
    name: str

    @property
    def id(self) -> str:
        """The Pulumi id, as the official provider writes it: `namespace/name` or `name`."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    def __str__(self) -> str:
        place = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.kind.qualified} {self.name}{place}"

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> ObjectRef:
        """The reference of an object that has been checked."""
        metadata = document["metadata"]
        kind = ObjectKind(document["apiVersion"], document["kind"])
        return cls(kind, metadata.get("namespace"), metadata["name"])

    @classmethod
    def from_id(cls, kind: ObjectKind, resource_id: str) -> ObjectRef:
        """The reference that a Pulumi id stands for."""
        namespace, slash, name = resource_id.rpartition("/")
        return cls(kind, namespace if slash else None, name)


_TOKEN: Final = re.compile(r"kubernetes:(?P<group>[^:/]+)/(?P<version>v[^:/]+):(?P<kind>[^:]+)")


def kind_of_token(token: str) -> ObjectKind:
    """The kind of a Pulumi type token such as `kubernetes:apps/v1:Deployment`; ProviderError where it is none."""
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise ProviderError(f"{token} is no kind of Kubernetes object and is not rehearsed")
    group, version, kind = match.group("group", "version", "kind")
    return ObjectKind(version if group == "core" else f"{group}/{version}", kind)


# Kubernetes 1.36: `kubectl api-resources --namespaced=false`.
_CLUSTER_SCOPED: Final = frozenset(
    {
        *((group, kind) for group, kinds in {
            "": ("ComponentStatus", "Namespace", "Node", "PersistentVolume"),
            "admissionregistration.k8s.io": (
                "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding", "MutatingWebhookConfiguration",
                "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "ValidatingWebhookConfiguration",
            ),
            "apiextensions.k8s.io": ("CustomResourceDefinition",),
            "apiregistration.k8s.io": ("APIService",),
            "certificates.k8s.io": ("CertificateSigningRequest", "ClusterTrustBundle"),
            "flowcontrol.apiserver.k8s.io": ("FlowSchema", "PriorityLevelConfiguration"),
            "networking.k8s.io": ("IngressClass", "IPAddress", "ServiceCIDR"),
            "node.k8s.io": ("RuntimeClass",),
            "rbac.authorization.k8s.io": ("ClusterRole", "ClusterRoleBinding"),
            "resource.k8s.io": ("DeviceClass", "DeviceTaintRule", "ResourceSlice"),
            "scheduling.k8s.io": ("PriorityClass",),
            "storage.k8s.io": ("CSIDriver", "CSINode", "StorageClass", "VolumeAttachment", "VolumeAttributesClass"),
        }.items() for kind in kinds),
        # Of the controllers that stacks use: Kueue, Gateway API, OME. Kinds named Cluster… need no entry.
        *(("kueue.x-k8s.io", kind) for kind in (
            "AdmissionCheck", "Cohort", "ProvisioningRequestConfig", "ResourceFlavor", "Topology",
            "WorkloadPriorityClass",
        )),
        ("gateway.networking.k8s.io", "GatewayClass"),
        ("ome.io", "AcceleratorClass"),
    }
)  # fmt: skip


def is_builtin(kind: ObjectKind) -> bool:
    """Whether the kind is one of Kubernetes' own, not defined by a CustomResourceDefinition."""
    return "." not in kind.group or (kind.group.endswith(".k8s.io") and ".x-k8s.io" not in kind.group)


def is_namespaced(kind: ObjectKind) -> bool:
    """The scope by the kind's name, for want of an API server: custom kinds named Cluster… are cluster-scoped."""
    if (kind.group, kind.kind) in _CLUSTER_SCOPED:
        return False
    return is_builtin(kind) or not kind.kind.startswith("Cluster")


# The fields whose change replaces the object in the official provider (pulumi-kubernetes, provider/diff.go `forceNew`)
# where the API server indeed refuses to change them.
_IMMUTABLE: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("", "ConfigMap"): ("binaryData", "data"),
    ("", "PersistentVolumeClaim"): (
        "spec.accessModes", "spec.selector", "spec.storageClassName", "spec.volumeMode", "spec.volumeName",
    ),
    ("", "Pod"): ("spec",),
    ("", "ResourceQuota"): ("spec.scopes",),
    ("", "Secret"): ("type", "stringData", "data"),
    ("", "Service"): ("spec.clusterIP",),
    ("apps", "DaemonSet"): ("spec.selector",),
    ("apps", "Deployment"): ("spec.selector",),
    ("apps", "StatefulSet"): (
        "spec.podManagementPolicy", "spec.selector", "spec.serviceName", "spec.volumeClaimTemplates",
    ),
    ("batch", "Job"): ("spec.completions", "spec.parallelism", "spec.selector", "spec.template"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): ("roleRef",),
    ("rbac.authorization.k8s.io", "RoleBinding"): ("roleRef",),
    ("scheduling.k8s.io", "PriorityClass"): ("value", "preemptionPolicy"),
    ("storage.k8s.io", "StorageClass"): ("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"),
}  # fmt: skip

_IDENTITY: Final = ("kind", "metadata.name", "metadata.namespace")


def immutable_fields(kind: ObjectKind, mutable_data: frozenset[str] = frozenset()) -> list[Path]:
    """The fields of a kind whose change needs another object.

    `mutable_data` names the kinds (ConfigMap, Secret) whose data a provider was told to change in place. Custom kinds
    have none but their identity: a program says `replace_on_changes` for theirs.
    """
    fields = _IMMUTABLE.get((kind.group, kind.kind), ())
    if kind.kind in mutable_data:
        fields = tuple(field for field in fields if field == "type")
    return [parse(field) for field in (*_IDENTITY, *fields)]
