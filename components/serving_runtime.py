"""`ServingRuntime`: an engine at one version, as a resource whose inputs show in every preview."""

from __future__ import annotations

import pulumi

from ome_iac.planning.plan import RuntimePlan


class ServingRuntime(pulumi.ComponentResource):
    """An engine that services of the stack run on; an upgrade is one visible change of it."""

    image: pulumi.Output[str]

    def __init__(self, name: str, args: RuntimePlan, opts: pulumi.ResourceOptions | None = None) -> None:
        inputs = {"engine": args.engine, "version": args.version, "image": args.image}
        super().__init__("ome-iac:index:ServingRuntime", name, inputs, opts)
        self.image = pulumi.Output.from_input(args.image)
        self.register_outputs({"image": self.image})
