"""The functions of the `oci` package that programs look things up with, answered from the region that is played."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import Any

import yaml

from ome_iac.rehearsal.providers.oci_region import Region
from ome_iac.rehearsal.providers.package import ProviderError
from ome_iac.rehearsal.providers.values import Value

_REHEARSED = ("getAvailabilityDomains", "getClusterKubeConfig", "getNamespace", "getServices")


def answer(token: str, arguments: Mapping[str, Any], region: Region, name: str) -> Mapping[str, Value]:
    """The function's result; ProviderError for one that is not rehearsed. `name` is the region's."""
    function = token.rpartition(":")[2]
    compartment = arguments.get("compartmentId")
    if function == "getAvailabilityDomains":
        domains = [
            {
                "compartmentId": compartment,
                "id": f"ocid1.availabilitydomain.oc1..{_digest(name, str(number))}",
                "name": f"Rhrs:{name.upper()}-AD-{number}",
            }
            for number in range(1, region.availability_domains + 1)
        ]
        return {"availabilityDomains": domains, "compartmentId": compartment, "id": _digest(token, name)}
    if function == "getNamespace":
        return {"namespace": "rehearsal", "compartmentId": compartment, "id": _digest(token)}
    if function == "getServices":
        return {"services": _services(region, arguments.get("filters") or ()), "id": _digest(token, name)}
    if function == "getClusterKubeConfig":
        cluster = str(arguments.get("clusterId"))
        return {"content": _kubeconfig(cluster), "clusterId": cluster, "id": _digest(token, cluster)}
    raise ProviderError(
        f"{token} is not rehearsed: only {', '.join(_REHEARSED)} are; "
        "give the program what it looks up as configuration"
    )


def _services(region: Region, filters: Any) -> list[dict[str, str]]:
    """Oracle's service networks of a region, by their published names."""
    key = region.key
    found = [
        {
            "id": f"ocid1.service.oc1.{key.lower()}.{_digest(key, label)[:40]}",
            "name": label,
            "description": label,
            "cidrBlock": label.lower().replace(" ", "-"),
        }
        for label in (f"All {key} Services In Oracle Services Network", f"OCI {key} Object Storage")
    ]
    for condition in filters:
        values = condition.get("values") or ()
        matches = re.search if condition.get("regex") else re.fullmatch
        found = [
            service
            for service in found
            if any(
                matches(value if condition.get("regex") else re.escape(value), service[condition["name"]])
                for value in values
            )
        ]
    return found


def _kubeconfig(cluster: str) -> str:
    """As OKE hands it out, with a certificate that is none: nobody is to connect to a rehearsed cluster by it."""
    certificate = base64.b64encode(f"rehearsed certificate of {cluster}\n".encode()).decode()
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "cluster",
                    "cluster": {"server": "https://10.0.0.10:6443", "certificate-authority-data": certificate},
                }
            ],
        }
    )


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:60]
