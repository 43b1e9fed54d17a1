"""What a person reads of scaling, routers, routes and splits: the serving gallery's plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from ome_iac.planning.plan import Plan
from ome_iac.project import Project, plan_project
from ome_iac.report.terminal import plan_lines

ROOT = Path(__file__).parents[2]
AROUND = ("scales", "router", "route")


@pytest.fixture(scope="module")
def gallery() -> Plan:
    project = Project(ROOT)
    return plan_project(project, project.settings("serving-gallery"))


def lines_of(plan: Plan, service: str) -> dict[str, str]:
    """The rows around one service's replicas, by label."""
    text = "\n".join(plan_lines(plan))
    [block] = [block for block in text.split("\n\n") if block.startswith(f"[bold]gallery/{service}[/]")]
    rows = (line.removeprefix("  [dim]").split("[/]", 1) for line in block.splitlines()[1:])
    return {label.strip(): shown for label, shown in rows if label.strip() in (*AROUND, "at", "to")}


def test_each_service_says_who_scales_it_and_how_it_is_reached(gallery: Plan) -> None:
    way_in = "batch.gallery.example.com through gateway gateway-system/inference"
    assert lines_of(gallery, "batch") == {
        "scales": "1 to 2 replicas by KEDA: one replica for 24 requests running or waiting",
        "route": way_in,
    }
    assert lines_of(gallery, "vision") == {"scales": "0 to 1 replicas by Knative: one replica for 6 requests at once"}
    assert lines_of(gallery, "chat-small")["router"] == "sglang-router, cache_aware"
    assert lines_of(gallery, "assistant")["router"].startswith("endpoint-picker, approximate: prefix 3")
    assert "router" not in lines_of(gallery, "thinker")


def test_splits_services_elsewhere_and_controllers_come_last(gallery: Plan) -> None:
    assert lines_of(gallery, "chat-large-ashburn")["at"] == "https://chat-large.us-ashburn-1.example.com:443"
    assert lines_of(gallery, "llama")["to"] == "90% chat-large, 10% chat-large-ashburn"
    assert list(plan_lines(gallery))[-1].startswith("[bold]in the cluster[/]   gateway-api, inference-extension, keda")


def test_the_gallery_uses_no_node_that_it_does_not_need(gallery: Plan) -> None:
    """Each pool holds what is planned on it, with less than a node to spare."""
    assert {pool.name: (pool.gpus_used, pool.gpus) for pool in gallery.pools} == {
        "a10": (4, 4),
        "h100": (6, 8),
        "h100-rdma": (16, 16),
        "h200": (8, 8),
    }
