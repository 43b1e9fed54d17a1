// Modules that ship CustomResourceDefinitions. Only files are read from them, each by its own version, and nothing is
// built: that minimal version selection would raise some of them does not matter here.
module ome-iac/tools/cluster/crds

go 1.26

require (
	github.com/cert-manager/cert-manager v1.21.2
	github.com/kedacore/keda/v2 v2.21.0
	github.com/kubeflow/trainer/v2 v2.0.0
	github.com/prometheus-operator/prometheus-operator v0.85.0
	istio.io/api v1.31.4
	knative.dev/serving v0.51.0
	sigs.k8s.io/gateway-api v1.4.0
	sigs.k8s.io/gateway-api-inference-extension v1.2.0
)
