"""Asks an OCI tenancy what a stack needs to know of it, and keeps the answers in a file beside the stack's lock."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from ome_iac.planning.oci.tenancy import HostCapacity, Questions, TenancyFacts
from ome_iac.problems import Problem, ProblemsError

FILE = "oci.lock"
_CREDENTIALS = "run oci setup config, or set OCI_CLI_AUTH to instance_principal or resource_principal"


class Tenancy(Protocol):
    """The few calls of the OCI SDK that are made; all but the report are reads, and the report makes nothing."""

    def availability_domains(self, tenancy_id: str) -> list[str]:
        """Names of the region's domains, as the tenancy sees them."""

    def kubernetes_versions(self) -> list[str]:
        """Versions that OKE makes clusters with."""

    def image_name(self, image_id: str) -> str | None:
        """An image's display name; None where there is none that may be read."""

    def capacity(self, tenancy_id: str, domain: str, shapes: list[str]) -> list[HostCapacity]:
        """A compute capacity report."""


def ask(questions: Questions, tenancy: Tenancy) -> TenancyFacts:
    """The answers, in a fixed order. Raises ProblemsError where the tenancy cannot be asked."""
    by_domain: dict[str, list[str]] = defaultdict(list)
    for shape, domain in questions.hosts:
        by_domain[domain].append(shape)
    domains = sorted(tenancy.availability_domains(questions.tenancy_id))
    capacity = [
        found
        for domain, shapes in sorted(by_domain.items())
        if domain in domains
        for found in tenancy.capacity(questions.tenancy_id, domain, sorted(shapes))
    ]
    return TenancyFacts(
        region=questions.region,
        availability_domains=tuple(domains),
        kubernetes_versions=tuple(sorted(tenancy.kubernetes_versions())),
        images={image: tenancy.image_name(image) for image in questions.images},
        capacity=tuple(sorted(capacity, key=lambda found: (found.shape, found.domain))),
    )


def save(facts: TenancyFacts, folder: Path) -> None:
    """Record the answers in a stack's folder; the same answers are the same bytes."""
    text = json.dumps(facts.model_dump(by_alias=True), indent=2, sort_keys=True) + "\n"
    (folder / FILE).write_text(text, encoding="utf-8")


def recorded(folder: Path) -> TenancyFacts | None:
    """What was recorded; None where nothing was. Raises ProblemsError for a file that is not ours any more."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        return TenancyFacts.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        what = f"cannot be read: {str(error).splitlines()[0]}"
        raise ProblemsError([Problem(str(path), "", what, "remove it and ask anew")]) from error


class SdkTenancy:
    """The tenancy behind the OCI SDK, by the configuration and the environment that the `oci` command uses."""

    def __init__(self, region: str) -> None:
        import oci  # type: ignore[import-untyped]

        self._sdk = oci
        self._options = _credentials(oci, region)

    def availability_domains(self, tenancy_id: str) -> list[str]:
        """See `Tenancy`."""
        client = self._client(self._sdk.identity.IdentityClient)
        return [str(found.name) for found in self._call(client.list_availability_domains, tenancy_id)]

    def kubernetes_versions(self) -> list[str]:
        """See `Tenancy`."""
        client = self._client(self._sdk.container_engine.ContainerEngineClient)
        return [str(version) for version in self._call(client.get_cluster_options, "all").kubernetes_versions]

    def image_name(self, image_id: str) -> str | None:
        """See `Tenancy`."""
        try:
            return str(self._client(self._sdk.core.ComputeClient).get_image(image_id).data.display_name)
        except self._sdk.exceptions.ServiceError as error:
            if error.status == 404:
                return None
            raise ProblemsError([_refused(error)]) from error

    def capacity(self, tenancy_id: str, domain: str, shapes: list[str]) -> list[HostCapacity]:
        """See `Tenancy`."""
        models = self._sdk.core.models
        details = models.CreateComputeCapacityReportDetails(
            compartment_id=tenancy_id,
            availability_domain=domain,
            shape_availabilities=[
                models.CreateCapacityReportShapeAvailabilityDetails(instance_shape=shape) for shape in shapes
            ],
        )
        report = self._call(self._client(self._sdk.core.ComputeClient).create_compute_capacity_report, details)
        return [
            HostCapacity(
                shape=found.instance_shape,
                domain=domain,
                status=found.availability_status,
                available=found.available_count,
            )
            for found in report.shape_availabilities
        ]

    def _client(self, kind: Any) -> Any:
        return kind(**self._options)

    def _call(self, method: Any, *arguments: Any) -> Any:
        try:
            return method(*arguments).data
        except self._sdk.exceptions.ServiceError as error:
            raise ProblemsError([_refused(error)]) from error
        except (self._sdk.exceptions.RequestException, OSError) as error:
            raise ProblemsError([Problem("OCI", "", f"cannot be reached: {error}", "")]) from error


def _refused(error: Any) -> Problem:
    what = f"answered {error.status}-{error.code} to {error.operation_name}: {error.message}"
    return Problem("OCI", "", what, "check the policies of whoever asks")


def _credentials(oci: Any, region: str) -> dict[str, Any]:
    kind = os.environ.get("OCI_CLI_AUTH", "api_key")
    path = os.environ.get("OCI_CLI_CONFIG_FILE") or os.environ.get("OCI_CONFIG_FILE") or oci.config.DEFAULT_LOCATION
    try:
        if kind == "instance_principal":
            return {"config": {"region": region}, "signer": oci.auth.signers.InstancePrincipalsSecurityTokenSigner()}
        if kind == "resource_principal":
            return {"config": {"region": region}, "signer": oci.auth.signers.get_resource_principals_signer()}
        profile = os.environ.get("OCI_CLI_PROFILE", oci.config.DEFAULT_PROFILE)
        return {"config": {**oci.config.from_file(path, profile), "region": region}}
    except Exception as error:  # the SDK's signers raise whatever they meet
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ProblemsError([Problem("OCI", "", f"no usable credentials: {reason}", _CREDENTIALS)]) from error
