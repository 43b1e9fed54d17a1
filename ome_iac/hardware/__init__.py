"""The one table of GPUs and the one table of OCI shapes; nothing about either stands anywhere else.

gpus.yaml, shapes.yaml and nccl.yaml are the tables, sources.yaml says where each fact is from.
"""

from ome_iac.hardware.nccl import NcclParameters, nccl_environment, nccl_parameters
from ome_iac.hardware.rows import GIB, DedicatedUnits, Gpu, Nvme, Price, Rdma, Shape, Source
from ome_iac.hardware.tables import find_gpu, gpus, shapes, sources

__all__ = [
    "GIB",
    "DedicatedUnits",
    "Gpu",
    "NcclParameters",
    "Nvme",
    "Price",
    "Rdma",
    "Shape",
    "Source",
    "find_gpu",
    "gpus",
    "nccl_environment",
    "nccl_parameters",
    "shapes",
    "sources",
]
