"""The custom resources that the local API server knows, so that it checks them as a cluster with those projects would.

They come from the modules that ship them, in the versions pinned below `tools/cluster`. Kueue is not among them: the Go
module proxy refuses its module. Definitions in files of one's own are added with `ControlPlane.add_crds`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ome_iac.problems import Problem, ProblemsError
from ome_iac.rehearsal.module_manifests import ModuleManifests

CRD = "CustomResourceDefinition"
CRDS_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_PINS = "cluster/crds"
# What is served by the controllers that run here, too.
LWS = ModuleManifests("lws", "cluster/lws", "sigs.k8s.io/lws", ("config/crd/bases/*.yaml", "config/webhook/*.yaml"))
JOBSET = ModuleManifests(
    "jobset",
    "cluster/jobset",
    "sigs.k8s.io/jobset",
    (
        "config/components/crd/bases/*.yaml",
        "config/components/webhook/*.yaml",
        "config/components/webhook/patches/*.yaml",
    ),
)
SOURCES = (
    LWS,
    JOBSET,
    ModuleManifests(
        "gateway-api",
        _PINS,
        "sigs.k8s.io/gateway-api",
        (
            "config/crd/standard/gateway.networking.k8s.io_*.yaml",
            # In version 1.4 these kinds are in the experimental channel only.
            "config/crd/experimental/gateway.networking.k8s.io_tcproutes.yaml",
            "config/crd/experimental/gateway.networking.k8s.io_tlsroutes.yaml",
        ),
    ),
    ModuleManifests(
        "inference-extension", _PINS, "sigs.k8s.io/gateway-api-inference-extension", ("config/crd/bases/*.yaml",)
    ),
    ModuleManifests("keda", _PINS, "github.com/kedacore/keda/v2", ("config/crd/bases/keda.sh_*.yaml",)),
    ModuleManifests("knative-serving", _PINS, "knative.dev/serving", ("config/core/300-resources/*.yaml",)),
    ModuleManifests(
        "kubeflow-trainer",
        _PINS,
        "github.com/kubeflow/trainer/v2",
        ("manifests/base/crds/trainer.kubeflow.org_*.yaml",),
    ),
    ModuleManifests(
        "prometheus-operator",
        _PINS,
        "github.com/prometheus-operator/prometheus-operator",
        tuple(
            f"example/prometheus-operator-crd/monitoring.coreos.com_{plural}.yaml"
            for plural in ("podmonitors", "prometheusrules", "servicemonitors")
        ),
    ),
    ModuleManifests("istio", _PINS, "istio.io/api", ("kubernetes/customresourcedefinitions.gen.yaml",)),
    ModuleManifests(
        "cert-manager", _PINS, "github.com/cert-manager/cert-manager", ("deploy/crds/cert-manager.io_*.yaml",)
    ),
)
# Of a file that holds many definitions, those that a stack has a use for: each costs the API server time and memory.
_ONLY = {
    "istio": {
        "AuthorizationPolicy",
        "DestinationRule",
        "Gateway",
        "PeerAuthentication",
        "RequestAuthentication",
        "ServiceEntry",
        "VirtualService",
    }
}


def definitions() -> list[dict[str, Any]]:
    """Every definition of SOURCES, by name (`<plural>.<group>`). They must have been ensured before."""
    found = []
    for source in SOURCES:
        only = _ONLY.get(source.name)
        for documents in source.load().values():
            found += [
                document
                for document in documents
                if _is_definition(document) and (only is None or document["spec"]["names"]["kind"] in only)
            ]
    return sorted(found, key=lambda definition: str(definition["metadata"]["name"]))


def read_definitions(path: Path) -> list[dict[str, Any]]:
    """The definitions in a YAML file, or in the `*.yaml` files of a folder; other documents in them are left out.

    Raises ProblemsError with every file that cannot be read, and where there is no definition at all.
    """
    problems: list[Problem] = []
    found: list[dict[str, Any]] = []
    for file in sorted(path.glob("*.yaml")) if path.is_dir() else [path]:
        try:
            documents = list(yaml.load_all(file.read_text("utf-8"), Loader=yaml.CSafeLoader))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            problems.append(Problem(str(file), "", f"cannot be read as YAML: {' '.join(str(error).split())}"))
        else:
            found += [document for document in documents if _is_definition(document)]
    if not found and not problems:
        problems.append(Problem(str(path), "", f"no {CRD} in it", "name a YAML file or a folder of them"))
    if problems:
        raise ProblemsError(problems)
    return found


def is_established(definition: Mapping[str, Any]) -> bool:
    """Whether the API server serves what it defines; raises ProblemsError where it never will."""
    conditions = {c["type"]: c for c in (definition.get("status") or {}).get("conditions") or ()}
    refused = conditions.get("NamesAccepted", {})
    if refused.get("status") == "False":
        raise ProblemsError([Problem(definition["metadata"]["name"], "spec.names", refused.get("message", "refused"))])
    return bool(conditions.get("Established", {}).get("status") == "True")


def _is_definition(document: object) -> bool:
    return isinstance(document, dict) and document.get("kind") == CRD
