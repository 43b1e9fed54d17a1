"""OCI Generative AI's dedicated clusters: the unit shape and count for one imported model, or what keeps it out.

Facts: unit shapes are those that pulumi-oci documents as usable for imported models; a cluster hosts endpoints of one
model (Oracle, "Model Limitations in Generative AI"); a unit of shape H100_X4 has four H100s. Assumed, and said in every
plan: that OCI's engine needs what vLLM needs, and that a unit costs what its GPUs cost as compute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ome_iac.models.metadata import Capability, ModelMetadata
from ome_iac.models.uri import HubUri, ObjectStorageUri, parse_uri
from ome_iac.planning.admission.plan import (
    DedicatedUnitsPlan,
    ImportSource,
    PrivateEndpointPlan,
    TuningPlan,
    UnitChoice,
)
from ome_iac.planning.admission.units import Unit, units_for
from ome_iac.planning.oci.tags import stack_tags
from ome_iac.planning.reservations import compartment_of
from ome_iac.problems import Problem, ProblemsError, did_you_mean
from ome_iac.spec.capacity import DedicatedAICluster, OciBackend
from ome_iac.spec.stack import AnyModel, Stack

CAPABILITIES = {
    Capability.EMBEDDING: "EMBEDDING",
    Capability.RERANK: "RERANK",
    Capability.VISION: "IMAGE_TEXT_TO_TEXT",
    Capability.CHAT: "TEXT_TO_TEXT",
    Capability.COMPLETION: "TEXT_TO_TEXT",
}
"""Ours to OCI's; an imported model has one, the first of these that it has."""
ASSUMED = (
    "assumed: OCI does not say which engine serves an imported model; its memory is reckoned by vLLM's rules",
    "assumed: a unit costs what its GPUs cost as compute (list)",
)


def plan_units(
    stack: Stack,
    cluster: DedicatedAICluster,
    spec: OciBackend,
    metadata: Mapping[str, ModelMetadata],
    problems: list[Problem],
) -> DedicatedUnitsPlan | None:
    """The cluster, decided; None where it cannot be, and then a problem says why, here or in `check_dedicated`."""
    compartment = compartment_of(stack, spec.compartment_id)
    if compartment is None:
        return None
    if spec.type == "FINE_TUNING":
        return _tuning(stack, cluster, spec, compartment)
    document = model_of(stack, spec.model or "")
    facts = metadata.get(document.spec.storage.storage_uri) if document else None
    if document is None or facts is None:
        return None
    source = _source(cluster, document, facts, problems)
    capability = next((CAPABILITIES[ours] for ours in CAPABILITIES if ours in facts.capabilities), None)
    if capability is None:
        problems.append(
            cluster.problem(
                "spec.model",
                f"{document.name} is for {', '.join(facts.capabilities) or 'nothing known'}",
                "OCI hosts imported models for chat, vision, embedding and rerank",
            )
        )
    context = spec.context_length or facts.context_length
    units = units_for(facts, context)
    chosen = _choose(cluster, spec, document, units, problems)
    if chosen is None or source is None or capability is None:
        return None
    unit, count = chosen
    return DedicatedUnitsPlan(
        name=cluster.name,
        compartment_id=compartment,
        type="HOSTING",
        model=document.name,
        source=source,
        capabilities=(capability,),
        tuning=None,
        unit_shape=unit.name,
        unit_count=count,
        concurrency_per_unit=unit.concurrency,
        context_length=context,
        capacity_reservation_id=spec.capacity_reservation_id,
        private_endpoint=_private_endpoint(spec),
        tags=stack_tags(stack.name, stack.cluster),
        cost_per_hour=unit.cost(count),
        why=_why(spec, unit, count, units),
        considered=tuple(_considered(other, spec.concurrency) for other in units),
        notes=ASSUMED,
    )


