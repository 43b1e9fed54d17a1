"""The project on disk: where its stacks are, a stack's settings, and the way from documents to a `Plan`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from ome_iac.estimates.recorded import recorded_patterns, recorded_speeds
from ome_iac.lookups.oci_tenancy import recorded
from ome_iac.models.lock import Lock
from ome_iac.models.metadata import ModelMetadata
from ome_iac.planning.admission.sharing import dedicated_models
from ome_iac.planning.oci.tenancy import TenancyFacts
from ome_iac.planning.plan import Plan
from ome_iac.planning.planner import plan_stack
from ome_iac.problems import Problem, ProblemsError, did_you_mean
from ome_iac.spec.services import InferenceService, unsupported
from ome_iac.spec.stack import Stack, load_stack

NAMESPACE = "ome-iac:"
SECRETS = ("huggingFaceToken",)
"""Keys whose values the program alone asks the engine for; a plan does without them."""


@dataclass(frozen=True)
class Project:
    """A folder with a Pulumi.yaml of ours."""

    root: Path

    @classmethod
    def find(cls, start: Path | None = None) -> Project:
        """The project around a folder (the current one by default)."""
        here = (start or Path.cwd()).resolve()
        for folder in (here, *here.parents):
            if (folder / "Pulumi.yaml").is_file():
                return cls(folder)
        raise ProblemsError([Problem(str(here), "", "is in no project", "run from a folder below a Pulumi.yaml")])

    @property
    def stacks(self) -> Path:
        """The folder of programs, settings and documents."""
        return self.root / "stacks"

    @property
    def name(self) -> str:
        """The project's name in Pulumi.yaml."""
        return str(yaml.load((self.root / "Pulumi.yaml").read_text(), Loader=yaml.CSafeLoader)["name"])

    def settings_file(self, stack: str) -> Path:
        """Where a stack's settings stand."""
        return self.stacks / f"Pulumi.{stack}.yaml"

    def stack_names(self) -> list[str]:
        """Stacks that have a settings file."""
        return sorted(path.name[len("Pulumi.") : -len(".yaml")] for path in self.stacks.glob("Pulumi.*.yaml"))

    def settings(self, stack: str) -> Settings:
        """A stack's settings as its Pulumi.<stack>.yaml has them."""
        path = self.settings_file(stack)
        if not path.is_file():
            remedy = did_you_mean(stack, self.stack_names())
            raise ProblemsError([Problem(self.shown(path), "", f"there is no stack {stack}", remedy)])
        loaded = yaml.load(path.read_text(), Loader=yaml.CSafeLoader) or {}
        return Settings.parse(stack, loaded.get("config") or {})

    def shown(self, path: Path) -> str:
        """A path as messages show it: from the project's root."""
        return str(path.relative_to(self.root))


@dataclass(frozen=True)
class Settings:
    """The keys of our namespace in a stack's config; Pulumi.yaml describes them."""

    stack: str
    documents: str = ""
    kubeconfig: str = ""
    context: str = ""

    @classmethod
    def parse(cls, stack: str, config: Mapping[str, Any]) -> Settings:
        """From `ome-iac:key: value` pairs; a key that we do not know is an error, other namespaces are not ours."""
        known = [name for name in cls.__dataclass_fields__ if name != "stack"]
        ours = {key.removeprefix(NAMESPACE): value for key, value in config.items() if key.startswith(NAMESPACE)}
        ours = {key: value for key, value in ours.items() if key not in SECRETS}
        where = f"stacks/Pulumi.{stack}.yaml"
        problems = [
            Problem(where, f"{NAMESPACE}{key}", "is not a known key", did_you_mean(key, [*known, *SECRETS]))
            for key in ours
            if key not in known
        ]
        problems += [
            Problem(where, f"{NAMESPACE}{key}", f"must be text, not {value!r}", "write it in quotes")
            for key, value in ours.items()
            if key in known and not isinstance(value, str)
        ]
        if problems:
            raise ProblemsError(problems)
        return cls(stack=stack, **ours)

    @property
    def folder(self) -> str:
        """The folder of documents, below stacks/."""
        return self.documents or self.stack


def plan_project(project: Project, settings: Settings) -> Plan:
    """Read, check and decide a stack; raises `ProblemsError` with everything that is wrong."""
    folder = project.stacks / settings.folder
    stack, problems = load_stack(settings.stack, folder, project.shown(folder))
    stack = _without_unsupported(stack, problems)
    lock = _lock(project, folder / "ome.lock", problems)
    if lock is None:
        raise ProblemsError(problems)
    metadata = read_models(project, stack, lock, problems)
    tenancy = _tenancy(project, folder, problems)
    plan, more = plan_stack(stack, metadata, recorded_speeds(lock), recorded_patterns(lock), tenancy)
    if plan is None or problems:
        raise ProblemsError([*problems, *more])
    return plan


def _tenancy(project: Project, folder: Path, problems: list[Problem]) -> TenancyFacts | None:
    """What OCI answered when it was last asked; nothing is asked here."""
    try:
        return recorded(folder)
    except ProblemsError as error:
        problems.extend(replace(item, where=project.shown(Path(item.where))) for item in error.problems)
        return None


def _without_unsupported(stack: Stack, problems: list[Problem]) -> Stack:
    """The stack without the services that ask for what this version cannot do; each such field becomes a problem."""
    asked = [(service, paths) for service in stack.of(InferenceService) if (paths := unsupported(service))]
    problems += (
        service.problem(path, "is a field of OME's that this version cannot carry out", "leave it out")
        for service, paths in asked
        for path in paths
    )
    refused = {id(service) for service, _ in asked}
    return replace(stack, documents=tuple(item for item in stack.documents if id(item) not in refused))


def _lock(project: Project, path: Path, problems: list[Problem]) -> Lock | None:
    """The stack's lock. With one that cannot be believed nothing is read: the plan would not be the locked one."""
    try:
        return Lock.load(path)
    except ProblemsError as error:
        shown = project.shown(path)
        problems.extend(replace(item, where=item.where.replace(str(path), shown)) for item in error.problems)
        return None


def read_models(project: Project, stack: Stack, lock: Lock, problems: list[Problem]) -> dict[str, ModelMetadata]:
    """Metadata of every model that a service or a dedicated cluster names, by its URI: from the lock, else from its
    source."""
    found: dict[str, ModelMetadata] = {}
    served = [stack.model_of(service) for service in stack.of(InferenceService)]
    for model in [*served, *dedicated_models(stack)]:
        if model is None or model.spec.storage.storage_uri in found:
            continue
        uri = model.spec.storage.storage_uri
        locked = lock.get(uri)
        try:
            found[uri] = locked or _read(uri, model.folder or project.root)
        except ProblemsError as error:
            problems.extend(
                Problem(
                    model.problem("spec.storage.storageUri", "").where,
                    f"{model.label} {item.path}".strip(),
                    f"{item.where} {item.what}".strip(),
                    item.remedy,
                )
                for item in error.problems
            )
    return found


def _read(uri: str, base: Path) -> ModelMetadata:
    # Imported here because a locked stack reads nothing.
    from ome_iac.models.read import read_model

    return read_model(uri, base=base)
