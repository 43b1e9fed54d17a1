"""Plan, prove and deploy large language models on OKE with Pulumi."""
