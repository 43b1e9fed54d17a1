"""Pulumi components: they register what a `Plan` decided and decide nothing."""

from components.gpu_node_pool import GpuNodePool
from components.inference_service import InferenceService
from components.kubernetes_object import KubernetesObject
from components.model import Model
from components.serving_runtime import ServingRuntime
from components.stack import Deployed, deploy

__all__ = [
    "Deployed",
    "GpuNodePool",
    "InferenceService",
    "KubernetesObject",
    "Model",
    "ServingRuntime",
    "deploy",
]
