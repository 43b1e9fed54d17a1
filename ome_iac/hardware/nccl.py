"""NCCL's environment on a shape's cluster network."""

from __future__ import annotations

import functools
from typing import Literal

from pydantic import BaseModel, ConfigDict

from ome_iac.hardware.rows import Shape
from ome_iac.hardware.tables import read_table
from ome_iac.problems import Problem, ProblemsError

Mode = Literal["host", "vf"]


class NcclParameters(BaseModel):
    """What Oracle recommends for a shape in host network mode."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hcas: tuple[str, ...]
    exact: bool = True
    environment: dict[str, str]
    note: tuple[str, ...] = ()


@functools.cache
def nccl_parameters() -> dict[str, NcclParameters]:
    """The parameters by shape; a shape without a cluster network, or without published ones, has none."""
    return {name: NcclParameters(**row) for name, row in read_table("nccl.yaml").items()}


def nccl_environment(shape: Shape, mode: Mode) -> dict[str, str]:
    """The environment of a pod whose GPUs talk over the cluster network, sorted by name.

    `host` is a pod on the host's network with the node's HCAs, `vf` one with SR-IOV virtual functions, which are named
    anew in every pod. Raises ProblemsError where the shape has no such mode.
    """
    parameters = nccl_parameters().get(shape.name)
    if shape.rdma is None or parameters is None:
        lack = "has no cluster network" if shape.rdma is None else "has no published NCCL parameters"
        known = "shapes that have: " + ", ".join(sorted(nccl_parameters()))
        raise ProblemsError([Problem("", "", f"{shape.name} {lack}", known)])
    if mode == "vf" and not shape.rdma.virtual_functions:
        what = f"{shape.name} has no RDMA virtual functions on OKE"
        raise ProblemsError([Problem("", "", what, "use the host network")])
    hcas = "mlx5" if mode == "vf" else ("=" if parameters.exact else "") + ",".join(parameters.hcas)
    return dict(sorted({**parameters.environment, "NCCL_IB_HCA": hcas}.items()))
