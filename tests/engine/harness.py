"""The real engine around a program that is a Python function: no language host, a stack in a temporary folder."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi.automation as auto

from ome_iac.rehearsal.engine import Engine
from ome_iac.rehearsal.session import Rehearsal

Program = Callable[[], None]


@dataclass
class Run:
    """What one operation did."""

    changes: dict[str, int]
    """How many resources of each operation: create, update, replace, delete, same…"""
    text: str
    diagnostics: list[str]
    """Warnings and errors that the person sees, one entry each."""
    steps: dict[str, auto.StepEventMetadata] = field(repr=False)
    """The planned or taken step of each resource, by its name; of several, the last that tells a difference."""
    outputs: dict[str, Any]


class EngineError(Exception):
    """The operation failed; `run` tells what it did until then."""

    def __init__(self, run: Run) -> None:
        super().__init__("\n".join(run.diagnostics) or run.text)
        self.run = run


class Deployment:
    """A stack whose program can be swapped between operations."""

    def __init__(
        self, rehearsal: Rehearsal, engine: Engine, work_dir: Path, project: str = "demo", stack: str = "dev"
    ) -> None:
        self.rehearsal = rehearsal
        self.project, self.name = project, stack
        work_dir.mkdir(exist_ok=True)
        environment = rehearsal.environment()
        options = auto.LocalWorkspaceOptions(
            work_dir=str(work_dir),
            pulumi_home=environment["PULUMI_HOME"],
            pulumi_command=auto.PulumiCommand(str(engine.root)),
            project_settings=auto.ProjectSettings(
                project, "python", backend=auto.ProjectBackend(url=environment["PULUMI_BACKEND_URL"])
            ),
            env_vars=environment,
        )
        self._stack = auto.create_or_select_stack(stack, project_name=project, program=lambda: None, opts=options)

    def preview(self, program: Program, **options: Any) -> Run:
        """`pulumi preview`."""
        return self._run(program, self._stack.preview, options)

    def up(self, program: Program, **options: Any) -> Run:
        """`pulumi up`."""
        return self._run(program, self._stack.up, options)

    def refresh(self, **options: Any) -> Run:
        """`pulumi refresh`."""
        return self._run(lambda: None, self._stack.refresh, options)

    def destroy(self, **options: Any) -> Run:
        """`pulumi destroy`."""
        return self._run(lambda: None, self._stack.destroy, options)

    def cancel(self) -> None:
        """What Ctrl-C does to the operation under way."""
        for process in engines_of(self.rehearsal):
            os.kill(process, signal.SIGINT)

    def state(self) -> list[dict[str, Any]]:
        """The resources in the stack's state, secrets encrypted."""
        exported = self._stack.export_stack().deployment or {}
        resources: list[dict[str, Any]] = exported.get("resources", [])
        return resources

    def state_text(self) -> str:
        """Every byte that the backend keeps, for finding what must not be there."""
        files = [path for path in sorted(self.rehearsal.state_folder.rglob("*")) if path.is_file()]
        return "\n".join(path.read_text("utf-8", errors="replace") for path in files)

    def _run(self, program: Program, operation: Callable[..., Any], options: dict[str, Any]) -> Run:
        self._stack.workspace.program = program
        run = Run({}, "", [], {}, {})
        lines: list[str] = []

        def on_event(event: auto.EngineEvent) -> None:
            _record(run, event)

        try:
            result = operation(on_output=lines.append, on_event=on_event, **options)
        except auto.CommandError as error:
            run.text = "\n".join(lines) + str(error)
            raise EngineError(run) from error
        run.text = "\n".join(lines)
        run.outputs = {name: output.value for name, output in (getattr(result, "outputs", None) or {}).items()}
        return run


def _record(run: Run, event: auto.EngineEvent) -> None:
    if event.diagnostic_event and event.diagnostic_event.severity in ("warning", "error"):
        run.diagnostics.append(event.diagnostic_event.message.strip())
    metadata = None
    if event.resource_pre_event:
        metadata = event.resource_pre_event.metadata
    elif event.res_outputs_event:
        metadata = event.res_outputs_event.metadata
    if metadata is not None:
        name = metadata.urn.rpartition("::")[2]
        if metadata.detailed_diff or name not in run.steps:
            run.steps[name] = metadata
    if event.summary_event:
        run.changes = {
            str(getattr(op, "value", op)): count for op, count in event.summary_event.resource_changes.items()
        }


@contextmanager
def deployment(
    root: Path, engine: Engine, kubeconfig: Path | None = None, faults: dict[str, Any] | None = None
) -> Iterator[Deployment]:
    """A rehearsal in `root/rehearsal` with one stack."""
    faults_file = None
    if faults is not None:
        faults_file = root / "faults.json"
        faults_file.write_text(json.dumps(faults))
    with Rehearsal(root / "rehearsal", kubeconfig, engine=engine, faults=faults_file) as rehearsal:
        yield Deployment(rehearsal, engine, root / "work")


def files(folder: Path) -> list[str]:
    """Every file below a folder, relative to it."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def engines_of(rehearsal: Rehearsal) -> list[int]:
    """The process ids of the engines attached to a rehearsal, found by the providers' ports in their environment."""
    mark = f"PULUMI_DEBUG_PROVIDERS={rehearsal.environment()['PULUMI_DEBUG_PROVIDERS']}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (path / "environ").read_bytes() and (path / "exe").readlink().name.startswith("pulumi"):
                found.append(int(path.name))
    return found
