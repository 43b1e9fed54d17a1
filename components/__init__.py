"""Pulumi components: they register what a `Plan` decided and decide nothing."""

from components.capacity_reservation import CapacityReservation, Queues
from components.dedicated_ai_cluster import DedicatedAICluster
from components.inference_service import InferenceService
from components.kubernetes_object import KubernetesObject
from components.model import Model
from components.node_pool import NodePool
from components.serving_runtime import ServingRuntime
from components.stack import Deployed, deploy
from components.tenant import Tenant

__all__ = [
    "CapacityReservation",
    "DedicatedAICluster",
    "Deployed",
    "InferenceService",
    "KubernetesObject",
    "Model",
    "NodePool",
    "Queues",
    "ServingRuntime",
    "Tenant",
    "deploy",
]
