"""What OCI's IAM has to allow a tenant: people reach the API server, service accounts read their own models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ome_iac.models.uri import ObjectStorageUri, parse_uri
from ome_iac.planning import iam
from ome_iac.planning.names import object_name
from ome_iac.planning.plan import ServicePlan
from ome_iac.planning.reservations import compartment_of
from ome_iac.planning.tenancy.plan import PolicyPlan
from ome_iac.problems import Problem, ProblemsError
from ome_iac.spec.services import InferenceService
from ome_iac.spec.stack import Stack
from ome_iac.spec.tenancy import Tenant

THIS_CLUSTER = "{cluster}"
"""In a statement, for the OCID of the cluster that the stack makes: known when it is there."""
PEOPLE_NOTE = "assumed: target.cluster.id tells the cluster in a policy (not found in what could be read of Oracle's)"
NOTES = (
    "service accounts read the objects of their models by name; they cannot list the bucket",
    "assumed: IAM takes a prefix of object names as /prefix/*/ (Oracle documents patterns, not one with a slash in it)",
)


def policies_of(
    stack: Stack, tenant: Tenant, services: Sequence[ServicePlan], problems: list[Problem]
) -> tuple[tuple[PolicyPlan, ...], list[str]]:
    """The policies, each attached to the compartment that its statements are about, and what is to be said of them."""
    cluster = stack.cluster.spec
    home = compartment_of(stack, None)
    if home is None:
        return (), []
    cluster_id = cluster.oke.cluster_id if cluster.oke else THIS_CLUSTER
    people = tenant.spec.people
    using = [
        iam.use_cluster(group=group, cluster_id=cluster_id, compartment_id=home)
        for group in sorted({*people.admin, *people.deployer, *people.viewer})
    ]
    storage = tenant.spec.models_compartment_id or tenant.spec.compartment_id or home
    reading = []
    for namespace, account, bucket, prefix in sorted(set(_reads(stack, services))):
        if any(sign in prefix for sign in "',*"):
            what = f"{prefix!r} of bucket {bucket} cannot be told in an IAM policy"
            problems.append(tenant.problem("", what, "a prefix without quotes, commas and asterisks"))
            continue
        reading.append(
            iam.read_objects(
                namespace=namespace,
                account=account,
                cluster_id=cluster_id,
                compartment_id=storage,
                bucket=bucket,
                prefix=prefix,
            )
        )
    policies = (
        PolicyPlan(name="cluster", compartment_id=home, statements=tuple(map(str, using))),
        PolicyPlan(name="models", compartment_id=storage, statements=tuple(map(str, reading))),
    )
    notes = [*([PEOPLE_NOTE] if using else []), *(NOTES if reading else [])]
    return tuple(policy for policy in policies if policy.statements), notes


def _reads(stack: Stack, services: Sequence[ServicePlan]) -> Iterator[tuple[str, str, str, str]]:
    """Namespace, service account, bucket and prefix of what each service reads."""
    documents = {(document.namespace, document.name): document for document in stack.of(InferenceService)}
    models = replace(stack, documents=stack.models)  # each service looks its own up among these
    for service in services:
        model = models.model_of(documents[service.namespace, service.name])
        uris = [adapter.source for adapter in service.adapters]
        if model is not None:
            uris.append(model.spec.storage.storage_uri)
        for uri in _in_object_storage(uris, (model.folder if model else None) or Path.cwd()):
            yield service.namespace, object_name(service.name), uri.bucket, uri.prefix


def _in_object_storage(uris: Sequence[str], base: Path) -> Iterator[ObjectStorageUri]:
    for text in uris:
        try:
            uri = parse_uri(text, base)
        except ProblemsError:
            continue  # whoever read the model has said so
        if isinstance(uri, ObjectStorageUri):
            yield uri
