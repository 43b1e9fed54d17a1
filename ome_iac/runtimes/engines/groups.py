"""One replica on several nodes: what the first pod runs, and what the others do.

Read in the released sources: vLLM 0.33.0 (config/parallel.py, entrypoints/cli/serve.py), SGLang 0.5.23
(server_args.py). LeaderWorkerSet (v0.7.0) puts LWS_LEADER_ADDRESS, LWS_GROUP_SIZE and LWS_WORKER_INDEX before a
container's own environment, and Kubernetes expands $(NAME) in its command.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Literal

from ome_iac.runtimes.splits import Split

LEADER, SIZE, INDEX = "$(LWS_LEADER_ADDRESS)", "$(LWS_GROUP_SIZE)", "$(LWS_WORKER_INDEX)"
MASTER_PORT, SGLANG_PORT, DATA_PARALLEL_PORT, RAY_PORT = 29501, 5757, 13345, 6379

Executor = Literal["mp", "ray"]


@dataclass(frozen=True)
class GroupCommands:
    """The command of a group's first pod, and of every other."""

    leader: tuple[str, ...]
    worker: tuple[str, ...]


def group_commands(
    engine: str, command: tuple[str, ...], split: Split, nodes: int, executor: Executor = "mp"
) -> GroupCommands:
    """From the command for one node to those for a group of `nodes`.

    Raises ValueError for an engine that knows no groups: the planner does not plan one.
    """
    if engine == "sglang":
        joined = (*command, "--dist-init-addr", f"{LEADER}:{SGLANG_PORT}", "--nnodes", SIZE, "--node-rank", INDEX)
        return GroupCommands(joined, joined)
    if engine != "vllm":
        raise ValueError(f"{engine} does not run on several nodes")
    if executor == "ray":
        return _ray(command, nodes)
    if split.data > 1:
        return _data_parallel(command, split.data // nodes)
    address = ("--master-addr", LEADER, "--master-port", str(MASTER_PORT), "--distributed-executor-backend", "mp")
    joined = (*command, "--nnodes", str(nodes), *address)
    return GroupCommands((*joined, "--node-rank", "0"), (*_headless(joined), "--node-rank", INDEX, "--headless"))


def _data_parallel(command: tuple[str, ...], local: int) -> GroupCommands:
    """Whole data parallel ranks on each node; the first pod answers for all of them."""
    address = ("--data-parallel-address", LEADER, "--data-parallel-rpc-port", str(DATA_PARALLEL_PORT))
    joined = (*command, "--data-parallel-size-local", str(local), *address)
    # Kubernetes does not reckon: the shell multiplies the pod's index by the ranks of a node.
    worker = shlex.join((*_headless(joined), "--headless", "--data-parallel-start-rank"))
    script = f'exec {worker} "$((LWS_WORKER_INDEX * {local}))"'
    return GroupCommands(joined, ("/bin/sh", "-c", script.replace(shlex.quote(LEADER), '"$LWS_LEADER_ADDRESS"')))


def _ray(command: tuple[str, ...], nodes: int) -> GroupCommands:
    """Ray joins the nodes; the server starts once all of them are there."""
    serve = shlex.join((*command, "--distributed-executor-backend", "ray"))
    alive = "sum(node['Alive'] for node in ray.nodes())"
    check = f"import ray; ray.init('auto', logging_level='ERROR'); raise SystemExit({alive} < {nodes})"
    wait = f"until python3 -c {shlex.quote(check)}; do sleep 2; done"
    leader = f"ray start --head --port={RAY_PORT} && {wait} && exec {serve}"
    worker = f'exec ray start --address="$LWS_LEADER_ADDRESS:{RAY_PORT}" --block'
    return GroupCommands(("/bin/sh", "-c", leader), ("/bin/sh", "-c", worker))


def _headless(command: tuple[str, ...]) -> tuple[str, ...]:
    """Without what belongs to the server that answers."""
    dropped = {"--host", "--port", "--disable-access-log-for-endpoints"}
    kept: list[str] = []
    skip = False
    for word in command:
        if skip:
            skip = False
        elif word in dropped:
            skip = True
        else:
            kept.append(word)
    return tuple(kept)
