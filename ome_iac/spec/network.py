"""The network under a cluster that the stack makes: a VCN of its own cut from one CIDR, or one that is there."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from ome_iac.spec.document import Part

Ocid = Annotated[
    str,
    StringConstraints(pattern=r"^ocid1\.[a-z0-9]+\.[a-z0-9]*\.[a-z0-9-]*\.\S+$"),
    Field(description="an OCID: ocid1.<type>.<realm>.[region].<id>"),
]
"""An Oracle Cloud identifier."""


def _network(text: str) -> str:
    try:
        ipaddress.IPv4Network(text)
    except ValueError as error:
        raise ValueError(f"is no IPv4 network ({error})") from None
    return text


Cidr = Annotated[str, AfterValidator(_network), Field(description="an IPv4 network: 10.0.0.0/16")]
"""An IPv4 network whose host bits are zero."""


class ManagedNetwork(Part):
    """A VCN that this stack makes: subnets for API, workers, pods, load balancers and storage, cut from `cidr`."""

    mode: Literal["managed"]
    cidr: Cidr = "10.0.0.0/16"
    pod_cidr: Cidr | None = Field(
        default=None, description="a second block for pods alone; left out: the upper half of cidr"
    )
    load_balancers: Literal["private", "public"] = Field(
        default="private", description="whether Services may have addresses of the internet"
    )


class ExistingNetwork(Part):
    """A VCN with the subnets that OKE needs; its routes and rules are somebody else's."""

    mode: Literal["existing"]
    vcn_id: Ocid
    api_subnet_id: Ocid
    worker_subnet_id: Ocid
    pod_subnet_id: Ocid
    pod_subnet_cidr: Cidr | None = Field(default=None, description="its size is checked against the pools where given")
    load_balancer_subnet_id: Ocid
    storage_subnet_id: Ocid | None = None
    api_nsg_ids: tuple[Ocid, ...] = ()
    worker_nsg_ids: tuple[Ocid, ...] = ()
    pod_nsg_ids: tuple[Ocid, ...] = ()
    load_balancer_nsg_ids: tuple[Ocid, ...] = ()
