"""A stack as OME's own documents (ome.io/v1beta1), for clusters that run its operator: the selection filled in.

Each service becomes a ServingRuntime of its own, whose pods are those that we would make, and an InferenceService that
names it. OME mounts `spec.storage.path` of the model as a folder of the node, in a volume that it gives the model's
name, and appends it without looking (pkg/controller/v1beta1/inferenceservice/components/base.go at 0b063e00); the
accounts, Services and scaling of the pods are its own. That a group has one pod more than `worker.size` is read from
its runtimes for two nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ome_iac.manifests import service_objects
from ome_iac.manifests.pods import Manifest
from ome_iac.planning.names import object_name
from ome_iac.planning.plan import Plan, RolePlan, ServicePlan
from ome_iac.problems import Problem, ProblemsError
from ome_iac.spec.components import Component, EngineComponent, PodFields
from ome_iac.spec.document import OME
from ome_iac.spec.models import BaseModel
from ome_iac.spec.runtimes import ServingRuntime
from ome_iac.spec.services import InferenceService
from ome_iac.spec.stack import AnyModel, Stack

RUNNER = "ome-container"
"""The container that OME injects the model into."""
FORMAT, FRAMEWORK = "safetensors", "transformers"
"""Of a model of which nobody says: OME's definitions want both in a runtime's entry."""
WORKLOADS = ("Deployment", "LeaderWorkerSet")
OMES_OWN = ("serviceAccountName",)
"""Fields of our pods that name objects which OME does not make."""
PODS = {
    *(field.alias or name for name, field in PodFields.model_fields.items()),
    *("runner", "leader", "worker", "labels", "annotations"),
}
"""Fields of a service's component that its runtime has taken up: written twice, OME would join their arguments."""


def model_documents(plan: Plan, documents: Stack) -> list[Manifest]:
    """The models as declared; what OME would read of the weights, and matches runtimes by, stands written."""
    planned = {(service.namespace, service.name) for service in plan.services}
    services = [one for one in documents.of(InferenceService) if (one.namespace, one.name) in planned]
    used = {id(documents.model_of(service)) for service in services}
    return [_model(plan, model) for model in documents.models if id(model) in used]


def ome_objects(plan: Plan, documents: Stack) -> dict[str, list[Manifest]]:
    """By file, the documents of each service; raises ProblemsError where OME has no way to say what was decided."""
    declared = {(document.namespace, document.name): document for document in documents.of(InferenceService)}
    problems = [*_of_the_stack(plan)]
    found: dict[str, list[Manifest]] = {}
    for service in plan.services:
        document = declared[service.namespace, service.name]
        model = documents.model_of(document)
        assert model is not None, service.name
        against = list(_refusals(service, document, model))
        problems += against
        if not against:
            made = _service(plan, service, document, model)
            problems += _volume_clashes(document, model, made)
            found[f"{service.namespace}/{service.name}.yaml"] = made
    if problems:
        raise ProblemsError(problems)
    return found


def _of_the_stack(plan: Plan) -> Iterable[Problem]:
    remedy = "render target objects, or take it out of this stack"
    for kind, names in (
        ("TrafficSplit", [route.name for route in plan.splits]),
        ("ExternalService", [external.name for external in plan.externals]),
    ):
        for name in names:
            yield Problem("", f"{kind}/{name}", "is nothing that OME has a document for", remedy)


def _refusals(service: ServicePlan, document: InferenceService, model: AnyModel) -> Iterable[Problem]:
    """What was decided for a service and cannot be said to OME."""
    remedy = "render target objects"
    if service.router and service.router.kind == "endpoint-picker":
        yield document.problem("spec.router", "is an endpoint picker behind a gateway, which OME does not run", remedy)
    if service.pattern == "serverless":
        yield document.problem("spec.intent.pattern", "is serverless, which target ome cannot write yet", remedy)
    if any(role.queue for role in service.roles):
        yield document.problem("", "is admitted by Kueue, which target ome cannot write yet", remedy)
    if service.together:
        yield document.problem("", "has prefill and decode on one node, which OME's decoder cannot ask for", remedy)
    if service.volume.kind == "claim" and model.spec.storage.path:
        what = "and a claim: OME would mount a folder of the node instead of it"
        yield model.problem("spec.storage.path", what, "leave the path out")


def _volume_clashes(document: InferenceService, model: AnyModel, made: list[Manifest]) -> Iterable[Problem]:
    if model.spec.storage.path is None:
        return
    [runtime] = [one for one in made if one["kind"] == ServingRuntime.KIND]
    names = {volume["name"] for pod in _pods(runtime) for volume in pod.get("volumes", [])}
    if model.name in names:
        what = f"{model.name} is the name of another volume of its pods: OME names the model's after the model"
        yield document.problem("spec.model.name", what, "give the model another name")


def _pods(runtime: Manifest) -> Iterable[Manifest]:
    for field in ("engineConfig", "decoderConfig"):
        component = runtime["spec"].get(field, {})
        yield from (component[part] for part in ("leader", "worker") if part in component)
        yield component


def _model(plan: Plan, model: AnyModel) -> Manifest:
    written = model.to_yaml_data()
    written["spec"] = _declaration(plan, model) | written["spec"]
    return written


