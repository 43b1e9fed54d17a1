"""IAM statements: read back as they were meant, and they allow no more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ome_iac.planning.iam import is_quota, parse, read_objects, use_cluster

CLUSTER = "ocid1.cluster.oc1.iad.c"
THERE = "compartment id ocid1.compartment.oc1..models"
STATEMENT = read_objects(
    namespace="blue",
    account="chat",
    cluster_id=CLUSTER,
    compartment_id="ocid1.compartment.oc1..models",
    bucket="models",
    prefix="llama/3.1/",
)
REQUEST = {
    "request.principal.type": "workload",
    "request.principal.namespace": "blue",
    "request.principal.service_account": "chat",
    "request.principal.cluster_id": CLUSTER,
    "target.bucket.name": "models",
    "target.object.name": "llama/3.1/model-00001-of-00002.safetensors",
}


def test_it_reads_as_oracle_writes_it() -> None:
    assert str(STATEMENT) == (
        "Allow any-user to read objects in compartment id ocid1.compartment.oc1..models where all "
        "{request.principal.type = 'workload', request.principal.namespace = 'blue', "
        "request.principal.service_account = 'chat', request.principal.cluster_id = 'ocid1.cluster.oc1.iad.c', "
        "target.bucket.name = 'models', target.object.name = /llama/3.1/*/}"
    )
    assert parse(str(STATEMENT)) == STATEMENT


def test_a_service_account_reads_its_own_prefix() -> None:
    assert STATEMENT.allows("read", "objects", THERE, REQUEST)
    assert STATEMENT.allows("inspect", "objects", THERE, REQUEST)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("request.principal.namespace", "red"),
        ("request.principal.service_account", "default"),
        ("request.principal.cluster_id", "ocid1.cluster.oc1.iad.other"),
        ("request.principal.type", "user"),
        ("target.bucket.name", "secrets"),
        ("target.object.name", "llama/3.10/model.safetensors"),
        ("target.object.name", "llama/3.1"),
        ("target.object.name", "qwen/llama/3.1/model.safetensors"),
        ("target.object.name", "llama/3x1/model.safetensors"),
    ],
)
def test_nothing_else_is_read(variable: str, value: str) -> None:
    assert not STATEMENT.allows("read", "objects", THERE, {**REQUEST, variable: value})


@pytest.mark.parametrize("variable", sorted(REQUEST))
def test_a_request_that_lacks_a_variable_is_refused(variable: str) -> None:
    """So is listing a bucket: it names no object."""
    assert not STATEMENT.allows("read", "objects", THERE, {k: v for k, v in REQUEST.items() if k != variable})


@pytest.mark.parametrize(("verb", "resource"), [("use", "objects"), ("manage", "objects"), ("read", "buckets")])
def test_it_writes_nothing(verb: str, resource: str) -> None:
    assert not STATEMENT.allows(verb, resource, THERE, REQUEST)


def test_it_is_of_one_compartment() -> None:
    assert not STATEMENT.allows("read", "objects", "compartment id ocid1.compartment.oc1..other", REQUEST)
    assert not STATEMENT.allows("read", "objects", "tenancy", REQUEST)


def test_people_use_one_cluster() -> None:
    statement = use_cluster(group="ocid1.group.oc1..g", cluster_id=CLUSTER, compartment_id="ocid1.compartment.oc1..c")
    where = "compartment id ocid1.compartment.oc1..c"
    mine = ("ocid1.group.oc1..g",)
    assert parse(str(statement)) == statement
    assert statement.allows("use", "clusters", where, {"target.cluster.id": CLUSTER}, mine)
    assert not statement.allows("use", "clusters", where, {"target.cluster.id": CLUSTER}, ("ocid1.group.oc1..h",))
    assert not statement.allows("manage", "clusters", where, {"target.cluster.id": CLUSTER}, mine)
    assert not statement.allows("use", "clusters", where, {"target.cluster.id": "ocid1.cluster.oc1.iad.d"}, mine)


@pytest.mark.parametrize(
    "text",
    [
        "Allow any-user to destroy objects in tenancy",
        "Allow any-user to read objects in tenancy where request.principal.namespace",
        "Allow any-user to read objects in tenancy where all {a = 'b' c = 'd'}",
        "Allow any-user to read objects in tenancy where all {a = 'b', any {c = 'd'}}",
        "Deny any-user to read objects in tenancy",
        "Allow dynamic-group d to read objects in tenancy",
        "Allow any-user to read objects",
    ],
)
def test_what_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)


def test_any_and_not_are_understood() -> None:
    text = "allow any-user to read objects in tenancy where any {target.bucket.name = 'a', target.bucket.name != 'b'}"
    statement = parse(text)
    assert statement.allows("read", "objects", THERE, {"target.bucket.name": "c"})
    assert not statement.allows("read", "objects", THERE, {"target.bucket.name": "b"})


NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True)


@given(NAMES, NAMES, NAMES, st.lists(NAMES, max_size=3).map("/".join))
def test_every_statement_reads_back(namespace: str, account: str, bucket: str, prefix: str) -> None:
    statement = read_objects(
        namespace=namespace,
        account=account,
        cluster_id="{cluster}",
        compartment_id="ocid1.compartment.oc1..c",
        bucket=bucket,
        prefix=prefix,
    )
    assert parse(str(statement)) == statement


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("zero compute-core quotas in compartment blue", True),
        ("set compute-core quota standard-e4-core-count to 10 in compartment team:blue", True),
        ("unset compute quotas a, b in tenancy", True),
        ("zero compute-core quotas", False),
        ("set compute-core quota x in compartment blue", False),
        ("give compute-core quotas in compartment blue", False),
    ],
)
def test_quota_policies(text: str, right: bool) -> None:
    assert is_quota(text) is right
