"""The Pulumi program: plan the stack, register the plan."""

import sys

import pulumi
from pulumi.runtime import config

from components import deploy
from ome_iac.problems import ProblemsError
from ome_iac.project import Project, Settings, plan_project

try:
    project = Project.find()
    settings = Settings.parse(pulumi.get_stack(), {**config.get_config_env(), **config.CONFIG.get()})
    plan = plan_project(project, settings)
except ProblemsError as error:
    for problem in error.problems:
        pulumi.log.error(str(problem))
    sys.exit(32)  # the engine's code for "the message has been shown"

deploy(
    plan,
    kubeconfig=settings.kubeconfig or None,
    context=settings.context or None,
    token=pulumi.Config("ome-iac").get_secret("huggingFaceToken"),
)
