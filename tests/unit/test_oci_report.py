"""What a person reads of the layers below Kubernetes."""

from __future__ import annotations

from ome_iac.report.oci import oci_lines
from tests.engine.oci_stack import PRODUCTION, plan_of


def test_the_lines_of_a_production_stack() -> None:
    text = "\n".join(oci_lines(plan_of(PRODUCTION)))
    assert (
        text
        == """
[bold]network production[/]   10.0.0.0/16, private
  pods     1,140 of 32,765 addresses in 10.0.128.0/17: h100 4 x 114 + system 6 x 114
  rules    49 in 5 security groups

[bold]cluster production[/]   OKE v1.34.1, us-ashburn-1, private API
  add-ons  CoreDNS v1.11.1, NvidiaGpuPlugin v0.17.3

[bold]nodes h100[/]   managed-rdma, 4 nodes BM.GPU.H100.8, $320.00/h
  in       Uocm:US-ASHBURN-AD-1, Kubernetes v1.34.1, 110 pods a node
  taints   reserved=training:NoSchedule

[bold]nodes system[/]   managed, 3 nodes (2 to 6, the autoscaler decides) VM.Standard.E5.Flex of 8 OCPUs, 64 GB, $1.10/h
  in       Uocm:US-ASHBURN-AD-1, Uocm:US-ASHBURN-AD-2, Uocm:US-ASHBURN-AD-3, Kubernetes v1.34.1, 110 pods a node"""
    )


def test_a_stack_that_makes_nothing_has_no_lines() -> None:
    there = "apiVersion: ome-iac/v1\nkind: NodePool\nmetadata: {name: a}\n"
    there += "spec: {mode: existing, shape: VM.GPU.A10.1, nodes: 1}\n"
    assert list(oci_lines(plan_of(there))) == []
