"""`ome-iac cluster`: the local Kubernetes control plane of this project."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ome_iac.problems import Problem, ProblemsError

if TYPE_CHECKING:
    from ome_iac.rehearsal.control_plane import Status

app = typer.Typer(
    no_args_is_help=True,
    help="A Kubernetes control plane on this machine: real API server, controllers and scheduler; played nodes.",
)

AsJson = Annotated[bool, typer.Option("--json", help="Print the state as JSON.")]


@app.command()
def start(
    crds: Annotated[
        list[Path] | None,
        typer.Option(help="A YAML file, or a folder of them, with CustomResourceDefinitions to add. May be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start it, and build its programs before that (minutes, once). It runs until it is stopped.

    It knows the kinds of LeaderWorkerSet, JobSet, Gateway API, Inference Extension, KEDA, Knative Serving, Kubeflow
    Trainer, Prometheus operator, Istio and cert-manager; the controllers of the first two run, too.
    """
    from ome_iac.rehearsal.control_plane import ControlPlane
    from ome_iac.rehearsal.crds import read_definitions

    more = [definition for path in crds or () for definition in read_definitions(path)]
    plane = ControlPlane()
    ran = plane.status().running
    status = plane.start()
    if more:
        plane.add_crds(more)
    if as_json:
        _print_json(status)
    else:
        typer.echo(f"{'already running' if ran else 'started'} at {status.server}")
        typer.echo(f"use it: export KUBECONFIG={status.kubeconfig}")


@app.command()
def stop(
    delete: Annotated[bool, typer.Option("--delete", help="Remove everything in it, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Stop it. What is in it stays for the next start, unless --delete is given."""
    from ome_iac.rehearsal.control_plane import ControlPlane

    plane = ControlPlane()
    ran = any(plane.status().components.values())
    if delete:
        plane.delete()
    else:
        plane.stop()
    if as_json:
        _print_json(plane.status())
    else:
        typer.echo(("stopped" if ran else "was not running") + (", everything in it removed" if delete else ""))


@app.command()
def status(as_json: AsJson = False) -> None:
    """Tell what runs; exit code 1 where not all of it does."""
    from ome_iac.rehearsal.control_plane import ControlPlane

    plane = ControlPlane()
    state = plane.status()
    if as_json:
        _print_json(state)
    else:
        typer.echo(f"running at {state.server}" if state.running else "not running")
        for name, running in state.components.items():
            typer.echo(f"  {name}: {'running' if running else 'stopped'}")
        typer.echo(f"data folder: {state.data_dir}")
        for death in plane.deaths():
            typer.echo(str(death), err=True)
    if not state.running:
        raise typer.Exit(1)


@app.command()
def kubeconfig() -> None:
    """Print the path of its kubeconfig (context ome-iac-rehearsal)."""
    from ome_iac.rehearsal.control_plane import ControlPlane

    plane = ControlPlane()
    if not plane.kubeconfig.exists():
        problem = "no local control plane was started here"
        raise ProblemsError([Problem(str(plane.data_dir), "", problem, "start it: ome-iac cluster start")])
    typer.echo(plane.kubeconfig)


def _print_json(status: Status) -> None:
    typer.echo(json.dumps(asdict(status), default=str))
