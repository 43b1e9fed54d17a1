"""What prefill and decode replicas are told of each other: flags, ports, environment.

Read in vLLM 0.33.0 (kv_connector/v1/nixl) and SGLang 0.5.23 (arg_groups/fields/disagg.py, disaggregation/nixl/conn.py).
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from ome_iac.models.metadata import ModelMetadata
from ome_iac.planning.plan import RolePlan
from ome_iac.planning.serving.decisions import Fabric

BLOCK_TOKENS = {"vllm": 128, "sglang": 64}
"""Tokens of a block, the same on both sides: llm-d's choice for vLLM; for SGLang the page that its attention backends
for Hopper and Blackwell share."""
CONNECTORS = {"vllm": "NixlConnector", "sglang": "nixl"}
DECODE_PORT = 8200
"""Of vLLM behind llm-d's proxy, which has the usual port."""
BOOTSTRAP_PORT, SIDE_CHANNEL_PORT = 8998, 5600
HASH_SEED = "42"
KEEP_ALIVE_SECONDS = 120
"""Longer than the 90 s for which the proxy before a decode pod keeps idle connections."""
STAGING_MIB = 4096
AGREED = (
    *("--block-size", "--page-size", "--kv-cache-dtype", "--dtype", "--max-model-len", "--context-length"),
    *("--disaggregation-transfer-backend", "--disaggregation-bootstrap-port", "--served-model-name"),
)
"""Flags that have to have one value on both sides."""
POD_ADDRESS = "$(POD_IP)"
"""Kubernetes puts the pod's address in; its manifest defines POD_IP before every other variable."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Why two replicas cannot be put together, and what would do."""

    what: str
    remedy: str


def fewest_heads(model: ModelMetadata) -> int:
    """KV heads to regroup between tensor parallel sizes; a latent (MLA) is whole on every rank, however many."""
    heads = [group.kv_heads for group in model.attention if group.kv_heads]
    return UNLIMITED if _latent(model) else min(heads, default=UNLIMITED)


UNLIMITED = 1 << 30


def needs_staging(model: ModelMetadata, prefill: int, decode: int) -> bool:
    """Whether SGLang has to gather KV heads in a buffer before it sends them."""
    return prefill != decode and not _latent(model)


def _latent(model: ModelMetadata) -> bool:
    return any(group.kind == "mla" for group in model.attention)


def prefill_and_decode(
    model: ModelMetadata, prefill: RolePlan, decode: RolePlan, together: bool
) -> tuple[RolePlan, RolePlan]:
    """The roles of a pair as each alone would run, told of each other: flags, ports, environment."""
    kind = prefill.runtime.split()[0]
    told = _vllm_told if kind == "vllm" else _sglang_told
    plain = any(group.state_bytes for group in model.attention)
    staging = kind == "sglang" and needs_staging(model, prefill.split.tensor, decode.split.tensor)
    found = []
    for role in (prefill, decode):
        told_role = told(role, () if plain else (BLOCK_TOKENS[kind],))
        environment = [*told_role.environment]
        if staging:
            environment += [
                ("SGLANG_DISAGG_STAGING_BUFFER", "1"),
                ("SGLANG_DISAGG_STAGING_POOL_SIZE_MB", str(STAGING_MIB)),
            ]
        if together:
            environment += _ucx_on_one_node(role)
        found.append(told_role.model_copy(update={"environment": tuple(environment)}))
    return found[0], found[1]


def _vllm_told(role: RolePlan, block: tuple[int, ...]) -> RolePlan:
    """NIXL as producer or consumer (`kv_both` is deprecated), and a port for the proxy before decode."""
    side = "kv_producer" if role.role == "prefill" else "kv_consumer"
    transfer = {
        "kv_connector": CONNECTORS["vllm"],
        "kv_role": side,
        "kv_buffer_device": "cuda",
        "kv_connector_extra_config": {"backends": ["UCX"]},
    }
    command = (
        *role.command,
        *(word for size in block for word in ("--block-size", str(size))),
        *("--kv-transfer-config", json.dumps(transfer, separators=(",", ":"))),
    )
    port = DECODE_PORT if role.role == "decode" else role.port
    environment = (
        *role.environment,
        ("VLLM_NIXL_SIDE_CHANNEL_HOST", POD_ADDRESS),
        ("VLLM_NIXL_SIDE_CHANNEL_PORT", str(SIDE_CHANNEL_PORT)),
        ("VLLM_HTTP_TIMEOUT_KEEP_ALIVE", str(KEEP_ALIVE_SECONDS)),
        ("PYTHONHASHSEED", HASH_SEED),
    )
    update = {"command": _with_port(command, port), "port": port, "environment": environment}
    return role.model_copy(update=update)


def _sglang_told(role: RolePlan, block: tuple[int, ...]) -> RolePlan:
    command = (
        *role.command,
        *("--disaggregation-mode", role.role),
        *("--disaggregation-transfer-backend", CONNECTORS["sglang"]),
        *("--disaggregation-bootstrap-port", str(BOOTSTRAP_PORT)),
        *(word for size in block for word in ("--page-size", str(size))),
    )
    return role.model_copy(update={"command": command})


def _with_port(command: tuple[str, ...], port: int) -> tuple[str, ...]:
    index = command.index("--port") + 1
    return (*command[:index], str(port), *command[index + 1 :])


def disagreements(prefill: RolePlan, decode: RolePlan) -> tuple[Mismatch, ...]:
    """What both sides were told and is not the same, though one has to read what the other wrote."""
    told = {"engine": (prefill.runtime, decode.runtime), "image": (prefill.image, decode.image)}
    for flag in AGREED:
        told[flag] = (_value(prefill.command, flag), _value(decode.command, flag))
    return tuple(
        Mismatch(f"prefill has {name} {one} and decode {other}", "the same for both")
        for name, (one, other) in told.items()
        if one != other
    )


def _value(command: tuple[str, ...], flag: str) -> str:
    return command[command.index(flag) + 1] if flag in command else "by default"


def connected(role: RolePlan, fabric: Fabric) -> RolePlan:
    """A role of a pair on its network: NIXL goes over UCX, which is told the same of it as NCCL is.

    RoCE takes reliable connections (rc) and the GID of RoCE v2 over IPv4, index 3 on OCI; CUDA's own way between
    processes ends at the pod (llm-d's overlay for OCI). On the node's own network the front-end NIC is an mlx5 device
    too and is left out; virtual functions are named anew in every pod.
    """
    environment = [*role.environment, ("UCX_TLS", f"rc,ud,sm,self,{_copies(role)}"), ("UCX_IB_GID_INDEX", "3")]
    adapters = dict(fabric.environment).get("NCCL_IB_HCA", "").lstrip("=")
    if fabric.mode == "rdma-host":
        environment.append(("UCX_NET_DEVICES", ",".join(f"{name}:1" for name in adapters.split(","))))
    within = fabric if role.nodes > 1 else fabric.model_copy(update={"environment": ()})
    return role.model_copy(update={"fabric": within, "environment": tuple(environment)})


def _ucx_on_one_node(role: RolePlan) -> list[tuple[str, str]]:
    """TCP: pods of one node share neither /dev/shm nor the sight of each other's GPUs."""
    return [("UCX_TLS", f"tcp,self,{_copies(role)}")]


def _copies(role: RolePlan) -> str:
    return "rocm_copy" if "rocm" in role.image else "cuda_copy"
