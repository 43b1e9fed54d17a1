"""What is asked of the profile."""

from __future__ import annotations

from dataclasses import dataclass

from ome_iac.models.metadata import ModelMetadata
from ome_iac.planning.ome_profile.documents import ServiceDocument
from ome_iac.planning.ome_profile.selection import ACCELERATOR_ANNOTATION
from ome_iac.runtimes.catalog import Task
from ome_iac.runtimes.engines import task_of
from ome_iac.spec.components import AcceleratorSelector
from ome_iac.spec.models import ModelDocument
from ome_iac.spec.services import Intent

TASKS = {
    "TEXT_TO_TEXT": Task.GENERATE,
    "IMAGE_TEXT_TO_TEXT": Task.GENERATE,
    "VIDEO_TEXT_TO_TEXT": Task.GENERATE,
    "AUDIO_TEXT_TO_TEXT": Task.GENERATE,
    "TEXT_TO_EMBEDDING": Task.EMBED,
    "EMBEDDING": Task.EMBED,
    "TEXT_EMBEDDINGS": Task.EMBED,
    "IMAGE_TEXT_TO_EMBEDDING": Task.EMBED,
    "RERANK": Task.CLASSIFY,
    "TEXT_RERANK": Task.CLASSIFY,
    "REWARD_SCORING": Task.REWARD,
}
"""What a model is served for, by OME's names of capabilities."""


@dataclass(frozen=True)
class Question:
    """A model, what was read of it, and the service it is for.

    `fetch` is the command that reads the model; None where it was read, or where its document names no files to read:
    then what it declares is all there is to know.
    """

    model: ModelDocument
    read: ModelMetadata | None = None
    fetch: str | None = None
    service: ServiceDocument | None = None
    default_namespace: str = "default"

    @property
    def metadata(self) -> ModelMetadata:
        """What was read, or a model of which nothing is known."""
        return self.read or ModelMetadata(source="")

    @property
    def task(self) -> Task | None:
        """By what was read, else by the declared capabilities; None where neither tells."""
        found = task_of(self.read) if self.read else None
        stated = [TASKS[name] for name in self.model.spec.model_capabilities if name in TASKS]
        return found or (stated[0] if stated else None)

    @property
    def intent(self) -> Intent:
        """What the service asks for."""
        return self.service.spec.intent if self.service else Intent()

    @property
    def unknown(self) -> str | None:
        """Why nothing can be selected yet."""
        if self.fetch is None:
            return None
        return f"unknown: nothing was read of {self.model.name}; fetch it with: {self.fetch}"

    @property
    def namespace(self) -> str:
        """The service's, else the default one."""
        return (self.service.metadata.namespace if self.service else None) or self.default_namespace

    @property
    def selectors(self) -> list[AcceleratorSelector]:
        """What the service says of accelerators."""
        if self.service is None:
            return []
        spec = self.service.spec
        parts = [spec.accelerator_selector, *(p.accelerator_override for p in (spec.engine, spec.decoder) if p)]
        return [part for part in parts if part is not None]

    @property
    def classes(self) -> frozenset[str]:
        """Accelerator classes that the service names."""
        named = [selector.accelerator_class for selector in self.selectors]
        if self.service is not None:
            named.append(self.service.metadata.annotations.get(ACCELERATOR_ANNOTATION))
        return frozenset(name for name in named if name)
