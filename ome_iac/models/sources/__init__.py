"""Where models come from: one module for each scheme of a model's URI, imported when it is used."""

from __future__ import annotations

from typing import TypeAlias

from ome_iac.models.sources.base import Listing, ModelSource, Report, SourceError
from ome_iac.models.uri import HttpsUri, HubUri, LocalUri, ObjectStorageUri, PvcUri

__all__ = ["Listing", "ModelSource", "ReadableUri", "SourceError", "open_source", "refuse_unreadable"]

ReadableUri: TypeAlias = HubUri | ObjectStorageUri | LocalUri | HttpsUri
"""All schemes but `pvc://` and `vendor://`."""


def open_source(uri: ReadableUri, report: Report) -> ModelSource:
    """The source for the URI, to be entered with `async with`; nothing is connected yet.

    `report` is told what it waits for.
    """
    match uri:
        case LocalUri(path):
            from ome_iac.models.sources.local import LocalSource

            return LocalSource(path)
        case HubUri():
            from ome_iac.models.sources.hub import HubSource

            return HubSource(uri, report)
        case ObjectStorageUri():
            from ome_iac.models.sources.object_storage import ObjectStorageSource

            return ObjectStorageSource(uri, report)
        case HttpsUri(url):
            from ome_iac.models.sources.https import HttpsSource

            return HttpsSource(url, report)


def refuse_unreadable(uri: PvcUri, text: str) -> SourceError:
    """Why nothing can be read of a claim before something mounts it."""
    volume = f"{uri.namespace}:{uri.claim}" if uri.namespace else uri.claim
    return SourceError(
        text,
        f"the files of claim {volume} can be read only where it is mounted",
        "name a folder with the same files once (ome-iac lock --mirror), and the lock answers from then on",
    )
