"""What a stack makes in OCI below Kubernetes: network, cluster, node pools. Pure: documents in, an `OciPlan` out."""
