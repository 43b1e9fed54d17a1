from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ome_iac.rehearsal.providers.folder_store import FolderStore
from ome_iac.rehearsal.providers.kubernetes_kinds import ObjectKind, ObjectRef, is_namespaced
from ome_iac.rehearsal.providers.object_store import Owner, StoreError, Waiting, managers
from ome_iac.rehearsal.providers.package import ProviderError

OWNER = Owner("pulumi-12345678", "urn:pulumi:dev::demo::kubernetes:core/v1:ConfigMap::c")
NOW = Waiting(0, threading.Event(), lambda message: None)


def document(name: str = "c", namespace: str = "default", **more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, **more}


def create(store: FolderStore, wanted: dict[str, Any]) -> dict[str, Any]:
    return store.create(ObjectRef.of(wanted), wanted, OWNER, dry_run=False)


def apply(store: FolderStore, wanted: dict[str, Any], previous: dict[str, Any]) -> dict[str, Any]:
    return store.apply(ObjectRef.of(wanted), wanted, previous, OWNER, force=False, dry_run=False)


def delete(store: FolderStore, ref: ObjectRef) -> None:
    store.delete(ref, "Background", NOW)


def space(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def test_the_same_objects_are_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        data = {"b": "2", "a": "1"} if folder == "one" else {"a": "1", "b": "2"}
        create(FolderStore(tmp_path / folder), document(data=data))
    (path,) = (tmp_path / "one").rglob("*.yaml")
    assert path.relative_to(tmp_path / "one") == Path("default/ConfigMap/c.yaml")
    assert path.read_bytes() == (tmp_path / "two/default/ConfigMap/c.yaml").read_bytes()
    assert path.read_text().startswith(f"# {OWNER.urn}\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\n")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_dry_run_writes_nothing_and_refuses_the_same(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    ref = ObjectRef.of(document())
    store.create(ref, document(), OWNER, dry_run=True)
    assert store.get(ref) is None
    create(store, document())
    with pytest.raises(StoreError) as refused:
        store.create(ref, document(), OWNER, dry_run=True)
    assert refused.value.reason == "AlreadyExists"


def test_versions_and_generations_grow_with_what_changed(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    first = create(store, document(data={"a": "1"}))["metadata"]
    same = apply(store, document(data={"a": "1"}), document(data={"a": "1"}))["metadata"]
    second = apply(store, document(data={"a": "2"}), document(data={"a": "1"}))["metadata"]
    labelled = document(data={"a": "2"})
    labelled["metadata"]["labels"] = {"x": "y"}
    third = apply(store, labelled, document(data={"a": "2"}))["metadata"]
    counts = [(found["resourceVersion"], found["generation"]) for found in (first, same, second, third)]
    assert counts == [("1", 1), ("1", 1), ("2", 2), ("3", 2)]
    assert len({found["uid"] for found in (first, same, second, third)}) == 1


def test_what_others_put_into_maps_stays_and_what_is_no_longer_wanted_goes(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    mine = document(data={"mine": "1", "old": "1"})
    create(store, mine)
    theirs = Owner("someone", "urn:x")
    store.apply(ObjectRef.of(mine), document(data={"theirs": "1"}), {}, theirs, force=False, dry_run=False)
    merged = apply(store, document(data={"mine": "2"}), mine)
    assert merged["data"] == {"mine": "2", "theirs": "1"}
    assert managers(merged) == {"someone", OWNER.manager}


def test_namespaces_must_be_there_and_take_their_objects_along(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    with pytest.raises(StoreError, match='namespace "apps" not found') as refused:
        create(store, document(namespace="apps"))
    assert refused.value.reason == "NotFound"
    create(store, space("apps"))
    create(store, document(namespace="apps"))
    create(store, document())
    delete(store, ObjectRef.of(space("apps")))
    assert [found["metadata"]["namespace"] for found in store] == ["default"]


@pytest.mark.parametrize("name", ["default", "kube-system"])
def test_given_namespaces_exist(tmp_path: Path, name: str) -> None:
    store = FolderStore(tmp_path)
    create(store, document(namespace=name))
    with pytest.raises(StoreError, match="already exists"):
        create(store, space(name))


def test_deleting_leaves_no_empty_folders(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "a/cluster")
    create(store, space("apps"))
    create(store, document(namespace="apps"))
    delete(store, ObjectRef.of(document(namespace="apps")))
    delete(store, ObjectRef.of(document(namespace="apps")))
    delete(store, ObjectRef.of(space("apps")))
    assert not (tmp_path / "a/cluster").exists()


def test_of_many_creations_one_wins(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)

    def attempt(number: int) -> bool:
        try:
            create(store, document(data={"n": str(number)}))
        except StoreError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(attempt, range(64))) == 1


@pytest.mark.parametrize("text", ["a: [", "- 1", "a: 1", "\x00"])
def test_a_file_made_unreadable_is_told(tmp_path: Path, text: str) -> None:
    store = FolderStore(tmp_path)
    create(store, document())
    path = tmp_path / "default/ConfigMap/c.yaml"
    path.write_text(text)
    with pytest.raises(ProviderError, match=str(path)) as told:
        store.get(ObjectRef.of(document()))
    assert "\n" not in str(told.value)


def test_names_stay_in_the_folder(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "system:a/../../b"},
    }
    create(store, role)
    (path,) = tmp_path.rglob("*.yaml")
    assert path.parent == tmp_path / "store/_cluster/ClusterRole.rbac.authorization.k8s.io"
    assert store.get(ObjectRef.of(role)) is not None


@pytest.mark.parametrize(
    ("api_version", "kind", "namespaced"),
    [
        ("v1", "Namespace", False),
        ("v1", "Pod", True),
        ("apps/v1", "Deployment", True),
        ("rbac.authorization.k8s.io/v1", "ClusterRole", False),
        ("resource.k8s.io/v1", "ResourceClaim", True),
        ("ome.io/v1beta1", "ClusterServingRuntime", False),
        ("ome.io/v1beta1", "ServingRuntime", True),
        ("ome.io/v1beta1", "AcceleratorClass", False),
        ("kueue.x-k8s.io/v1beta1", "ClusterQueue", False),
        ("kueue.x-k8s.io/v1beta1", "ResourceFlavor", False),
        ("kueue.x-k8s.io/v1beta1", "LocalQueue", True),
    ],
)
def test_scopes_known_without_a_server(api_version: str, kind: str, namespaced: bool) -> None:
    assert is_namespaced(ObjectKind(api_version, kind)) is namespaced


def test_a_definition_tells_the_scope(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    kind = ObjectKind("example.com/v1", "Thing")
    assert store.is_namespaced(kind)
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {"group": "example.com", "scope": "Cluster", "names": {"kind": "Thing"}},
    }
    create(store, definition)
    assert not store.is_namespaced(kind)
    delete(store, ObjectRef.of(definition))
    assert store.is_namespaced(kind)
