"""`pulumi preview` of N services beside a bare program that registers the same resources. Aim: ratio <= 1.25.

All programs run through the same engine, host and rehearsal providers, in turn. The bare program is what a person would
write: the SDK's own classes, one call a resource. It reads the resources from a JSON list: no document is parsed, no
model read, nothing planned. `raw` is the least that could register them at all: type tokens and dicts, as our
components do, without importing any of the SDK's classes. The aim holds against both.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from benchmarks.report import Aim, Report
from ome_iac.rehearsal.engine import ensure_engine
from ome_iac.rehearsal.session import Rehearsal

ROOT = Path(__file__).parent.parent
SIZES = {10: 7, 100: 3, 1000: 1}
AIM = 1.25

BARE = """
import json
import re

import pulumi
import pulumi_kubernetes as kubernetes

CLASSES = {
    "kubernetes:core/v1:ServiceAccount": lambda: kubernetes.core.v1.ServiceAccount,
    "kubernetes:core/v1:Service": lambda: kubernetes.core.v1.Service,
    "kubernetes:apps/v1:Deployment": lambda: kubernetes.apps.v1.Deployment,
    "kubernetes:policy/v1:PodDisruptionBudget": lambda: kubernetes.policy.v1.PodDisruptionBudget,
}
made = {}
provider = kubernetes.Provider("cluster", context="bench", cluster_identifier="bench")
for row in json.load(open("resources.json")):
    parent, props = made.get(row["parent"]), row["props"]
    if row["component"]:
        opts = pulumi.ResourceOptions(depends_on=[made[name] for name in row["after"]])
        made[row["name"]] = pulumi.ComponentResource(row["type"], row["name"], props, opts)
        made[row["name"]].register_outputs({})
    else:
        opts = pulumi.ResourceOptions(parent=parent, provider=provider)
        arguments = {re.sub("([A-Z])", r"_\\1", key).lower(): value for key, value in props.items()}
        made[row["name"]] = CLASSES[row["type"]]()(row["name"], opts=opts, **arguments)
"""

RAW = """
import json
from importlib import metadata

import pulumi
import pulumi_kubernetes as kubernetes

made = {}
version = metadata.version("pulumi-kubernetes")
provider = kubernetes.Provider("cluster", context="bench", cluster_identifier="bench")
for row in json.load(open("resources.json")):
    parent = made.get(row["parent"])
    if row["component"]:
        opts = pulumi.ResourceOptions(depends_on=[made[name] for name in row["after"]])
        made[row["name"]] = pulumi.ComponentResource(row["type"], row["name"], row["props"], opts)
        made[row["name"]].register_outputs({})
    else:
        opts = pulumi.ResourceOptions(parent=parent, provider=provider, version=version)
        made[row["name"]] = pulumi.CustomResource(row["type"], row["name"], row["props"], opts)
