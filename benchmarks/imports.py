"""`import ome_iac` beside a bare interpreter, in processes of their own. Aim: 0.15 s more at most."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from benchmarks.report import Aim, Report

RUNS = 9


def run(quick: bool = False) -> Report:
    """Median of several starts, taken in turn."""
    programs = {
        "bare": "pass",
        "ome_iac": "import ome_iac",
        "planner": "import ome_iac.project",
    }
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(3 if quick else RUNS):
        for name, code in programs.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    rows: list[dict[str, float | int | str]] = [
        {"import": name, "seconds": median, "over bare": median - medians["bare"]} for name, median in medians.items()
    ]
    return Report("imports", rows, [Aim("import ome_iac, over bare, s", medians["ome_iac"] - medians["bare"], 0.15)])
