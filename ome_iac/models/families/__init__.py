"""From config and tensor headers to exact facts: families are tables and small functions."""

from ome_iac.models.families.describing import derived_tensors, describe
from ome_iac.models.families.description import Description

__all__ = ["Description", "derived_tensors", "describe"]
