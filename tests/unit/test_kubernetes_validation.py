from __future__ import annotations

from typing import Any

import pytest

from ome_iac.rehearsal.providers.diffing import render
from ome_iac.rehearsal.providers.kubernetes_kinds import ObjectKind
from ome_iac.rehearsal.providers.kubernetes_validation import problems
from ome_iac.rehearsal.providers.values import UNKNOWN, Secret

CONFIG_MAP = ObjectKind("v1", "ConfigMap")
DEPLOYMENT = ObjectKind("apps/v1", "Deployment")


@pytest.mark.parametrize(
    ("kind", "document", "wanted"),
    [
        (CONFIG_MAP, {"metadata": {"name": "a.b-c"}}, []),
        (CONFIG_MAP, {"metadata": {"name": UNKNOWN, "labels": UNKNOWN}, "data": UNKNOWN}, []),
        (CONFIG_MAP, {"metadata": UNKNOWN}, []),
        (CONFIG_MAP, {"metadata": {"name": "a", "labels": {"x": UNKNOWN}}, "data": {"x": Secret("y")}}, []),
        (CONFIG_MAP, {"metadata": "a"}, ["metadata"]),
        (CONFIG_MAP, {"metadata": {"name": 3}}, ["metadata.name"]),
        (CONFIG_MAP, {"metadata": {"name": "a" * 253}}, []),
        (CONFIG_MAP, {"metadata": {"name": "a" * 254}}, ["metadata.name"]),
        (CONFIG_MAP, {"metadata": {"name": "a..b"}}, ["metadata.name"]),
        (CONFIG_MAP, {"metadata": {"name": "a", "namespace": "a.b"}}, ["metadata.namespace"]),
        (CONFIG_MAP, {"metadata": {"name": "a"}, "data": {"n": 1}}, ["data.n"]),
        (ObjectKind("v1", "Namespace"), {"metadata": {"name": "a" * 64}}, ["metadata.name"]),
        (ObjectKind("rbac.authorization.k8s.io/v1", "ClusterRole"), {"metadata": {"name": "system:A_b"}}, []),
        (ObjectKind("rbac.authorization.k8s.io/v1", "Role"), {"metadata": {"name": "a/b"}}, ["metadata.name"]),
        (
            DEPLOYMENT,
            {
                "metadata": {"name": "a", "annotations": {"pulumi.com/skipAwait": "true", "n": 1}},
                "spec": {
                    "selector": {"matchLabels": {"app": "-x"}},
                    "template": {
                        "metadata": {"labels": {"app": True, "/x": "y", "a" * 64: "b"}},
                        "spec": {"nodeSelector": {"node.kubernetes.io/instance-type": "BM GPU"}},
                    },
                },
            },
            [
                "metadata.annotations.n",
                "spec.selector.matchLabels.app",
                "spec.template.metadata.labels.app",
                "spec.template.metadata.labels./x",
                f"spec.template.metadata.labels.{'a' * 64}",
                'spec.template.spec.nodeSelector["node.kubernetes.io/instance-type"]',
            ],
        ),
        (
            ObjectKind("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
            {"metadata": {"name": "a"}, "spec": {"schema": {"properties": {"matchLabels": {"type": {}}}}}},
            [],
        ),
        (
            ObjectKind("resource.k8s.io/v1", "ResourceSlice"),
            {"metadata": {"name": "a"}, "spec": {"nodeSelector": {"nodeSelectorTerms": []}}},
            [],
        ),
    ],
)
def test_what_no_api_server_would_take(kind: ObjectKind, document: dict[str, Any], wanted: list[str]) -> None:
    assert [render(failure.path) for failure in problems(kind, document)] == wanted