def _declaration(plan: Plan, model: AnyModel) -> dict[str, Any]:
    """What OME matches a runtime by: as declared, else as read."""
    place = (model.metadata.namespace or "default") if isinstance(model, BaseModel) else None
    read = next(one.metadata for one in plan.models if (one.namespace, one.name) == (place, model.name))
    framework = {"name": read.framework or FRAMEWORK, "version": read.framework_version}
    known = {
        "modelFormat": {"name": read.format or FORMAT},
        "modelFramework": {key: value for key, value in framework.items() if value},
        "modelArchitecture": read.architecture,
        "quantization": read.quantization.ome_name if read.quantization else None,
    }
    declared = {
        key: value for key, value in model.to_yaml_data()["spec"].items() if key in known or key == "diffusionPipeline"
    }
    return {key: value for key, value in known.items() if value} | declared


def _service(plan: Plan, service: ServicePlan, document: InferenceService, model: AnyModel) -> list[Manifest]:
    """What the pods need beside them, the runtime, and the service that names it."""
    objects = service_objects(plan, service)
    beside = [made for made in objects if made["kind"] == "ComputeDomain"]
    workloads = [made for made in objects if made["kind"] in WORKLOADS]
    components = {
        "engineConfig" if role.role != "decode" else "decoderConfig": _component(role, made, service, model)
        for role, made in zip(service.roles, workloads, strict=False)
    }
    if service.router:
        components["routerConfig"] = _router(workloads[-1])
    entry = _declaration(plan, model) | {"autoSelect": True}
    runtime = {
        "apiVersion": OME,
        "kind": ServingRuntime.KIND,
        "metadata": {
            "name": object_name(service.name),
            "namespace": service.namespace,
            "labels": {"app.kubernetes.io/managed-by": "ome-iac", "app.kubernetes.io/part-of": plan.stack},
        },
        "spec": {"supportedModelFormats": [entry], **components},
    }
    return [*beside, runtime, _inference_service(service, document, model)]


def _component(role: RolePlan, workload: Manifest, service: ServicePlan, model: AnyModel) -> Manifest:
    """Engine or decoder, from the Deployment or the group that we would make."""
    spec = workload["spec"]
    if workload["kind"] == "Deployment":
        body = _labelled(spec["template"]) | {"deploymentStrategy": spec["strategy"]}
        return body | _pod(spec["template"], service, model)
    group = spec["leaderWorkerTemplate"]
    leader, worker = group["leaderTemplate"], group["workerTemplate"]
    # OME labels all pods of a group alike; what only the leader has, tells nothing to the others.
    return {
        **_labelled(worker, leader),
        "leader": _pod(leader, service, model),
        "worker": {"size": role.nodes - 1, **_pod(worker, service, model)},
    }


def _labelled(*templates: Manifest) -> Manifest:
    """Labels and annotations of the templates, the later ones over the earlier."""
    both: Manifest = {}
    for field in ("labels", "annotations"):
        found = {key: value for one in templates for key, value in one["metadata"].get(field, {}).items()}
        if found:
            both[field] = found
    return both


def _pod(template: Manifest, service: ServicePlan, model: AnyModel) -> Manifest:
    """The PodSpec with its engine as OME's runner, and without what OME brings itself."""
    spec = {key: value for key, value in template["spec"].items() if key not in OMES_OWN}
    engine, *others = spec.pop("containers")
    engine = {**engine, "name": RUNNER}
    path = model.spec.storage.path
    if path and service.volume.kind == "hostPath":
        # A mount at the very place of OME's own would be refused by Kubernetes.
        engine["volumeMounts"] = [mount for mount in engine["volumeMounts"] if mount["mountPath"] != path]
    if path and service.volume.kind == "hub":
        for field in ("command", "args"):
            if field in engine:
                engine[field] = [path if word == service.volume.source else word for word in engine[field]]
    return {"runner": engine, **({"containers": others} if others else {}), **spec}


def _router(workload: Manifest) -> Manifest:
    template = workload["spec"]["template"]
    spec = {key: value for key, value in template["spec"].items() if key not in OMES_OWN}
    router, *others = spec.pop("containers")
    return {**_labelled(template), "runner": router, **({"containers": others} if others else {}), **spec}


def _inference_service(service: ServicePlan, document: InferenceService, model: AnyModel) -> Manifest:
    """As declared, without our extension and without what the runtime has taken up."""
    written = document.to_yaml_data()
    written["metadata"] = written["metadata"] | {"namespace": service.namespace}
    asked: Mapping[str, Any] = written["spec"]
    spec = {key: value for key, value in asked.items() if key not in ("intent", "engine", "decoder", "router")}
    # OME takes a model without a kind for one of the cluster.
    spec["model"] = asked["model"] | {"kind": model.KIND}
    spec["runtime"] = {"name": object_name(service.name), "kind": ServingRuntime.KIND}
    replicas = {role.role: role.replicas for role in service.roles}
    first = replicas.get("engine", replicas.get("prefill"))
    spec["engine"] = {"minReplicas": first, **_extension(asked.get("engine", {}), EngineComponent)}
    if "decode" in replicas:
        spec["decoder"] = {"minReplicas": replicas["decode"], **_extension(asked.get("decoder", {}), EngineComponent)}
    if service.router:
        kept = {key: value for key, value in asked.get("router", {}).items() if key in ("minReplicas", "maxReplicas")}
        spec["router"] = {"minReplicas": service.router.replicas, **kept}
    written["spec"] = spec
    return written


def _extension(component: Mapping[str, Any], kind: type[Component]) -> dict[str, Any]:
    """The fields that say how many and how scaled, and nothing of the pods."""
    known = {field.alias or name for name, field in kind.model_fields.items()} - PODS
    return {key: value for key, value in component.items() if key in known}
