from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ome_iac.rehearsal.providers.known_state import ids_in_checkpoint

PROVIDER = "urn:pulumi:dev::demo::pulumi:providers:kubernetes::default_4_34_2"
URN = "urn:pulumi:dev::demo::kubernetes:core/v1:ConfigMap::c"


def write(state: Path, document: Any) -> None:
    path = state / ".pulumi/stacks/demo/dev.json"
    path.parent.mkdir(parents=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))


def test_ids_of_a_urn_include_one_that_is_still_to_be_deleted(tmp_path: Path) -> None:
    resources = [
        {"urn": URN, "id": "default/new"},
        {"urn": URN, "id": "default/old", "delete": True},
        {"urn": "urn:pulumi:dev::demo::pulumi:pulumi:Stack::demo-dev"},
    ]
    pending = [{"resource": {"urn": URN, "id": ""}, "type": "creating"}]
    write(tmp_path, {"checkpoint": {"latest": {"resources": resources, "pending_operations": pending}}})
    assert ids_in_checkpoint(tmp_path, PROVIDER) == {URN: {"default/new", "default/old"}}


@pytest.mark.parametrize("document", ["", "{", {}, {"checkpoint": {"latest": None}}, {"checkpoint": {"latest": {}}}])
def test_without_a_usable_checkpoint_nothing_is_known(tmp_path: Path, document: Any) -> None:
    write(tmp_path, document)
    assert ids_in_checkpoint(tmp_path, PROVIDER) == {}
    assert ids_in_checkpoint(tmp_path / "nowhere", PROVIDER) == {}
    assert ids_in_checkpoint(tmp_path, "not a urn") == {}
