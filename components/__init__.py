"""Pulumi components: they register what a `Plan` decided and decide nothing."""

from components.inference_service import InferenceService
from components.kubernetes_object import KubernetesObject
from components.model import Model
from components.node_pool import NodePool
from components.serving_runtime import ServingRuntime
from components.stack import Deployed, deploy

__all__ = [
    "Deployed",
    "InferenceService",
    "KubernetesObject",
    "Model",
    "NodePool",
    "ServingRuntime",
    "deploy",
]
