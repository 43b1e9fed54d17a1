"""Kubernetes objects as YAML files in a folder: a cluster that keeps what it is told and starts nothing.

`<root>/<namespace or _cluster>/<Kind.group>/<name>.yaml`. The same objects give the same bytes, so that folders can be
compared. Files are readable by their owner only: a Kubernetes Secret lies here as it would in a cluster, in clear.
Defaults are not filled in and no controller runs; an object is ready as soon as it is there.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import yaml

from ome_iac.rehearsal.providers.kubernetes_kinds import ObjectKind, ObjectRef, is_builtin, is_namespaced
from ome_iac.rehearsal.providers.object_store import Document, ObjectStore, Owner, StoreError, Waiting
from ome_iac.rehearsal.providers.package import ProviderError

_CLUSTER_FOLDER: Final = "_cluster"
_DEFINITIONS: Final = "CustomResourceDefinition.apiextensions.k8s.io"
_NAMESPACE: Final = ObjectKind("v1", "Namespace")
_GIVEN_NAMESPACES: Final = frozenset({"default", "kube-node-lease", "kube-public", "kube-system"})
_UIDS: Final = uuid.UUID("6f8a4e0e-5d0c-4f0f-9d3e-0c9a4b1f2d77")
_METADATA_OF_THE_SERVER: Final = ("uid", "resourceVersion", "generation", "managedFields")


class FolderStore(ObjectStore):
    """One cluster's objects below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.RLock()
        self._definitions: dict[Path, tuple[int, tuple[tuple[str, str], bool]]] = {}

    def is_namespaced(self, kind: ObjectKind) -> bool:
        """By the definition that lies in the folder, else by what is known of the kind, else by its name."""
        if is_builtin(kind):
            return is_namespaced(kind)
        with self._lock:
            for path in sorted((self._root / _CLUSTER_FOLDER / _DEFINITIONS).glob("*.yaml")):
                defined, namespaced = self._definition(path)
                if defined == (kind.group, kind.kind):
                    return namespaced
        return is_namespaced(kind)

    def _definition(self, path: Path) -> tuple[tuple[str, str], bool]:
        """The group and kind that a CustomResourceDefinition defines, and its scope; read once per version."""
        stamp = path.stat().st_mtime_ns
        known = self._definitions.get(path)
        if known is None or known[0] != stamp:
            spec = _load(path).get("spec", {})
            defined = (spec.get("group", ""), spec.get("names", {}).get("kind", ""))
            known = self._definitions[path] = (stamp, (defined, spec.get("scope") == "Namespaced"))
        return known[1]

    def get(self, ref: ObjectRef) -> Document | None:
        """The object in its file; ProviderError where somebody has made the file unreadable."""
        with self._lock:
            path = self._path(ref)
            return _load(path) if path.exists() else None

    def create(self, ref: ObjectRef, document: Document, owner: Owner, dry_run: bool) -> Document:
        """Writes a new file; its namespace must be there."""
        with self._lock:
            if self._path(ref).exists() or (ref.kind == _NAMESPACE and ref.name in _GIVEN_NAMESPACES):
                raise StoreError("AlreadyExists", f"{ref} already exists")
            self._require_namespace(ref)
            return self._write(ref, document, None, owner, dry_run)

    def apply(
        self, ref: ObjectRef, document: Document, previous: Document, owner: Owner, force: bool, dry_run: bool
    ) -> Document:
        """Merges into the file: maps by key, lists as a whole."""
        with self._lock:
            live = self.get(ref)
            if live is None:
                return self.create(ref, document, owner, dry_run)
            return self._write(ref, _merged(live, previous, document), live, owner, dry_run)

    def delete(self, ref: ObjectRef, propagation: str, waiting: Waiting) -> None:
        """Removes the file, and with a namespace all that is in it."""
        with self._lock:
            if ref.kind == _NAMESPACE:
                for path in sorted((self._root / _folder(ref.name)).glob("*/*.yaml")):
                    self._remove(path)
            self._remove(self._path(ref))

    def wait_until_ready(self, ref: ObjectRef, waiting: Waiting) -> Document:
        """Nothing runs here that could become ready."""
        document = self.get(ref)
        if document is None:
            raise StoreError("NotFound", f"{ref} was deleted meanwhile")
        return document

    def _path(self, ref: ObjectRef) -> Path:
        place = _folder(ref.namespace) if ref.namespace else _CLUSTER_FOLDER
        return self._root / place / ref.kind.qualified / f"{quote(ref.name, safe='')}.yaml"

    def _require_namespace(self, ref: ObjectRef) -> None:
        if ref.namespace is None or ref.namespace in _GIVEN_NAMESPACES:
            return
        if not self._path(ObjectRef(_NAMESPACE, None, ref.namespace)).exists():
            raise StoreError("NotFound", f'namespace "{ref.namespace}" not found; create it first and depend on it')

    def _write(
        self, ref: ObjectRef, document: Document, live: Document | None, owner: Owner, dry_run: bool
    ) -> Document:
        written = _with_server_metadata(ref, document, live, owner)
        if not dry_run and written != live:
            path = self._path(ref)
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            text = f"# {owner.urn}\n" + yaml.dump(written, Dumper=_Dumper, sort_keys=False, width=120)
            _replace(path, text)
        return written

    def _remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == self._root.parent:
                return
            with contextlib.suppress(OSError):  # other objects are in it, or it is gone
                folder.rmdir()

    def __iter__(self) -> Iterator[Document]:
        """Every object, in the order of the paths."""
        with self._lock:
            return iter([_load(path) for path in sorted(self._root.glob("*/*/*.yaml"))])


