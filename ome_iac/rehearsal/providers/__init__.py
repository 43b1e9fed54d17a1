"""Pulumi packages rehearsed without a cloud: `kubernetes` and `oci`, served over gRPC to the real engine."""
