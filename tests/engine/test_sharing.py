"""A stack that reserves, dedicates and shares out, on the real engine: from nothing to nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from components import deploy
from ome_iac.planning.planner import plan_stack
from ome_iac.rehearsal.engine import Engine
from ome_iac.rehearsal.providers.oci_records import Records
from tests.engine.harness import deployment, files
from tests.engine.oci_stack import PRODUCTION
from tests.unit.facts import stack
from tests.unit.test_dedicated import FACTS, MODELS, dedicated, hosting
from tests.unit.test_reservations import chat, oci, reservation, tenant

pytestmark = pytest.mark.engine

QUEUE = "kueue.x-k8s.io/queue-name"


def documents() -> list[dict[str, Any]]:
    cluster, system, h100 = yaml.safe_load_all(PRODUCTION.strip().strip("-"))
    cluster["spec"]["create"]["homeRegion"] = "us-phoenix-1"
    h100["spec"]["nodes"] = 2
    own = {**h100, "metadata": {"name": "own"}, "spec": {**h100["spec"], "nodes": 1, "tenant": "lab"}}
    domain = h100["spec"]["availabilityDomain"]
    kept = {**oci(3), "availabilityDomain": domain, "protect": False}
    return [
        cluster,
        system,
        h100,
        own,
        *MODELS,
        reservation("kept", ["h100"], oci=kept),
        tenant(
            "blue",
            "blue",
            quota={"h100": 8},
            people={"viewer": ["ocid1.group.oc1..readers"]},
            compartment={"parentId": "ocid1.compartment.oc1..production"},
        ),
        dedicated("lab", backend="cluster", pool="own", namespace="lab"),
        hosting("served", "small"),
        chat("chat", "blue"),
        chat("notes", "lab"),
    ]


def program(folder: Path) -> Callable[[], None]:
    plan, problems = plan_stack(stack(folder, *documents()), FACTS)
    assert plan, problems

    def build() -> None:
        deploy(plan)

    return build


def test_what_is_shared_out_comes_and_goes(tmp_path: Path, engine: Engine) -> None:
    build = program(tmp_path / "documents")
    with deployment(tmp_path, engine) as made:
        planned = made.preview(build)
        assert set(planned.changes) == {"create"}
        assert planned.diagnostics == []
        assert made.up(build).changes == planned.changes

        records = {record.urn.rpartition("::")[2]: record for record in Records(made.rehearsal.oci_folder)}
        [domain] = records["h100-nodes"].inputs["nodeConfigDetails"]["placementConfigs"]
        assert domain["capacityReservationId"] == records["kept-capacity"].id
        labels = {each["key"]: each["value"] for each in records["own-nodes"].inputs["initialNodeLabels"]}
        assert labels["ome-iac/dedicated"] == "lab"
        [statement] = records["blue-cluster-policy"].inputs["statements"]
        assert records["production-oke"].id in statement
        assert records["served-endpoint"].inputs["dedicatedAiClusterId"] == records["served-units"].id

        held = files(made.rehearsal.kubernetes_folder)
        objects = [yaml.safe_load((made.rehearsal.kubernetes_folder / name).read_text()) for name in held]
        queued = {
            item["metadata"]["namespace"]: item["metadata"]["labels"][QUEUE]
            for item in objects
            if item["kind"] == "Deployment"
        }
        assert queued == {"blue": "blue", "lab": "lab"}
        assert {item["metadata"]["name"] for item in objects if item["kind"] == "Namespace"} == {"blue", "lab"}
        assert {item["metadata"]["name"] for item in objects if item["kind"] == "ClusterQueue"} == {
            "blue",
            "kept",
            "lab",
        }
        fenced = {item["metadata"]["namespace"] for item in objects if item["kind"] == "NetworkPolicy"}
        assert fenced == {"blue"}

        assert set(made.up(build).changes) == {"same"}
        made.refresh(expect_no_changes=True)
        made.destroy()
        assert files(made.rehearsal.kubernetes_folder) == []
        assert files(made.rehearsal.oci_folder) == []
