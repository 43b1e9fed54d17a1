"""All commands of `ome-iac`."""

from __future__ import annotations

import typer

from ome_iac.cli import cluster, deploy, engine, estimate, model
from ome_iac.cli.fit import fit
from ome_iac.cli.lock import lock
from ome_iac.cli.plan import plan
from ome_iac.cli.render import render
from ome_iac.cli.select import select

app = typer.Typer(
    help="Plan, prove and deploy large language models on OKE with Pulumi.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.command()(plan)
app.command()(fit)
app.command()(deploy.up)
app.command()(deploy.diff)
app.command()(deploy.destroy)
app.command()(deploy.outputs)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(deploy.rehearse)
app.command()(lock)
app.command()(select)
app.command()(render)
app.add_typer(model.app, name="model")
app.add_typer(estimate.app, name="estimate")
app.add_typer(engine.app, name="engine")
app.add_typer(cluster.app, name="cluster")
