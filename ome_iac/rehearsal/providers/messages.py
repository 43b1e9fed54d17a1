"""The protocol's messages from and to this package's Python data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf import any_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import provider_pb2, status_pb2

from ome_iac.rehearsal.providers import diffing
from ome_iac.rehearsal.providers.package import Difference, Failure, Naming, NotReadyError, Resource
from ome_iac.rehearsal.providers.values import encode


def resource(request: Any) -> Resource:
    """Which resource a request is about."""
    return Resource(request.urn, request.type, request.name)


def failures(found: Iterable[Failure]) -> list[provider_pb2.CheckFailure]:
    """The path goes into the reason: beside one given apart the engine shows a value that is not the path's."""
    return [
        provider_pb2.CheckFailure(reason=f"{diffing.render(failure.path)}: {failure.reason}".removeprefix(": "))
        for failure in found
    ]


def diff_response(difference: Difference) -> provider_pb2.DiffResponse:
    """A difference with a path for every change."""
    kinds = provider_pb2.PropertyDiff.Kind
    detailed = {
        diffing.render(change.path): provider_pb2.PropertyDiff(
            kind=kinds.Value(change.kind.upper() + ("_REPLACE" if change.path in difference.replacing else "")),
            inputDiff=True,
        )
        for change in difference.changes
    }
    some = provider_pb2.DiffResponse.DIFF_SOME if detailed else provider_pb2.DiffResponse.DIFF_NONE
    return provider_pb2.DiffResponse(
        changes=some,
        diffs=_top_level(change.path for change in difference.changes),
        replaces=_top_level(sorted(difference.replacing, key=str)),
        detailedDiff=detailed,
        hasDetailedDiff=True,
        deleteBeforeReplace=difference.delete_first,
    )


def _top_level(paths: Iterable[Sequence[str | int]]) -> list[str]:
    return list(dict.fromkeys(str(path[0]) for path in paths if path))


def naming(request: provider_pb2.CheckRequest) -> Naming | None:
    """What `pulumi:autonaming` says about the resource, if anything."""
    if not request.HasField("autonaming"):
        return None
    mode = provider_pb2.CheckRequest.AutonamingOptions.Mode.Name(request.autonaming.mode)
    return Naming(request.autonaming.proposed_name, mode)


def not_ready_status(error: NotReadyError, code: int) -> status_pb2.Status:
    """The error that makes the engine write the resource down as it is, and update it the next time."""
    detail = any_pb2.Any()
    detail.Pack(
        provider_pb2.ErrorResourceInitFailed(
            id=error.resource_id,
            properties=encode(error.outputs),
            inputs=encode(error.inputs),
            reasons=[str(error)],
        )
    )
    return status_pb2.Status(code=code, message=str(error), details=[detail])
