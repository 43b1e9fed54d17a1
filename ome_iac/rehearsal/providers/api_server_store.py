"""Kubernetes objects in a real API server: server-side apply, strict field validation, dry runs, waiting."""

from __future__ import annotations

from typing import Final

from ome_iac.rehearsal.providers.api_client import ApiClient
from ome_iac.rehearsal.providers.kubernetes_kinds import ObjectKind, ObjectRef
from ome_iac.rehearsal.providers.object_store import Document, ObjectStore, Owner, StoreError, Waiting
from ome_iac.rehearsal.providers.readiness import Readiness

_STRICT: Final = {"fieldValidation": "Strict"}


class ApiServerStore(ObjectStore):
    """The cluster behind an `ApiClient`."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._readiness = Readiness(client)

    def is_namespaced(self, kind: ObjectKind) -> bool:
        """As the server's discovery says."""
        return self._client.is_namespaced(kind)

    def get(self, ref: ObjectRef) -> Document | None:
        """One GET."""
        return self._client.get(ref)

    def create(self, ref: ObjectRef, document: Document, owner: Owner, dry_run: bool) -> Document:
        """A server-side apply: unlike a POST it leaves one owner of the fields, the one that later updates them."""
        return self.apply(ref, document, {}, owner, False, dry_run)

    def apply(
        self, ref: ObjectRef, document: Document, previous: Document, owner: Owner, force: bool, dry_run: bool
    ) -> Document:
        """A server-side apply; the server itself knows what the owner said last."""
        parameters = {**_STRICT, "fieldManager": owner.manager, "force": str(force).lower()}
        if dry_run:
            parameters["dryRun"] = "All"
        return self._client.request("PATCH", self._client.path(ref), parameters, document)

    def delete(self, ref: ObjectRef, propagation: str, waiting: Waiting) -> None:
        """A DELETE, then asks until the object (this one, not a namesake that comes after) is gone."""
        live = self._client.get(ref)
        if live is None:
            return
        uid = live["metadata"]["uid"]
        try:
            self._client.request(
                "DELETE",
                self._client.path(ref),
                body={"propagationPolicy": propagation, "preconditions": {"uid": uid}},
            )
        except StoreError as error:
            if error.reason != "NotFound":
                raise

        def still_there() -> str | None:
            current = self._client.get(ref)
            if current is None or current["metadata"]["uid"] != uid:
                return None
            held = ", ".join(current["metadata"].get("finalizers") or current.get("spec", {}).get("finalizers") or [])
            return f"held by the finalizers {held}" if held else "it is being deleted"

        waiting.until(still_there)

    def wait_until_ready(self, ref: ObjectRef, waiting: Waiting) -> Document:
        """Asks until the object does what it is for."""
        return self._readiness.wait(ref, waiting)
