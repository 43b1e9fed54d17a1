"""`ome-iac up|diff|destroy|outputs|rehearse`: Pulumi's own commands on the project's own program."""

from __future__ import annotations

import json as json_text
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from ome_iac.cli.options import Faults, Json, OnCluster, Quiet, Rehearse, Stack, Yes
from ome_iac.hardware import shapes
from ome_iac.hardware.cpu_shapes import cpu_shapes
from ome_iac.planning.oci.plan import NodePoolPlan
from ome_iac.planning.plan import Plan, PoolPlan
from ome_iac.problems import Problem, ProblemsError
from ome_iac.project import Project, plan_project
from ome_iac.rehearsal.attached import run_attached
from ome_iac.report.terminal import print_plan

if TYPE_CHECKING:
    from ome_iac.rehearsal.control_plane import ControlPlane


@dataclass(frozen=True)
class Place:
    """Where a stack is deployed to."""

    rehearse: bool
    cluster: bool
    faults: Path | None = None


def up(
    stack: Stack,
    rehearse: Rehearse = False,
    cluster: OnCluster = False,
    json: Json = False,
    quiet: Quiet = False,
    yes: Yes = False,
    faults: Faults = None,
) -> None:
    """Make it so: create and update what the plan says."""
    project = Project.find()
    plan = plan_project(project, project.settings(stack))
    if not (json or quiet):
        print_plan(Console(), plan)
        typer.echo()
    arguments = ["up", *(["--yes", "--skip-preview"] if rehearse or yes or json else [])]
    _operate(project, stack, arguments, Place(rehearse, cluster, faults), json, plan)


def diff(stack: Stack, rehearse: Rehearse = False, cluster: OnCluster = False, json: Json = False) -> None:
    """What `up` would change, property by property."""
    project = Project.find()
    plan = plan_project(project, project.settings(stack))
    _operate(project, stack, ["preview", *([] if json else ["--diff"])], Place(rehearse, cluster), json, plan)


def destroy(
    stack: Stack,
    rehearse: Rehearse = False,
    cluster: OnCluster = False,
    json: Json = False,
    yes: Yes = False,
) -> None:
    """Remove everything the stack made."""
    project = Project.find()
    project.settings(stack)
    arguments = ["destroy", *(["--yes", "--skip-preview"] if rehearse or yes or json else [])]
    _operate(project, stack, arguments, Place(rehearse, cluster), json, None)


def outputs(stack: Stack, rehearse: Rehearse = False, cluster: OnCluster = False, json: Json = False) -> None:
    """The deployed stack's outputs: where the services answer, what it costs."""
    project = Project.find()
    project.settings(stack)
    with _environment(project, stack, Place(rehearse, cluster), None) as environment:
        found = _outputs(project, stack, environment)
    if json:
        typer.echo(json_text.dumps(found, indent=2))
        return
    for name, value in found.items():
        if isinstance(value, dict):
            typer.echo(name)
            for key, item in value.items():
                typer.echo(f"  {key}  {item}")
        else:
            typer.echo(f"{name}  {value}")


def rehearse(context: typer.Context, cluster: OnCluster = False, faults: Faults = None) -> None:
    """Run any command with the rehearsal attached: `ome-iac rehearse -- pulumi preview -s quickstart`."""
    if not context.args:
        raise typer.BadParameter("give the command to run after --")
    project = Project.find()
    command = list(context.args)
    stack = _named_stack(command)
    plan = plan_project(project, project.settings(stack)) if cluster and stack else None
    with _environment(project, stack, Place(True, cluster, faults), plan) as environment:
        raise typer.Exit(run_attached(command, environment))


def _operate(project: Project, stack: str, arguments: list[str], place: Place, json: bool, plan: Plan | None) -> None:
    """Run one Pulumi operation, text passed through or summed up as JSON; leaves with Pulumi's exit code."""
    command = ["pulumi", *arguments, "--stack", stack]
    with _environment(project, stack, place, plan) as environment:
        code = (
            _summed_up(project, stack, command, environment, plan)
            if json
            else run_attached(command, environment, project.root)
        )
    if code:
        raise typer.Exit(code)


def _summed_up(
    project: Project, stack: str, command: list[str], environment: Mapping[str, str], plan: Plan | None
) -> int:
    with tempfile.TemporaryDirectory() as folder:
        events = Path(folder) / "events.jsonl"
        # Pulumi offers its event log only with its debugging commands switched on.
        variables = {**environment, "PULUMI_DEBUG_COMMANDS": "true"}
        done = subprocess.run(
            [*command, "--event-log", str(events)], cwd=project.root, env=variables, capture_output=True, text=True
        )
        summary: dict[str, Any] = {
            "succeeded": done.returncode == 0,
            "changes": _changes(events),
            "diagnostics": _diagnostics(events) or ([done.stderr.strip()] if done.returncode else []),
            "outputs": _outputs(project, stack, environment),
            "plan": plan.model_dump(by_alias=True, mode="json") if plan else None,
        }
    typer.echo(json_text.dumps(summary, indent=2))
    return done.returncode


