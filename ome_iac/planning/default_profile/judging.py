"""Whether one runtime document may serve the model that is asked about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ome_iac.planning.default_profile.answers import Fit
from ome_iac.planning.default_profile.proving import allowed_shapes, prove_declared
from ome_iac.planning.default_profile.question import Question
from ome_iac.runtimes.engines.custom import Custom, custom_engines
from ome_iac.runtimes.engines.custom_declared import Finding, Subject, made_for_another, same_model
from ome_iac.spec.components import EngineComponent
from ome_iac.spec.runtimes import RuntimeDocument

NOT_AUTOMATIC = "it is not open to selection (autoSelect is not true): name it to use it"


@dataclass(frozen=True)
class Verdict:
    """`undecided`: what the document requires of the model and nobody knows of it. `only_when_named`: why a
    service must ask for it."""

    finding: Finding
    reasons: tuple[str, ...]
    undecided: tuple[str, ...]
    fit: Fit
    notes: tuple[str, ...]
    only_when_named: tuple[str, ...]


def judge(document: RuntimeDocument, question: Question) -> Verdict:
    """Every reason against it, and where it fits if there is none."""
    service = question.service
    roles = custom_engines(document, question.model, *((service.metadata, service.spec) if service else ()))
    findings = [role.examine(question.metadata, question.task) for _, role in sorted(roles.items())]
    reasons = [reason for finding in findings for reason in finding.reasons]
    apart = "decoder" in roles
    if service is not None and apart and service.spec.decoder is None:
        reasons.append("it runs prefill and decode apart, the service has no decoder")
    elif service is not None and service.spec.decoder is not None and not apart and not _own(service.spec.decoder):
        reasons.append("the service has a decoder, it runs prefill and decode together")
    if service is not None and _speaks_grpc(roles) and service.spec.router is None:
        reasons.append("it speaks gRPC to a router, the service has no router")
    classes = question.classes
    listed = document.spec.accelerator_classes
    reasons += [
        f"it does not run on accelerator class {name}" for name in sorted(classes) if listed and name not in listed
    ]
    most, wanted = _stated_context(roles), question.intent.context_length
    if most and wanted and wanted > most:
        reasons.append(f"its command holds the context at {most:,} tokens, the service asks for {wanted:,}")
    allowed, notes = allowed_shapes(classes, question.selectors)
    fit = Fit(unknown="it is refused")
    if not reasons:
        fit = _prove(roles, question, allowed)
        reasons += fit.reasons
    notes += [note for role in roles.values() for note in role.notes]
    notes += [note for finding in findings for note in finding.notes]
    return Verdict(
        finding=findings[0],
        reasons=tuple(dict.fromkeys(reasons)),
        undecided=tuple(dict.fromkeys(what for finding in findings for what in finding.unknown)),
        fit=fit,
        notes=tuple(dict.fromkeys(notes)),
        only_when_named=tuple(_only_when_named(document, roles, findings[0], question)),
    )


def _only_when_named(
    document: RuntimeDocument, roles: dict[str, Custom], finding: Finding, question: Question
) -> Iterator[str]:
    entry, service = finding.entry, question.service
    if entry is not None and not entry.auto_select:
        yield NOT_AUTOMATIC
    subject = Subject.of(question.model, question.read)
    served = [name for role in roles.values() if role.settings for name in role.settings.names]
    copied = entry is not None and entry.model_architecture is not None
    if copied and not any(same_model(name, subject) for name in served) and made_for_another(document.name, subject):
        yield f"its name is another model's, not that of {question.model.name}: name it to use it"
    if "decoder" in roles and service is None:
        yield "it runs prefill and decode apart: a service with a decoder must ask for it"
    if service is None and _speaks_grpc(roles):
        yield "it speaks gRPC to a router: a service with a router must ask for it"


def _speaks_grpc(roles: dict[str, Custom]) -> bool:
    return any(role.process is not None and role.process.arguments.has("--grpc-mode") for role in roles.values())


def _own(decoder: EngineComponent) -> bool:
    """Whether the service brings the decoder's containers itself."""
    return decoder.runner is not None or decoder.leader is not None or bool(decoder.containers)


def _prove(roles: dict[str, Custom], question: Question, allowed: frozenset[str]) -> Fit:
    fit = prove_declared(roles, question.metadata, question.task, question.intent, allowed)
    if question.read is None and not fit.reasons:
        return Fit(gpus=fit.gpus, unknown="nothing was read of the model")
    return fit


def _stated_context(roles: dict[str, Custom]) -> int | None:
    stated = [role.settings.context_length for role in roles.values() if role.settings]
    return min((tokens for tokens in stated if tokens), default=None)
