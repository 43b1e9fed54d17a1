"""A small client of a Kubernetes API server: kubeconfig, discovery, and errors that say what happened.

The official client brings thirty megabytes of generated models for kinds that are plain documents here; what remains
of it is one HTTP connection pool.
"""

from __future__ import annotations

import base64
import ssl
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from ome_iac.problems import Problem, ProblemsError
from ome_iac.rehearsal.providers.kubernetes_kinds import ObjectKind, ObjectRef
from ome_iac.rehearsal.providers.object_store import Document, KindUnknownError, StoreError

_POOL: Final = httpx.Limits(max_connections=64, max_keepalive_connections=64)
_TIMEOUT: Final = httpx.Timeout(60.0, connect=5.0)


@dataclass(frozen=True)
class _Resource:
    plural: str
    namespaced: bool


class ApiClient:
    """Requests to the server of a kubeconfig's current context; safe for many threads."""

    def __init__(self, kubeconfig: Path) -> None:
        cluster, user = _current(kubeconfig)
        self.server: str = cluster["server"].rstrip("/")
        token = user.get("token")
        self._http = httpx.Client(
            base_url=self.server,
            verify=_tls(kubeconfig, cluster, user),
            headers={"Authorization": f"Bearer {token}"} if token else {},
            limits=_POOL,
            timeout=_TIMEOUT,
            trust_env=False,  # a proxy has no business on loopback
        )
        self._discovered: dict[str, dict[str, _Resource]] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def is_namespaced(self, kind: ObjectKind) -> bool:
        """The scope of a kind; KindUnknownError where the server has none such."""
        return self._resource(kind).namespaced

    def path(self, ref: ObjectRef) -> str:
        """The URL path of an object."""
        return f"{self.collection(ref.kind, ref.namespace)}/{ref.name}"

    def collection(self, kind: ObjectKind, namespace: str | None) -> str:
        """The URL path of all objects of a kind, in a namespace or everywhere."""
        resource = self._resource(kind)
        place = f"/namespaces/{namespace}" if resource.namespaced and namespace else ""
        return f"{_api(kind.api_version)}{place}/{resource.plural}"

    def request(
        self, method: str, path: str, parameters: Mapping[str, str] | None = None, body: Document | None = None
    ) -> Document:
        """One call; StoreError for whatever the server refuses, or when it does not answer.

        A PATCH is a server-side apply.
        """
        kind = "application/apply-patch+yaml" if method == "PATCH" else "application/json"
        try:
            response = self._http.request(
                method, path, params=dict(parameters or {}), json=body, headers={"Content-Type": kind}
            )
        except httpx.HTTPError as error:
            raise StoreError(
                "Unreachable",
                f"the rehearsal's API server at {self.server} does not answer ({error or type(error).__name__}); "
                "start it with: ome-iac cluster start",
            ) from error
        if response.is_success:
            document: Document = response.json()
            return document
        raise _refusal(response)

    def get(self, ref: ObjectRef) -> Document | None:
        """An object, None where it is not there."""
        path = self.path(ref)
        try:
            return self.request("GET", path)
        except StoreError as error:
            if error.reason == "NotFound":
                return None
            raise

    def list(
        self, kind: ObjectKind, namespace: str | None, parameters: Mapping[str, str] | None = None
    ) -> list[Document]:
        """The objects of a kind."""
        items: list[Document] = self.request("GET", self.collection(kind, namespace), parameters).get("items") or []
        return items

    def _resource(self, kind: ObjectKind) -> _Resource:
        """From the server's discovery, asked again for a kind it did not have before: definitions come and go."""
        known = self._discovered.get(kind.api_version, {}).get(kind.kind)
        if known is not None:
            return known
        try:
            answer = self.request("GET", _api(kind.api_version))
        except StoreError as error:
            if error.reason == "NotFound":
                raise KindUnknownError(kind) from error
            raise
        found = {
            entry["kind"]: _Resource(entry["name"], entry["namespaced"])
            for entry in answer.get("resources", [])
            if "/" not in entry["name"]
        }
        with self._lock:
            self._discovered[kind.api_version] = found
        if kind.kind not in found:
            raise KindUnknownError(kind)
        return found[kind.kind]


def _api(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def _refusal(response: httpx.Response) -> StoreError:
    """A Status object's reason and message; unknown paths answer with plain text instead."""
    try:
        status: Any = response.json()
    except ValueError:
        status = None
    if not isinstance(status, dict):
        reason = "NotFound" if response.status_code == 404 else "Unknown"
        return StoreError(reason, f"HTTP {response.status_code} {response.text.strip()}")
    return StoreError(status.get("reason") or "Unknown", " ".join(str(status.get("message", status)).split()))


def _current(kubeconfig: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The cluster and the user of the current context; ProblemsError where the file does not tell."""
    try:
        document = yaml.safe_load(kubeconfig.read_text("utf-8"))
        context = _named(document["contexts"], document["current-context"])["context"]
        cluster = _named(document["clusters"], context["cluster"])["cluster"]
        user = _named(document["users"], context["user"])["user"]
        return {"server": cluster["server"], **cluster}, user
    except OSError as error:
        raise ProblemsError([Problem(str(kubeconfig), "", f"cannot be read: {error.strerror}")]) from error
    except (KeyError, TypeError, StopIteration, yaml.YAMLError) as error:
        what = f"is no kubeconfig with a current context, its cluster and user ({type(error).__name__}: {error})"
        raise ProblemsError([Problem(str(kubeconfig), "", " ".join(what.split()))]) from error


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)


def _tls(kubeconfig: Path, cluster: dict[str, Any], user: dict[str, Any]) -> ssl.SSLContext:
    """Trusts the cluster's own authority only, and shows the user's certificate if it has one."""
    authority = _material(kubeconfig, cluster, "certificate-authority")
    context = ssl.create_default_context(cadata=authority.decode() if authority else None)
    certificate, key = (_material(kubeconfig, user, field) for field in ("client-certificate", "client-key"))
    if certificate and key:
        # The ssl module reads certificate chains from files only.
        with tempfile.NamedTemporaryFile() as file:
            file.write(certificate + b"\n" + key)
            file.flush()
            context.load_cert_chain(file.name)
    return context


def _material(kubeconfig: Path, entry: dict[str, Any], field: str) -> bytes | None:
    if f"{field}-data" in entry:
        return base64.b64decode(entry[f"{field}-data"])
    return (kubeconfig.parent / entry[field]).read_bytes() if field in entry else None
