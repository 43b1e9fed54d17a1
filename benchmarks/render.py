"""Rendering on one core. Aims: 1,000 services as text in 3 s, growing no faster than the services.

The stacks are those of the planning benchmark, each planned once; timed is what `ome-iac render` does with the plan:
the objects of all services, and their text. Each size is rendered three times; the fastest counts.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from benchmarks.plan import OME, SERVICES, Row, _growth, _models, _stack
from benchmarks.report import Aim, Report
from ome_iac.cli.render import KUSTOMIZATION, object_files
from ome_iac.planning.plan import Plan
from ome_iac.planning.planner import plan_stack

SECONDS = 3.0
GROWTH = 1.5
"""Seconds of a service more from 500 to 1,000 over those from 250 to 500: 1 is linear, the rest is noise."""
TIMES = 3


def run(quick: bool = False) -> Report:
    """CPU seconds to render; `quick` renders the smallest stack only, and can tell no growth."""
    if not OME.is_dir():
        sys.exit("../shared/data is absent: there are no models to serve")
    rows = _rendered(SERVICES[:1] if quick else SERVICES)
    aims = [
        Aim(f"CPU s, {rows[-1]['services']} services", float(rows[-1]["CPU s"]), SECONDS),
        *([] if quick else [Aim("growth of a service more", _growth(rows), GROWTH)]),
    ]
    return Report("rendering", rows, aims)


def _rendered(sizes: Sequence[int]) -> list[Row]:
    facts = _models()
    rows: list[Row] = []
    for size in sizes:
        plan, problems = plan_stack(_stack(size, facts), facts)
        if plan is None:
            sys.exit("\n".join(["the benchmark's stack does not plan:", *map(str, problems[:5])]))
        rows.append(min((_once(plan) for _ in range(TIMES)), key=lambda row: float(row["CPU s"])))
    return rows


def _once(plan: Plan) -> Row:
    start = time.process_time()
    files = object_files(plan)
    seconds = time.process_time() - start
    return {
        "services": len(plan.services),
        "files": len(files),
        "objects": sum(f"\n{text}".count("\n---\n") for path, text in files.items() if path != KUSTOMIZATION),
        "MB": sum(map(len, files.values())) / 1e6,
        "CPU s": seconds,
        "ms each": 1000 * seconds / len(plan.services),
    }