"""


def run(quick: bool = False) -> Report:
    """Previews of growing stacks; medians of the wall time of the whole `pulumi preview`."""
    engine = ensure_engine()
    rows: list[dict[str, float | int | str]] = []
    aims: list[Aim] = []
    for services, rounds in SIZES.items():
        if quick and services > 100:
            continue
        with tempfile.TemporaryDirectory() as folder, Rehearsal(Path(folder), engine=engine) as session:
            projects = {name: Path(folder) / name for name in ("ours", "bare", "raw")}
            resources = _make_projects(session, projects, services)
            seconds: dict[str, list[float]] = {name: [] for name in projects}
            for _ in range(rounds):
                for name, project in projects.items():
                    seconds[name].append(_preview(session, project))
        taken = {name: statistics.median(values) for name, values in seconds.items()}
        ratio = taken["ours"] / taken["bare"]
        rows.append(
            {
                "services": services,
                "resources": resources,
                "ours s": taken["ours"],
                "bare s": taken["bare"],
                "raw s": taken["raw"],
                "ratio": ratio,
                "to raw": taken["ours"] / taken["raw"],
                "ms per resource": 1000 * taken["ours"] / resources,
            }
        )
        aims.append(Aim(f"ratio at {services} services", ratio, AIM))
        aims.append(Aim(f"ratio to the least possible at {services} services", taken["ours"] / taken["raw"], AIM))
    return Report("pulumi preview", rows, aims)


def _preview(session: Rehearsal, project: Path) -> float:
    """Seconds of one preview of everything."""
    start = time.perf_counter()
    _pulumi(session, project, "preview", "--suppress-progress")
    return time.perf_counter() - start


def _pulumi(session: Rehearsal, project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["pulumi", *arguments, "--stack", "bench", "--non-interactive"],
        cwd=project,
        env={**os.environ, **session.environment()},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"pulumi {' '.join(arguments)} of {project.name} failed:\n{done.stdout}\n{done.stderr}")
    return done


def _make_projects(session: Rehearsal, projects: dict[str, Path], services: int) -> int:
    """Write all projects and their stacks; returns how many resources each registers."""
    settings = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())
    settings["runtime"]["options"]["virtualenv"] = sys.prefix
    ours = projects["ours"]
    (ours / "stacks" / "bench").mkdir(parents=True)
    (ours / "Pulumi.yaml").write_text(yaml.safe_dump(settings))
    shutil.copy(ROOT / "stacks" / "__main__.py", ours / "stacks")
    (ours / "stacks" / "Pulumi.bench.yaml").write_text("config:\n  ome-iac:context: bench\n")
    (ours / "stacks" / "bench" / "stack.yaml").write_text(yaml.safe_dump_all(_documents(services)))
    shutil.copy(ROOT / "stacks" / "quickstart" / "ome.lock", ours / "stacks" / "bench")
    _pulumi(session, ours, "stack", "init")
    resources = _registered(session, ours)
    for name, program in (("bare", BARE), ("raw", RAW)):
        projects[name].mkdir()
        (projects[name] / "Pulumi.yaml").write_text(yaml.safe_dump({"name": name, "runtime": settings["runtime"]}))
        (projects[name] / "__main__.py").write_text(program)
        (projects[name] / "resources.json").write_text(json.dumps(resources))
        _pulumi(session, projects[name], "stack", "init")
    return len(resources)


def _registered(session: Rehearsal, project: Path) -> list[dict[str, Any]]:
    """What our program registers, as the engine saw it, in an order in which everything comes after what it needs."""
    steps = json.loads(_pulumi(session, project, "preview", "--json").stdout)["steps"]
    states = [step["newState"] for step in steps]
    return [
        {
            "type": state["type"],
            "name": _name(state["urn"]),
            "parent": _name(state.get("parent", "")),
            "component": not state["custom"],
            "after": sorted(_name(urn) for urn in state.get("dependencies", [])),
            "props": state.get("inputs", {}),
        }
        for state in states
        if not state["type"].startswith("pulumi:")
    ]


def _name(urn: str) -> str:
    return urn.rpartition("::")[2]


def _documents(services: int) -> list[dict[str, Any]]:
    uri = "hf://meta-llama/Llama-3.1-8B-Instruct"
    return [
        {
            "apiVersion": "ome-iac/v1",
            "kind": "NodePool",
            "metadata": {"name": "h100"},
            "spec": {"mode": "existing", "shape": "BM.GPU.H100.8", "nodes": -(-services // 8)},
        },
        {
            "apiVersion": "ome.io/v1beta1",
            "kind": "ClusterBaseModel",
            "metadata": {"name": "llama"},
            "spec": {"storage": {"storageUri": uri}},
        },
        *(
            {
                "apiVersion": "ome.io/v1beta1",
                "kind": "InferenceService",
                "metadata": {"name": f"chat-{index}"},
                "spec": {"model": {"name": "llama"}, "intent": {"contextLength": 4096 + index % 7 * 1024}},
            }
            for index in range(services)
        ),
    ]
