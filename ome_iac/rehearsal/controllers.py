"""The controllers of other projects that run beside Kubernetes' own: LeaderWorkerSet and JobSet, unchanged.

In a cluster they run as pods and are called through a Service, with certificates that they make themselves. Here they
are processes on loopback: their webhooks are registered by URL and serve the control plane's own certificate. With its
webhooks LeaderWorkerSet checks and defaults its objects, gives the pods of a group the leader's address, the group's
size and their index, and the affinity of an exclusive topology; without them it would only make StatefulSets.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from ome_iac.rehearsal.components import Component, Place
from ome_iac.rehearsal.crds import JOBSET, LWS
from ome_iac.rehearsal.credentials import write_private
from ome_iac.rehearsal.module_manifests import ModuleManifests
from ome_iac.rehearsal.toolchain import GoTool

_CONFIGURATIONS = {
    "MutatingWebhookConfiguration": "mutatingwebhookconfigurations",
    "ValidatingWebhookConfiguration": "validatingwebhookconfigurations",
}


@dataclass(frozen=True)
class Controller:
    """A controller and the webhooks that it serves, on the port of its name; `manifests` hold their configurations."""

    component: Component
    manifests: ModuleManifests

    def webhook_configurations(self, place: Place) -> dict[str, dict[str, Any]]:
        """By API path, its webhook configurations, patched as its kustomization says, with a URL for each hook."""
        documents = [document for loaded in self.manifests.load().values() for document in loaded]
        # Both kustomizations have JSON patches that replace whole hooks: those for pods, limited to the project's own.
        patched = {
            operation["value"]["name"]: operation["value"]
            for patch in documents
            if isinstance(patch, list)
            for operation in patch
        }
        configurations = {}
        for document in documents:
            if isinstance(document, dict) and document.get("kind") in _CONFIGURATIONS:
                name = f"{self.component.name}-{document['metadata']['name']}"
                hooks = [self._called_by_url(patched.get(hook["name"], hook), place) for hook in document["webhooks"]]
                path = f"/apis/admissionregistration.k8s.io/v1/{_CONFIGURATIONS[document['kind']]}/{name}"
                configurations[path] = {**document, "metadata": {"name": name}, "webhooks": hooks}
        return configurations

    def serves(self, place: Place) -> bool:
        """Whether every webhook of it is answered: the server listens before the controller has registered them all."""
        import httpx

        urls = [
            hook["clientConfig"]["url"]
            for configuration in self.webhook_configurations(place).values()
            for hook in configuration["webhooks"]
        ]
        authority = ssl.create_default_context(cafile=str(place.credentials.authority))
        with httpx.Client(verify=authority, trust_env=False, timeout=2.0) as client:
            try:
                return all(client.post(url).status_code != httpx.codes.NOT_FOUND for url in urls)
            except httpx.TransportError:
                return False

    def _called_by_url(self, hook: Mapping[str, Any], place: Place) -> dict[str, Any]:
        path = hook["clientConfig"]["service"]["path"]
        url = f"https://127.0.0.1:{place.ports[self.component.name]}{path}"
        return {**hook, "clientConfig": {"url": url, "caBundle": place.credentials.authority_bundle}}


def _arguments(name: str, api_version: str) -> Callable[[Place], list[str]]:
    def arguments(place: Place) -> list[str]:
        certificates = place.folder / f"{name}-webhook"
        certificates.mkdir(mode=0o700, exist_ok=True)
        write_private(certificates / "tls.crt", place.credentials.server.read_bytes())
        write_private(certificates / "tls.key", place.credentials.server_key.read_bytes())
        configuration = {
            "apiVersion": api_version,
            "kind": "Configuration",
            "leaderElection": {"leaderElect": False},
            "internalCertManagement": {"enable": False},
            "webhook": {"host": "127.0.0.1", "port": place.ports[name], "certDir": str(certificates)},
            # "0" is none at all. Nobody asks for them here, and each would be one more open port.
            "metrics": {"bindAddress": "0"},
            "health": {"healthProbeBindAddress": "0"},
        }
        file = place.folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump(configuration))
        return [f"--config={file}", f"--kubeconfig={place.kubeconfig(name)}"]

    return arguments


CONTROLLERS = (
    Controller(
        Component(
            GoTool(
                "lws",
                "cluster/lws",
                "sigs.k8s.io/lws/cmd",
                "sigs.k8s.io/lws",
                ("sigs.k8s.io/lws/pkg/version.GitVersion={version}",),
            ),
            _arguments("lws", "config.lws.x-k8s.io/v1alpha1"),
        ),
        LWS,
    ),
    Controller(
        Component(
            GoTool(
                "jobset",
                "cluster/jobset",
                "sigs.k8s.io/jobset",
                "sigs.k8s.io/jobset",
                ("sigs.k8s.io/jobset/pkg/version.GitVersion={version}",),
            ),
            _arguments("jobset", "config.jobset.x-k8s.io/v1alpha1"),
        ),
        JOBSET,
    ),
)
