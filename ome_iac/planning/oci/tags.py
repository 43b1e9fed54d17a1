"""Freeform tags that every OCI resource of a stack carries: what bills and people sort by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ome_iac.planning.oci.plan import Tags
from ome_iac.problems import Problem
from ome_iac.spec.infrastructure import Cluster

STACK, COST_CENTRE, TENANT, SERVICES = "ome-iac-stack", "ome-iac-cost-centre", "ome-iac-tenant", "ome-iac-services"
LONGEST_KEY, LONGEST_VALUE = 100, 256
MOST = 10
"""OCI's limits of a resource's freeform tags: characters of a key, of a value, and how many there may be."""


def stack_tags(stack: str, cluster: Cluster) -> Tags:
    """What every resource carries, sorted by key."""
    own = {STACK: stack, COST_CENTRE: cluster.spec.tags.cost_centre}
    return dict(sorted({**cluster.spec.tags.freeform, **{key: value for key, value in own.items() if value}}.items()))


def pool_tags(common: Tags, tenant: str | None, services: Sequence[str]) -> Tags:
    """A pool's: whose it is, and which services run there, as many names as a tag holds."""
    own = {TENANT: tenant or "", SERVICES: _listed(sorted(services))}
    return dict(sorted({**common, **{key: value for key, value in own.items() if value}}.items()))


def tag_problems(cluster: Cluster) -> Iterable[Problem]:
    """Tags that OCI would refuse, once for all resources."""
    tags = cluster.spec.tags.freeform
    for key, value in tags.items():
        path = f"spec.tags.freeform.{key}"
        if not 1 <= len(key) <= LONGEST_KEY or any(sign in key for sign in ". \t\n"):
            yield cluster.problem(path, "is no tag key", f"1 to {LONGEST_KEY} characters, neither dot nor space")
        if len(value) > LONGEST_VALUE:
            yield cluster.problem(path, f"has {len(value)} characters", f"{LONGEST_VALUE} at most")
        if key in (STACK, COST_CENTRE, TENANT, SERVICES):
            yield cluster.problem(path, "is set by ome-iac itself", "choose another key")
    most = MOST - 4
    if len(tags) > most:
        yield cluster.problem(
            "spec.tags.freeform", f"{len(tags)} tags", f"{most} at most: OCI takes {MOST}, 4 are ours"
        )


def _listed(names: Sequence[str]) -> str:
    text = " ".join(names)
    kept = list(names)
    while len(text) > LONGEST_VALUE:
        kept.pop()
        text = " ".join([*kept, f"+{len(names) - len(kept)}"])
    return text
