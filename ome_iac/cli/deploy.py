"""`ome-iac up|diff|destroy|outputs|rehearse`: Pulumi's own commands on the project's own program."""

from __future__ import annotations

import json as json_text
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ome_iac.cli.options import Json, OnCluster, Rehearse, Stack
from ome_iac.hardware import shapes
from ome_iac.planning.plan import Plan
from ome_iac.problems import Problem, ProblemsError
from ome_iac.project import Project, plan_project
from ome_iac.report.terminal import print_plan

if TYPE_CHECKING:
    from ome_iac.rehearsal.control_plane import ControlPlane

GB_TO_GIB = 10**9 / 2**30


def up(
    stack: Stack,
    rehearse: Rehearse = False,
    cluster: OnCluster = False,
    json: Json = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; a rehearsal never does.")] = False,
) -> None:
    """Make it so: create and update what the plan says."""
    project = Project.find()
    plan = plan_project(project, project.settings(stack))
    if not json:
        print_plan(Console(), plan)
        typer.echo()
    arguments = ["up", *(["--yes", "--skip-preview"] if rehearse or yes or json else [])]
    _operate(project, stack, arguments, rehearse, cluster, json, plan)


def diff(stack: Stack, rehearse: Rehearse = False, cluster: OnCluster = False, json: Json = False) -> None:
    """What `up` would change, property by property."""
    project = Project.find()
    plan = plan_project(project, project.settings(stack))
    _operate(project, stack, ["preview", *([] if json else ["--diff"])], rehearse, cluster, json, plan)


def destroy(
    stack: Stack,
    rehearse: Rehearse = False,
    cluster: OnCluster = False,
    json: Json = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; a rehearsal never does.")] = False,
) -> None:
    """Remove everything the stack made."""
    project = Project.find()
    project.settings(stack)
    arguments = ["destroy", *(["--yes", "--skip-preview"] if rehearse or yes or json else [])]
    _operate(project, stack, arguments, rehearse, cluster, json, None)


def outputs(stack: Stack, rehearse: Rehearse = False, cluster: OnCluster = False, json: Json = False) -> None:
    """The deployed stack's outputs: where the services answer, what it costs."""
    project = Project.find()
    project.settings(stack)
    with _environment(project, stack, rehearse, cluster, None) as environment:
        _ensure_stack(project, stack, environment)
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


def rehearse(context: typer.Context, cluster: OnCluster = False) -> None:
    """Run any command with the rehearsal attached: `ome-iac rehearse -- pulumi preview -s quickstart`."""
    if not context.args:
        raise typer.BadParameter("give the command to run after --")
    project = Project.find()
    command = list(context.args)
    stack = _named_stack(command)
    plan = plan_project(project, project.settings(stack)) if cluster and stack else None
    with _environment(project, stack, True, cluster, plan) as environment:
        try:
            raise typer.Exit(subprocess.run(command, env=environment).returncode)
        except FileNotFoundError:
            raise ProblemsError([Problem("rehearse", "", f"there is no command {command[0]}", "")]) from None


def _operate(
    project: Project, stack: str, arguments: list[str], rehearse: bool, cluster: bool, json: bool, plan: Plan | None
) -> None:
    """Run one Pulumi operation, text passed through or summed up as JSON; leaves with Pulumi's exit code."""
    with _environment(project, stack, rehearse, cluster, plan) as environment, tempfile.TemporaryDirectory() as folder:
        _ensure_stack(project, stack, environment)
        events = Path(folder) / "events.jsonl"
        command = ["pulumi", *arguments, "--stack", stack, *(["--event-log", str(events)] if json else [])]
        done = subprocess.run(command, cwd=project.root, env=environment, capture_output=json, text=True)
        if json:
            summary: dict[str, Any] = {
                "succeeded": done.returncode == 0,
                "changes": _changes(events),
                "diagnostics": _diagnostics(events),
                "outputs": _outputs(project, stack, environment),
                "plan": plan.model_dump(by_alias=True, mode="json") if plan else None,
            }
            typer.echo(json_text.dumps(summary, indent=2))
    if done.returncode:
        raise typer.Exit(done.returncode)


@contextmanager
def _environment(
    project: Project, stack: str | None, rehearse: bool, cluster: bool, plan: Plan | None
) -> Iterator[Mapping[str, str]]:
    """The environment in which `pulumi` is the right engine and, in a rehearsal, the providers are ours."""
    from ome_iac.rehearsal.engine import ensure_engine

    if cluster and not rehearse:
        raise ProblemsError([Problem("--cluster", "", "is for rehearsals", "add --rehearse")])
    engine = ensure_engine()
    if not rehearse:
        yield {**os.environ, "PATH": f"{engine.pulumi.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
        return
    from ome_iac.rehearsal.session import Rehearsal

    with _local_cluster(plan) if cluster else _no_cluster() as plane:
        kubeconfig = plane.kubeconfig if plane else None
        with Rehearsal(project.root, engine=engine, cluster_kubeconfig=kubeconfig) as session:
            yield session.environment(stack)


@contextmanager
def _no_cluster() -> Iterator[None]:
    yield None


@contextmanager
def _local_cluster(plan: Plan | None) -> Iterator[ControlPlane]:
    """The local control plane with nodes like the plan's pools; one that was started for this is stopped after."""
    from ome_iac.rehearsal.control_plane import ControlPlane
    from ome_iac.rehearsal.nodes import make_nodes

    plane = ControlPlane()
    ran_before = plane.status().running
    plane.start()
    try:
        for pool in plan.pools if plan else ():
            shape = shapes()[pool.shape]
            plane.add_nodes(
                make_nodes(
                    pool.name,
                    shape=pool.shape,
                    count=pool.nodes,
                    cpu=shape.ocpus * 2,
                    memory_gib=shape.memory_gb * GB_TO_GIB,
                    gpus=shape.gpus,
                    extra_resources={"nvidia.com/rdma-vf": shape.rdma.virtual_functions} if shape.rdma else None,
                    labels=pool.labels,
                    ephemeral_storage_gib=(shape.nvme.drives * shape.nvme.bytes or 200 * 10**9) / 2**30,
                )
            )
        yield plane
    finally:
        if not ran_before:
            plane.stop()


def _ensure_stack(project: Project, stack: str, environment: Mapping[str, str]) -> None:
    """Make the stack in the backend where it is not there yet."""
    command = ["pulumi", "stack", "select", "--create", "--stack", stack, "--non-interactive"]
    done = subprocess.run(command, cwd=project.root, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise ProblemsError([Problem(f"pulumi stack select {stack}", "", done.stderr.strip() or done.stdout.strip())])


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