class _Dumper(yaml.CSafeDumper):
    """Without anchors: two equal maps are two maps to a reader."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _folder(namespace: str) -> str:
    return quote(namespace, safe="")


def _load(path: Path) -> Document:
    try:
        document = yaml.load(path.read_text("utf-8"), Loader=yaml.CSafeLoader)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ProviderError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict) or not isinstance(document.get("metadata"), dict):
        raise ProviderError(f"{path} is not a Kubernetes object; delete it or put back what it was")
    return document


def _replace(path: Path, text: str) -> None:
    """Puts the file in place whole or not at all, readable by its owner only."""
    draft = path.with_name(f".{path.name}.draft")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


def _with_server_metadata(ref: ObjectRef, document: Document, live: Document | None, owner: Owner) -> Document:
    """What an API server adds: an identity, a version that grows with each write, a generation with each new spec.

    All of it follows from the object and its history in this folder, never from the clock.
    """
    own = _own_metadata(document["metadata"])
    before = live["metadata"] if live else {}
    manager = {"manager": owner.manager, "operation": "Apply"}
    managed = [entry for entry in before.get("managedFields", []) if entry != manager] + [manager]
    changed = live is None or _content(document) != _content(live)
    if live is not None and not changed and own == _own_metadata(before) and managed == before.get("managedFields"):
        return live
    metadata = {
        **_sorted(own),
        "uid": str(uuid.uuid5(_UIDS, json.dumps([ref.kind.qualified, ref.id]))),
        "resourceVersion": str(_count(before.get("resourceVersion")) + 1),
        "generation": _count(before.get("generation")) + int(changed),
        "managedFields": managed,
    }
    return {key: metadata if key == "metadata" else value for key, value in _ordered(document).items()}


def _count(value: Any) -> int:
    return int(value) if str(value).isdecimal() else 0  # somebody may have edited the file


def _own_metadata(metadata: Document) -> Document:
    return {key: value for key, value in metadata.items() if key not in _METADATA_OF_THE_SERVER}


def _content(document: Document) -> Document:
    return {key: value for key, value in document.items() if key not in ("metadata", "status")}


def _ordered(document: Document) -> Document:
    """The usual order at the top, then by name; maps further down by name too."""
    first = ("apiVersion", "kind", "metadata")
    rest = sorted(key for key in document if key not in first)
    return {key: _sorted(document[key]) for key in (*first, *rest) if key in document}


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def _merged(live: Any, previous: Any, wanted: Any) -> Any:
    """A three-way merge: what is wanted, plus what somebody else has put into maps."""
    if not (isinstance(live, dict) and isinstance(wanted, dict)):
        return wanted
    before = previous if isinstance(previous, dict) else {}
    kept = {key: value for key, value in live.items() if key in wanted or key not in before}
    return kept | {key: _merged(live.get(key), before.get(key), value) for key, value in wanted.items()}