@contextmanager
def _environment(project: Project, stack: str | None, place: Place, plan: Plan | None) -> Iterator[Mapping[str, str]]:
    """The environment in which `pulumi` is the right engine and, in a rehearsal, the stack exists, the providers are
    ours and the stack's settings a copy."""
    from ome_iac.rehearsal.engine import ensure_engine

    if place.cluster and not place.rehearse:
        raise ProblemsError([Problem("--cluster", "", "is for rehearsals", "add --rehearse")])
    engine = ensure_engine()
    if not place.rehearse:
        yield {**os.environ, "PATH": f"{engine.pulumi.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
        return
    from ome_iac.rehearsal.session import Rehearsal
    from ome_iac.rehearsal.stacks import prepare_stack

    with _local_cluster(stack, plan) if place.cluster else nullcontext() as plane:
        kubeconfig = plane.kubeconfig if plane else None
        with Rehearsal(project.root / ".rehearsal", kubeconfig, engine=engine, faults=place.faults) as session:
            attached = session.environment()
            if stack:
                settings = project.settings_file(stack)
                copy = prepare_stack(session.folder, project.name, stack, settings, attached)
                attached["PULUMI_OPTION_CONFIG_FILE"] = str(copy)
            yield {**os.environ, **attached}


@contextmanager
def _local_cluster(stack: str | None, plan: Plan | None) -> Iterator[ControlPlane]:
    """The local control plane with nodes like the plan's pools; one that was started for this is stopped after."""
    from ome_iac.rehearsal.control_plane import ControlPlane

    plane = ControlPlane()
    ran_before = plane.status().running
    plane.start()
    try:
        plane.add_nodes(node for pool in (plan.pools if plan else ()) for node in _nodes(f"{stack}-{pool.name}", pool))
        plane.add_nodes(
            node
            for pool in (plan.oci.pools if plan else ())
            if pool.shape in cpu_shapes()
            for node in _cpu_nodes(f"{stack}-{pool.name}", pool)
        )
        yield plane
    finally:
        if not ran_before:
            plane.stop()


def _nodes(name: str, pool: PoolPlan) -> list[dict[str, Any]]:
    """The pool's nodes, for kwok to play."""
    from ome_iac.rehearsal.nodes import make_oke_nodes

    return make_oke_nodes(name, shapes()[pool.shape], pool.nodes, labels=pool.labels)


def _cpu_nodes(name: str, pool: NodePoolPlan) -> list[dict[str, Any]]:
    """The nodes of a pool without GPUs."""
    from ome_iac.rehearsal.nodes import make_nodes

    return make_nodes(
        name,
        shape=pool.shape,
        count=pool.nodes,
        cpu=2 * (pool.ocpus or 1),
        memory_gib=(pool.memory_gb or 1) * 10**9 / 2**30,
        labels=pool.labels,
        ephemeral_storage_gib=pool.boot_volume_gb * 10**9 / 2**30,
        max_pods=pool.max_pods,
    )


def _outputs(project: Project, stack: str, environment: Mapping[str, str]) -> dict[str, Any]:
    command = ["pulumi", "stack", "output", "--json", "--stack", stack]
    done = subprocess.run(command, cwd=project.root, env=environment, capture_output=True, text=True)
    loaded: dict[str, Any] = json_text.loads(done.stdout) if done.returncode == 0 else {}
    return loaded


def _changes(events: Path) -> dict[str, int]:
    """How many resources each operation touched, from the engine's own summary."""
    return next((event["summaryEvent"]["resourceChanges"] for event in _events(events) if "summaryEvent" in event), {})


def _diagnostics(events: Path) -> list[str]:
    messages = (event["diagnosticEvent"] for event in _events(events) if "diagnosticEvent" in event)
    return [message["message"].strip() for message in messages if message.get("severity") in ("error", "warning")]


def _events(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        for line in path.read_text().splitlines():
            yield json_text.loads(line)


def _named_stack(command: list[str]) -> str | None:
    """The stack that a Pulumi command line names with -s or --stack."""
    for flag, value in zip(command, [*command[1:], ""], strict=True):
        if flag in ("-s", "--stack"):
            return value
        if flag.startswith("--stack="):
            return flag.partition("=")[2]
    return None
