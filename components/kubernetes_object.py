"""A Kubernetes object registered as it was rendered.

The SDK's typed classes would translate every key and cost half a second to import; the rendered object is already what
the API server takes, and custom kinds get all their top-level fields (docs/decisions/0004).
"""

from __future__ import annotations

from importlib import metadata

import pulumi

from ome_iac.manifests import Manifest

SDK_VERSION = metadata.version("pulumi-kubernetes")


class KubernetesObject(pulumi.CustomResource):
    """Any object of any kind, by its manifest."""

    def __init__(self, name: str, manifest: Manifest, opts: pulumi.ResourceOptions) -> None:
        versioned = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(version=SDK_VERSION))
        super().__init__(type_token(manifest), name, manifest, versioned)


def type_token(manifest: Manifest) -> str:
    """`kubernetes:<group>/<version>:<Kind>`; the core group is spelt out."""
    version = str(manifest["apiVersion"])
    return f"kubernetes:{version if '/' in version else f'core/{version}'}:{manifest['kind']}"
