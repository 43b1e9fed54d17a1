"""The rehearsed oci package by itself: what it demands of resources, what it keeps, what it refuses."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ome_iac.problems import ProblemsError
from ome_iac.rehearsal.providers import oci_facts, oci_schema
from ome_iac.rehearsal.providers.diffing import parse
from ome_iac.rehearsal.providers.oci import OciPackage
from ome_iac.rehearsal.providers.oci_errors import ERRORS, fault
from ome_iac.rehearsal.providers.oci_lookups import answer
from ome_iac.rehearsal.providers.oci_records import Records
from ome_iac.rehearsal.providers.oci_region import Region
from ome_iac.rehearsal.providers.package import Connection, Existing, ProviderError, Resource
from ome_iac.rehearsal.providers.values import UNKNOWN

VCN = "oci:Core/vcn:Vcn"
SUBNET = "oci:Core/subnet:Subnet"
GROUP = "oci:Core/networkSecurityGroup:NetworkSecurityGroup"
RULE = "oci:Core/networkSecurityGroupSecurityRule:NetworkSecurityGroupSecurityRule"
CLUSTER = "oci:ContainerEngine/cluster:Cluster"
ADDON = "oci:ContainerEngine/addon:Addon"
POOL = "oci:ContainerEngine/nodePool:NodePool"
RESERVATION = "oci:Core/computeCapacityReservation:ComputeCapacityReservation"
COMPARTMENT = "ocid1.compartment.oc1..a"
REGION = """
key: IAD
availabilityDomains: {domains}
kubernetesVersions: ["1.34"]
hosts: {{other: {hosts}}}
limits: {{}}
quotas: []
"""


class Cloud:
    """A package with its records, without an engine."""

    def __init__(self, folder: Path) -> None:
        self.records = Records(folder / "on-folder" / "oci")
        self.package = OciPackage(self.records)
        self.connection = Connection()

    def problems(self, token: str, inputs: dict[str, Any], old: dict[str, Any] | None = None) -> list[str]:
        resource = Resource(f"urn:{token}", token, "it")
        _, failures = self.package.check(self.connection, resource, old or {}, inputs, None)
        return [failure.reason for failure in failures]

    def make(self, token: str, name: str, inputs: dict[str, Any]) -> str:
        inputs = {"compartmentId": COMPARTMENT, **inputs} if token not in (RULE, ADDON) else inputs
        assert self.problems(token, inputs) == []
        resource = Resource(f"urn:{name}", token, name)
        return self.package.create(self.connection, resource, inputs, 0, preview=False).id

    def update(self, token: str, name: str, identifier: str, inputs: dict[str, Any]) -> None:
        resource, current = Resource(f"urn:{name}", token, name), Existing(identifier, {}, {})
        self.package.update(self.connection, resource, current, {"compartmentId": COMPARTMENT, **inputs}, 0, False)

    def delete(self, token: str, identifier: str) -> None:
        self.package.delete(self.connection, Resource("urn:x", token, "x"), Existing(identifier, {}, {}), 0)

    def held(self) -> int:
        return len(list(self.records))


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


def pool(cluster: str, size: int = 2, shape: str = "BM.GPU.H100.8", **place: Any) -> dict[str, Any]:
    where = {"availabilityDomain": "Uocm:X-AD-1", "subnetId": "ocid1.subnet.oc1..s", **place}
    return {
        "clusterId": cluster,
        "nodeShape": shape,
        "nodeConfigDetails": {"size": size, "placementConfigs": [where]},
    }


def test_the_table_speaks_of_properties_that_there_are() -> None:
    for token, facts in oci_facts.all_facts().items():
        schema = oci_schema.resource(token)
        for pattern in (*facts.values, *facts.references, *(path for group in facts.needs for path in group)):
            properties: Any = schema.inputs
            kind = None
            for part in parse(pattern):
                if part == "*":
                    assert kind is not None, (token, pattern)
                    kind = kind.item
                else:
                    assert part in properties, (token, pattern)
                    kind = properties[part].type
                if kind is not None and kind.kind == "object":
                    properties = oci_schema.nested(schema.module, kind.name)


@pytest.mark.parametrize(
    ("token", "inputs", "says"),
    [
        (
            VCN,
            {"compartmentId": "ocid1.vcn.oc1..a", "cidrBlock": "10.0.0.0/16"},
            "an OCID of a vcn, where one of a compartment or tenancy is wanted",
        ),
        (VCN, {"compartmentId": "mine", "cidrBlock": "10.0.0.0/16"}, '"mine" is no OCID'),
        (VCN, {"compartmentId": COMPARTMENT}, "one of cidrBlocks, cidrBlock, byoipv6cidrDetails is needed"),
        (VCN, {"compartmentId": COMPARTMENT, "cidrBlocks": ["10.0.0.1/16"]}, "10.0.0.1/16 is no IPv4 network"),
        (
            RULE,
            {
                "direction": "UP",
                "protocol": "6",
                "source": "0.0.0.0/0",
                "networkSecurityGroupId": "ocid1.networksecuritygroup.oc1..a",
            },
            '"UP" is not one of INGRESS, EGRESS',
        ),
        (
            CLUSTER,
            {"compartmentId": COMPARTMENT, "vcnId": "ocid1.vcn.oc1..a", "kubernetesVersion": "v1.20.1"},
            "v1.20.1 is not offered",
        ),
        (
            POOL,
            {"compartmentId": COMPARTMENT, **pool("ocid1.cluster.oc1..a", availabilityDomain="Uocm:X-AD-4")},
            "no availability domain Uocm:X-AD-4; it has AD-1, AD-2, AD-3",
        ),
        (
            POOL,
            {"compartmentId": COMPARTMENT, **pool("ocid1.cluster.oc1..a", shape="VM.Standard.E5.Flex")},
            "is flexible: ocpus and memoryInGbs are wanted",
        ),
        (
            POOL,
            {"compartmentId": COMPARTMENT, **pool("ocid1.cluster.oc1..a"), "nodeShapeConfig": {"ocpus": 4}},
            "is not flexible",
        ),
    ],
)
def test_wrong_inputs_are_found_before_anything_is_made(
    cloud: Cloud, token: str, inputs: dict[str, Any], says: str
) -> None:
    [reason] = cloud.problems(token, inputs)
    assert says in reason


def test_what_is_not_known_yet_passes(cloud: Cloud) -> None:
    inputs = {"compartmentId": UNKNOWN, "vcnId": UNKNOWN, "kubernetesVersion": UNKNOWN, "type": UNKNOWN}
    assert cloud.problems(CLUSTER, inputs) == []


def test_versions_go_up_one_minor_at_a_time(cloud: Cloud) -> None:
    def step(before: str, after: str) -> list[str]:
        base = {"compartmentId": COMPARTMENT, "vcnId": "ocid1.vcn.oc1..a"}
        return cloud.problems(CLUSTER, {**base, "kubernetesVersion": after}, {**base, "kubernetesVersion": before})

    assert step("v1.33.1", "v1.34.1") == []
    assert "more than one minor version" in step("v1.32.1", "v1.34.1")[0]
    assert "cannot go back" in step("v1.34.1", "v1.33.1")[0]


def test_what_names_a_resource_that_is_gone_is_refused(cloud: Cloud) -> None:
    network = cloud.make(VCN, "net", {"cidrBlocks": ["10.0.0.0/16"]})
    cloud.delete(VCN, network)
    with pytest.raises(ProviderError, match="404-NotAuthorizedOrNotFound"):
        cloud.make(SUBNET, "sub", {"vcnId": network, "cidrBlock": "10.0.0.0/24"})
    cloud.make(SUBNET, "elsewhere", {"vcnId": "ocid1.vcn.oc1.iad.there", "cidrBlock": "10.0.0.0/24"})


def test_subnets_lie_in_their_network_and_beside_one_another(cloud: Cloud) -> None:
    network = cloud.make(VCN, "net", {"cidrBlocks": ["10.0.0.0/16"]})
    cloud.make(SUBNET, "one", {"vcnId": network, "cidrBlock": "10.0.0.0/24"})
    with pytest.raises(ProviderError, match=r"10\.1\.0\.0/24 is outside"):
        cloud.make(SUBNET, "two", {"vcnId": network, "cidrBlock": "10.1.0.0/24"})
    with pytest.raises(ProviderError, match=r"overlaps 10\.0\.0\.0/24"):
        cloud.make(SUBNET, "three", {"vcnId": network, "cidrBlock": "10.0.0.128/25"})


def test_deleting_follows_what_holds_on_to_what(cloud: Cloud) -> None:
    network = cloud.make(VCN, "net", {"cidrBlocks": ["10.0.0.0/16"]})
    group = cloud.make(GROUP, "group", {"vcnId": network})
    cloud.make(
        RULE, "rule", {"networkSecurityGroupId": group, "direction": "INGRESS", "protocol": "6", "source": "10.0.0.0/8"}
    )
    cluster = cloud.make(CLUSTER, "oke", {"vcnId": network, "kubernetesVersion": "v1.34.1"})
    cloud.make(ADDON, "dns", {"clusterId": cluster, "addonName": "CoreDNS", "removeAddonResourcesOnDelete": True})
    cloud.make(POOL, "pool", pool(cluster))
    with pytest.raises(ProviderError, match=r"409-IncorrectState.*is still used by"):
        cloud.delete(VCN, network)
    assert cloud.held() == 6
    cloud.delete(CLUSTER, cluster)
    assert cloud.held() == 3  # its add-on and its pool went with it
    cloud.delete(GROUP, group)
    assert cloud.held() == 1
    cloud.delete(VCN, network)
    assert cloud.held() == 0


def test_nodes_are_no_newer_than_their_cluster(cloud: Cloud) -> None:
    cluster = cloud.make(CLUSTER, "oke", {"vcnId": "ocid1.vcn.oc1..a", "kubernetesVersion": "v1.33.1"})
    with pytest.raises(ProviderError, match=r"v1\.34\.1 are newer than their cluster's v1\.33\.1"):
        cloud.make(POOL, "pool", {**pool(cluster), "kubernetesVersion": "v1.34.1"})


def test_nodes_on_a_reservation_take_none_of_the_regions(tmp_path: Path) -> None:
    (tmp_path / "region.yaml").write_text(REGION.format(domains=1, hosts="[4]"))
    cloud = Cloud(tmp_path)
    configs = [{"instanceShape": "BM.GPU.H100.8", "reservedCount": "3"}]
    reservation = cloud.make(RESERVATION, "kept", {"availabilityDomain": "AD-1", "instanceReservationConfigs": configs})
    there = "ocid1.cluster.oc1..there"
    made = cloud.make(POOL, "reserved", pool(there, 2, capacityReservationId=reservation))
    with pytest.raises(ProviderError, match=r"has 1 BM\.GPU\.H100\.8 left, 2 are wanted"):
        cloud.make(POOL, "others", pool(there, 2))
    with pytest.raises(ProviderError, match=r"the capacity reservation has 3 BM\.GPU\.H100\.8 left, 4 are wanted"):
        cloud.update(POOL, "reserved", made, pool(there, 4, capacityReservationId=reservation))
    cloud.update(POOL, "reserved", made, pool(there, 3, capacityReservationId=reservation))
    cloud.make(POOL, "others", pool(there, 1))


def test_nodes_are_spread_over_the_domains(tmp_path: Path) -> None:
    (tmp_path / "region.yaml").write_text(REGION.format(domains=2, hosts="[2, 1]"))
    cloud = Cloud(tmp_path)
    inputs = pool("ocid1.cluster.oc1..there", 3)
    inputs["nodeConfigDetails"]["placementConfigs"] = [
        {"availabilityDomain": f"AD-{number}", "subnetId": "ocid1.subnet.oc1..s"} for number in (1, 2)
    ]
    made = cloud.make(POOL, "spread", inputs)
    inputs["nodeConfigDetails"]["size"] = 4
    with pytest.raises(ProviderError, match=r"AD-2 has 1 BM\.GPU\.H100\.8 left, 2 are wanted"):
        cloud.update(POOL, "spread", made, inputs)


def test_the_lookups() -> None:
    region = Region.load(Path("nowhere"))
    found = answer(
        "oci:Core/getServices:getServices",
        {"filters": [{"name": "name", "values": ["All .* Services In Oracle Services Network"], "regex": True}]},
        region,
        "us-ashburn-1",
    )
    assert [service["cidrBlock"] for service in found["services"]] == ["all-iad-services-in-oracle-services-network"]
    config = answer("x:y:getClusterKubeConfig", {"clusterId": "ocid1.cluster.oc1..a"}, region, "us-ashburn-1")
    assert "certificate-authority-data" in config["content"]
    with pytest.raises(ProviderError, match="is not rehearsed"):
        answer("oci:Core/getImages:getImages", {}, region, "us-ashburn-1")


def test_a_region_file_that_is_wrong_says_all_of_it(tmp_path: Path) -> None:
    wrong = tmp_path / "region.yaml"
    wrong.write_text("key: IAD\navailabilityDomain: 3\n")
    with pytest.raises(ProblemsError) as failed:
        Region.load(wrong)
    assert {problem.path for problem in failed.value.problems} >= {"availabilityDomain", "hosts", "limits"}
    assert all(problem.where == str(wrong) for problem in failed.value.problems)
    wrong.write_text("{")
    with pytest.raises(ProblemsError, match="cannot be read"):
        Region.load(wrong)


def test_errors_are_a_sentence_and_faults_carry_them() -> None:
    for name, error in ERRORS.items():
        sentence = error.sentence("Here.")
        assert sentence.startswith(f"OCI answered {error.status}-{error.code}: ")
        assert "\n" not in sentence
        assert fault(name, times=2) == {"error": error.sentence(), "times": 2, "delaySeconds": 0.0, "after": False}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["make", "resize", "delete"]), st.integers(1, 5)),
        max_size=12,
    )
)
def test_no_order_of_changes_takes_more_hosts_than_there_are(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("cloud")
    (folder / "region.yaml").write_text(REGION.format(domains=1, hosts="[6]"))
    there = "ocid1.cluster.oc1..there"
    ids: dict[str, str] = {}
    for name, step, size in steps:
        cloud = Cloud(folder)  # as after a restart
        taken = {record.urn: record.inputs["nodeConfigDetails"]["size"] for record in cloud.records}
        others = sum(count for urn, count in taken.items() if urn != f"urn:{name}")
        full = pytest.raises(ProviderError, match="Out of host capacity") if others + size > 6 else nullcontext()
        if step == "make":
            with full:
                ids[name] = cloud.make(POOL, name, pool(there, size))
        elif step == "resize" and name in ids:
            with full:
                cloud.update(POOL, name, ids[name], pool(there, size))
        elif name in ids:
            cloud.delete(POOL, ids.pop(name))
        after = sum(record.inputs["nodeConfigDetails"]["size"] for record in cloud.records)
        assert after <= 6
        assert cloud.held() == len(ids)