def _choose(
    cluster: DedicatedAICluster,
    spec: OciBackend,
    document: AnyModel,
    units: Sequence[Unit],
    problems: list[Problem],
) -> tuple[Unit, int] | None:
    """The unit and how many; the cheapest, unless the document says which."""
    fitting = sorted(
        (unit for unit in units if unit.fit.fits), key=lambda unit: (unit.cost(unit.count(spec.concurrency)), unit.gpus)
    )
    if not fitting:
        largest = max(units, key=lambda unit: unit.gpus * unit.gpu.memory_gib)
        reasons = "; ".join(largest.fit.limited_by)
        what = f"{document.name} fits no unit shape: the largest, {largest.name}: {reasons}"
        problems.append(cluster.problem("spec.model", what, _smaller_context(spec, largest) or "use backend: cluster"))
        return None
    if spec.unit_shape is None:
        unit = fitting[0]
    else:
        named = next((unit for unit in units if unit.name == spec.unit_shape), None)
        if named is None:
            what = f"{spec.unit_shape} is no unit shape for imported models"
            problems.append(
                cluster.problem("spec.unitShape", what, did_you_mean(spec.unit_shape, [u.name for u in units]))
            )
            return None
        if not named.fit.fits:
            what = f"{named.name} does not hold {document.name}: {'; '.join(named.fit.limited_by)}"
            remedy = f"the cheapest that does is {fitting[0].name}"
            problems.append(cluster.problem("spec.unitShape", what, remedy))
            return None
        unit = named
    needed = unit.count(spec.concurrency)
    if spec.unit_count is not None and spec.unit_count < needed:
        held = spec.unit_count * int(unit.concurrency or 0)
        problems.append(
            cluster.problem(
                "spec.unitCount",
                f"{spec.unit_count} x {unit.name} hold {held} requests at once, {spec.concurrency} are wanted",
                f"{needed} or more",
            )
        )
        return None
    return unit, spec.unit_count or needed


def _smaller_context(spec: OciBackend, unit: Unit) -> str:
    ledger = unit.fit.ledger
    if ledger is None or ledger.kv_cache < 0 or not ledger.kv_tokens:
        return ""
    return f"a contextLength of {ledger.kv_tokens // 1000 * 1000:,} or less"


def _why(spec: OciBackend, unit: Unit, count: int, units: Sequence[Unit]) -> str:
    holding = sum(1 for other in units if other.fit.fits)
    each = unit.concurrency
    held = "any number of requests" if each is None else f"{int(each)} requests at once"
    chosen = "asked for" if spec.unit_shape else f"cheapest of {holding} unit shapes that hold it"
    return f"{chosen}; one unit holds {held}, {spec.concurrency} wanted: {count} x {unit.name}"


def _considered(unit: Unit, concurrency: int) -> UnitChoice:
    count = unit.count(concurrency)
    why = f"{count} for {concurrency} requests at once" if count else "; ".join(unit.fit.limited_by)
    return UnitChoice(unit_shape=unit.name, count=count, cost_per_hour=unit.cost(count), why=why)


def _tuning(stack: Stack, cluster: DedicatedAICluster, spec: OciBackend, compartment: str) -> DedicatedUnitsPlan | None:
    data = spec.training_data
    if data is None or spec.base_model_id is None or spec.unit_shape is None or spec.unit_count is None:
        return None
    return DedicatedUnitsPlan(
        name=cluster.name,
        compartment_id=compartment,
        type="FINE_TUNING",
        model=None,
        source=None,
        capabilities=(),
        tuning=TuningPlan(
            base_model_id=spec.base_model_id, namespace=data.namespace, bucket=data.bucket, object=data.object
        ),
        unit_shape=spec.unit_shape,
        unit_count=spec.unit_count,
        concurrency_per_unit=None,
        context_length=None,
        capacity_reservation_id=spec.capacity_reservation_id,
        private_endpoint=None,
        tags=stack_tags(stack.name, stack.cluster),
        cost_per_hour=None,
        why="as asked for",
        considered=(),
        notes=("the price of fine-tuning units is not in the shape table",),
    )


def _private_endpoint(spec: OciBackend) -> PrivateEndpointPlan | None:
    asked = spec.private_endpoint
    if asked is None:
        return None
    return PrivateEndpointPlan(
        subnet_id=asked.subnet_id, dns_prefix=asked.dns_prefix, nsg_ids=tuple(sorted(asked.nsg_ids))
    )


def _source(
    cluster: DedicatedAICluster, document: AnyModel, facts: ModelMetadata, problems: list[Problem]
) -> ImportSource | None:
    storage = document.spec.storage
    try:
        uri = parse_uri(storage.storage_uri, document.folder or Path.cwd())
    except ProblemsError:
        return None  # whoever read the model has said so
    if isinstance(uri, HubUri):
        return ImportSource(
            source_type="HUGGING_FACE_MODEL",
            model_id=uri.repository,
            commit=facts.revision or uri.revision,
            needs_token=storage.key is not None,
        )
    if isinstance(uri, ObjectStorageUri):
        return ImportSource(
            source_type="OBJECT_STORAGE_OBJECT",
            namespace=uri.namespace,
            bucket=uri.bucket,
            prefix_name=uri.prefix,
            region=uri.region,
        )
    scheme = storage.storage_uri.partition("://")[0]
    problems.append(
        cluster.problem(
            "spec.model", f"OCI imports no model from {scheme}://", "a model on hf:// or oci://, or backend: cluster"
        )
    )
    return None


def model_of(stack: Stack, name: str) -> AnyModel | None:
    """The model of that name, whatever its namespace: OCI imports it, no namespace does."""
    return next((model for model in stack.models if model.name == name), None)
