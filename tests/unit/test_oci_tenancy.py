"""What a tenancy is asked, what its answers change, and that they are kept."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import oci
import pytest

from ome_iac.lookups.oci_tenancy import SdkTenancy, ask, recorded, save
from ome_iac.planning.oci.plan import OciPlan
from ome_iac.planning.oci.planner import plan_oci
from ome_iac.planning.oci.tenancy import HostCapacity, Questions, TenancyFacts, questions
from ome_iac.problems import Problem, ProblemsError
from tests.engine.oci_stack import ORACLE_LINUX, PRODUCTION, UBUNTU, stack_of

DOMAINS = [f"Uocm:US-ASHBURN-AD-{number}" for number in (1, 2, 3)]
CPU, RDMA = "ocid1.image.oc1.iad.cpu", "ocid1.image.oc1.iad.rdma"


class Answers:
    """A tenancy that knows everything at once."""

    def availability_domains(self, tenancy_id: str) -> list[str]:
        assert tenancy_id == "ocid1.tenancy.oc1..main"
        return list(reversed(DOMAINS))

    def kubernetes_versions(self) -> list[str]:
        return ["v1.34.1", "v1.33.1"]

    def image_name(self, image_id: str) -> str | None:
        return {CPU: ORACLE_LINUX, RDMA: UBUNTU}.get(image_id)

    def capacity(self, tenancy_id: str, domain: str, shapes: list[str]) -> list[HostCapacity]:
        return [HostCapacity(shape=shape, domain=domain, status="AVAILABLE", available=12) for shape in shapes]


def facts(**changes: Any) -> TenancyFacts:
    stack, _ = stack_of(PRODUCTION)
    wanted = questions(stack)
    assert wanted is not None
    return ask(wanted, Answers()).model_copy(update=changes)


def plan(text: str, answered: TenancyFacts) -> tuple[OciPlan | None, list[Problem]]:
    stack, problems = stack_of(text)
    return plan_oci(stack, problems, tenancy=answered), problems


def test_what_is_asked_is_what_the_stack_names() -> None:
    stack, _ = stack_of(PRODUCTION)
    assert questions(stack) == Questions(
        region="us-ashburn-1",
        tenancy_id="ocid1.tenancy.oc1..main",
        images=(CPU, RDMA),
        hosts=(("BM.GPU.H100.8", DOMAINS[0]),),
    )
    nameless, _ = stack_of(PRODUCTION.replace("    tenancyId: ocid1.tenancy.oc1..main\n", ""))
    assert questions(nameless) is None


def test_answers_are_kept_as_they_were(tmp_path: Path) -> None:
    assert recorded(tmp_path) is None
    save(facts(), tmp_path)
    first = (tmp_path / "oci.lock").read_bytes()
    assert recorded(tmp_path) == facts()
    save(facts(), tmp_path)
    assert (tmp_path / "oci.lock").read_bytes() == first
    (tmp_path / "oci.lock").write_text("{}")
    with pytest.raises(ProblemsError, match="remove it and ask anew"):
        recorded(tmp_path)


def test_good_answers_are_notes(tmp_path: Path) -> None:
    planned, problems = plan(PRODUCTION, facts())
    assert problems == []
    assert planned is not None
    notes = {pool.name: pool.notes for pool in planned.pools}
    assert notes == {"h100": (f"{DOMAINS[0]} had 12 free BM.GPU.H100.8 when asked",), "system": ()}
    nameless = PRODUCTION.replace(f"  imageName: {ORACLE_LINUX}\n", "")
    planned, problems = plan(nameless, facts())
    assert planned is not None
    assert not any("imageName is not given" in note for pool in planned.pools for note in pool.notes)


def test_hosts_that_are_lacking_just_now_are_a_note_too() -> None:
    empty = HostCapacity(shape="BM.GPU.H100.8", domain=DOMAINS[0], status="OUT_OF_HOST_CAPACITY", available=0)
    planned, problems = plan(PRODUCTION, facts(capacity=(empty,)))
    assert problems == []
    assert planned is not None
    assert any("may have to wait" in note for pool in planned.pools for note in pool.notes)


@pytest.mark.parametrize(
    ("changes", "path", "what"),
    [
        ({"kubernetes_versions": ("v1.33.1",)}, "spec.create.kubernetesVersion", "does not offer v1.34.1"),
        ({"availability_domains": tuple(DOMAINS[1:])}, "spec.availabilityDomain", f"there is no {DOMAINS[0]}"),
        ({"images": {CPU: ORACLE_LINUX, RDMA: None}}, "spec.imageId", "there is no such image"),
        ({"images": {CPU: ORACLE_LINUX, RDMA: "Another-One"}}, "spec.imageName", "the image is called Another-One"),
        (
            {
                "capacity": (
                    HostCapacity(
                        shape="BM.GPU.H100.8", domain=DOMAINS[0], status="HARDWARE_NOT_SUPPORTED", available=None
                    ),
                    HostCapacity(shape="BM.GPU.H100.8", domain=DOMAINS[1], status="AVAILABLE", available=3),
                )
            },
            "spec.availabilityDomain",
            "has no BM.GPU.H100.8 at all",
        ),
    ],
)
def test_answers_that_speak_against_the_stack(changes: dict[str, Any], path: str, what: str) -> None:
    planned, problems = plan(PRODUCTION, facts(**changes))
    assert planned is None
    found = [problem for problem in problems if problem.path.endswith(path)]
    assert any(what in problem.what and problem.remedy for problem in found), problems


def test_an_image_that_is_named_by_the_tenancy_alone_is_checked_too() -> None:
    nameless = PRODUCTION.replace(f"  imageName: {ORACLE_LINUX}\n", "")
    wrong = {CPU: ORACLE_LINUX.replace("1.34.1", "1.33.1"), RDMA: UBUNTU}
    _, problems = plan(nameless, facts(images=wrong))
    assert any("has Kubernetes v1.33.1" in problem.what for problem in problems)


@pytest.fixture
def sdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The SDK's clients replaced by ones that answer, and a configuration file for them."""
    config, key = tmp_path / "config", tmp_path / "key.pem"
    key.touch()
    lines = ["[DEFAULT]", "user=ocid1.user.oc1..a", f"fingerprint={':'.join(['aa'] * 16)}", f"key_file={key}"]
    config.write_text("\n".join([*lines, "tenancy=ocid1.tenancy.oc1..a", "region=us-phoenix-1", ""]))
    monkeypatch.setenv("OCI_CONFIG_FILE", str(config))
    for name in ("OCI_CLI_AUTH", "OCI_CLI_CONFIG_FILE", "OCI_CLI_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    seen: dict[str, Any] = {}

    class Client:
        def __init__(self, config: dict[str, Any]) -> None:
            seen["region"] = config["region"]

        def list_availability_domains(self, tenancy_id: str) -> Any:
            return SimpleNamespace(data=[SimpleNamespace(name=domain) for domain in DOMAINS])

        def get_cluster_options(self, which: str) -> Any:
            assert which == "all"
            return SimpleNamespace(data=SimpleNamespace(kubernetes_versions=["v1.34.1"]))

        def get_image(self, image_id: str) -> Any:
            if image_id.endswith("gone"):
                raise oci.exceptions.ServiceError(404, "NotAuthorizedOrNotFound", {}, "no image")
            if image_id.endswith("mine"):
                raise oci.exceptions.ServiceError(
                    401, "NotAuthenticated", {}, "who are you", operation_name="get_image"
                )
            return SimpleNamespace(data=SimpleNamespace(display_name=UBUNTU))

        def create_compute_capacity_report(self, details: Any) -> Any:
            seen["report"] = details
            rows = [
                SimpleNamespace(
                    instance_shape=row.instance_shape, availability_status="AVAILABLE", available_count=None
                )
                for row in details.shape_availabilities
            ]
            return SimpleNamespace(data=SimpleNamespace(shape_availabilities=rows))

    monkeypatch.setattr(oci.identity, "IdentityClient", Client)
    monkeypatch.setattr(oci.core, "ComputeClient", Client)
    monkeypatch.setattr(oci.container_engine, "ContainerEngineClient", Client)
    return seen


def test_the_sdk_is_asked_in_the_clusters_region(sdk: dict[str, Any]) -> None:
    wanted = Questions(
        region="us-ashburn-1",
        tenancy_id="ocid1.tenancy.oc1..a",
        images=("ocid1.image.oc1.iad.gone", RDMA),
        hosts=(("BM.GPU.H100.8", DOMAINS[0]), ("BM.GPU.H200.8", "Uocm:US-ASHBURN-AD-9")),
    )
    found = ask(wanted, SdkTenancy("us-ashburn-1"))
    assert sdk["region"] == "us-ashburn-1"
    assert sdk["report"].compartment_id == "ocid1.tenancy.oc1..a"
    assert found.images == {"ocid1.image.oc1.iad.gone": None, RDMA: UBUNTU}
    assert [(row.shape, row.available) for row in found.capacity] == [("BM.GPU.H100.8", None)]


def test_a_refusal_and_missing_credentials_are_problems(sdk: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ProblemsError, match="401-NotAuthenticated to get_image: who are you"):
        SdkTenancy("us-ashburn-1").image_name("ocid1.image.oc1.iad.mine")
    monkeypatch.setenv("OCI_CONFIG_FILE", "/nowhere/config")
    with pytest.raises(ProblemsError, match="no usable credentials"):
        SdkTenancy("us-ashburn-1")
