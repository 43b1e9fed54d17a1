"""Services as the planner decides them, for the routers before them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ome_iac.planning.plan import Plan, ServicePlan
from ome_iac.planning.planner import plan_stack
from tests.unit.facts import decoder, llama_70b, model, pool, service, stack

SMALL, LARGE = "hf://example/small", "hf://example/large"
FACTS = {SMALL: decoder(SMALL), LARGE: llama_70b(LARGE)}
MODELS = (model("small", SMALL), model("large", LARGE))


def planned(folder: Path, *documents: dict[str, Any]) -> Plan:
    plan, problems = plan_stack(stack(folder, *MODELS, *documents), FACTS)
    assert plan is not None, problems
    return plan


def one(folder: Path, name: str = "chat", nodes: int = 1, **spec: Any) -> ServicePlan:
    """The service of one document on H100 nodes."""
    [decided] = planned(folder, pool("h100", "BM.GPU.H100.8", nodes), service(name, "small", **spec)).services
    return decided
