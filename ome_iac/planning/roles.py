"""From the way that was taken to the replicas of one role: command, place, memory and what they ask of a node."""

from __future__ import annotations

from ome_iac.models.metadata import ModelMetadata
from ome_iac.planning.candidates import Candidate
from ome_iac.planning.plan import RolePlan, Volume
from ome_iac.planning.serving.decisions import RoleName
from ome_iac.planning.workload import host_resources, startup_of
from ome_iac.runtimes.catalog import Task
from ome_iac.runtimes.engines import Launch


def role_plan(
    role: RoleName,
    chosen: Candidate,
    replicas: int,
    *,
    model: ModelMetadata,
    task: Task,
    volume: Volume,
    served_name: str,
    scratch_bytes: int,
) -> RolePlan:
    """The role as it runs on one node; what a group of nodes or a pair adds comes later."""
    engine, shape, ledger = chosen.engine, chosen.pool.shape, chosen.ledger
    launch = Launch(
        model=model,
        task=task,
        gpu=shape.gpu,
        split=chosen.split,
        context_length=ledger.context_length,
        served_name=served_name,
        model_path=volume.mount or volume.source,
        revision=model.revision if volume.kind == "hub" else None,
        tuning=chosen.tuning,
    )
    return RolePlan(
        role=role,
        runtime=engine.name,
        image=engine.image(shape.gpu),
        command=engine.command(launch),
        environment=engine.environment(launch),
        secrets=engine.secrets,
        port=engine.port,
        health_path=engine.health_path,
        pool=chosen.pool.name,
        gpu=shape.gpu.name,
        split=chosen.split,
        nodes=chosen.nodes,
        tuning=chosen.tuning,
        replicas=replicas,
        max_surge=0,
        memory=ledger,
        startup=startup_of(model, volume, shape),
        host=host_resources(shape, chosen.gpus_per_node, scratch_bytes),
        cost_per_hour=replicas * chosen.cost_per_hour,
    )
