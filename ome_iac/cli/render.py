"""`ome-iac render`: a stack's objects as files for GitOps, from the plan alone; no engine and no cluster is asked."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from ome_iac.cli.options import Stack
from ome_iac.manifests import Manifest, namespace_object, service_objects, stack_objects
from ome_iac.manifests.ome import model_documents, ome_objects
from ome_iac.planning.plan import Plan
from ome_iac.problems import Problem, ProblemsError
from ome_iac.project import Project, plan_project
from ome_iac.spec.stack import Stack as Documents
from ome_iac.spec.stack import load_stack

KUSTOMIZATION = "kustomization.yaml"
MARKER = "# Written by ome-iac render: the whole folder is replaced when it is rendered again."
SHOWN = 5
"""Files in the way that a message names."""

Files = dict[str, str]
"""Text by path, relative to the folder."""


class Target(Enum):
    """For whom."""

    OBJECTS = "objects"
    OME = "ome"


def render(
    stack: Stack,
    out: Annotated[
        Path, typer.Option(help="The folder to write: new, empty, or written by this command before.", metavar="DIR")
    ],
    target: Annotated[
        Target,
        typer.Option(help="objects: Kubernetes' own and those of its controllers; ome: for OME's operator."),
    ] = Target.OBJECTS,
) -> None:
    """Write a stack's objects as YAML with a kustomization.yaml, for GitOps; all of them or nothing."""
    project = Project.find()
    settings = project.settings(stack)
    plan = plan_project(project, settings)
    if target is Target.OBJECTS:
        files = object_files(plan)
    else:
        folder = project.stacks / settings.folder
        files = ome_files(plan, load_stack(stack, folder, project.shown(folder))[0])
    write_folder(out, files)
    typer.echo(f"{len(files)} files in {out}")


def object_files(plan: Plan) -> Files:
    """What is registered for the stack above its nodes, by namespace and service."""
    return _files(
        {
            "namespaces.yaml": [namespace_object(plan, name) for name in plan.namespaces],
            **{f"{service.namespace}/{service.name}.yaml": service_objects(plan, service) for service in plan.services},
            "routes.yaml": stack_objects(plan),
        }
    )


def ome_files(plan: Plan, documents: Documents) -> Files:
    """OME's documents of the stack; raises ProblemsError where OME has no way to say what was decided."""
    return _files(
        {
            "namespaces.yaml": [namespace_object(plan, name) for name in plan.namespaces],
            "models.yaml": model_documents(plan, documents),
            **ome_objects(plan, documents),
        }
    )


def _files(objects: Mapping[str, Sequence[Manifest]]) -> Files:
    """As text, with the kustomization that names them in this order; a file without objects is left out."""
    found = {path: yaml_text(made) for path, made in objects.items() if made}
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": list(found),
    }
    return {**found, KUSTOMIZATION: f"{MARKER}\n{yaml_text([kustomization])}"}


class _Dumper(yaml.CSafeDumper):
    """No anchors, and text that any reader of YAML, 1.1 or 1.2, may take for a number stands in quotes."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_NUMERIC = re.compile(r"[-+]?(0[box][\da-fA-F_]+|[\d._]+([eE][-+]?\d+)?)")


def _text(dumper: yaml.CSafeDumper, value: str) -> yaml.ScalarNode:
    style = "'" if _NUMERIC.fullmatch(value) else "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style)


_Dumper.add_representer(str, _text)


def yaml_text(objects: Iterable[Manifest]) -> str:
    """The objects as YAML documents, in their order; the same objects are the same text."""
    return yaml.dump_all(objects, Dumper=_Dumper, sort_keys=False, width=120, explicit_start=True)


def write_folder(out: Path, files: Files) -> None:
    """Make the folder hold exactly these files, at once; raises ProblemsError where it holds another's.

    They are written beside it and take its place by renaming, so that nobody reads half of them.
    """
    target = out.resolve()
    _refuse_others(out, target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise ProblemsError([Problem(str(out), "", f"cannot be written: {error.strerror}", "name another")]) from None
    try:
        new, old = staging / "new", staging / "old"
        for path, text in files.items():
            file = new / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        _swap(target, new, old)
    except OSError as error:
        raise ProblemsError([Problem(str(out), "", f"cannot be written: {error.strerror}", "name another")]) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _swap(target: Path, new: Path, old: Path) -> None:
    there = target.exists()
    if there:
        os.rename(target, old)
    try:
        os.rename(new, target)
    except BaseException:
        if there:
            os.rename(old, target)
        raise


def _refuse_others(shown: Path, target: Path) -> None:
    """A folder is ours if its kustomization.yaml says so, and then holds nothing that this file does not name."""
    if not target.exists():
        return
    if not target.is_dir():
        raise ProblemsError([Problem(str(shown), "", "is a file", "name a folder")])
    if not any(target.iterdir()):
        return
    ours = _written_before(target / KUSTOMIZATION)
    if ours is None:
        what = f"is not empty, and has no {KUSTOMIZATION} that render wrote"
        raise ProblemsError([Problem(str(shown), "", what, "name a new or an empty folder")])
    files = (path for path in target.rglob("*") if path.is_symlink() or not path.is_dir())
    others = sorted({str(path.relative_to(target)) for path in files} - ours)
    if others:
        rest = f" and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
        what = f"holds what render did not write, and would lose it: {', '.join(others[:SHOWN])}{rest}"
        raise ProblemsError([Problem(str(shown), "", what, "keep it outside, in an overlay that names this folder")])


def _written_before(kustomization: Path) -> set[str] | None:
    """The files of a folder of ours; None where it is another's."""
    try:
        text = kustomization.read_text(encoding="utf-8")
        if not text.startswith(MARKER):
            return None
        data = yaml.load(text, Loader=yaml.CSafeLoader)
        return {KUSTOMIZATION, *map(str, data["resources"])}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError):
        return None
