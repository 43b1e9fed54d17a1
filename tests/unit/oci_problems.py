"""What is wrong with a stack's documents, from reading them to planning what they make in OCI."""

from __future__ import annotations

from ome_iac.planning.oci.planner import plan_oci
from ome_iac.problems import Problem, ProblemsError
from tests.engine.oci_stack import stack_of


def problems_of(text: str) -> list[Problem]:
    """All of it, sorted; a plan beside problems would be a bug."""
    stack, problems = stack_of(text)
    if problems:
        return list(ProblemsError(problems).problems)
    plan = plan_oci(stack, problems)
    assert (plan is None) == bool(problems)
    return list(ProblemsError(problems).problems)
