"""A whole deployment on one machine: the real Pulumi engine, our own providers, a local Kubernetes control plane."""
