"""Reading a model's headers from a Hub 30 ms away, beside `huggingface_hub.get_safetensors_metadata`.

The Hub and its CDN are a process of their own on loopback (`tests/servers/hub.py`), every answer 30 ms late; the model
is DeepSeek-V3 with its real tensor names, shapes and dtypes, its first 10 and 40 shards, and all 163. Each reading is a
fresh process with its imports done and cold connections; they take turns. "whole" is all of `read_model`, which also
makes facts of the headers; "headers" is the part that the peer does.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from benchmarks.report import Aim, Report
from tests.make_weights import MODELS, make_weights, write_sharded

LATENCY = 0.03
RUNS = 5
SHARDS = (10, 40, 163)

# Each prints one line of JSON: seconds of wall and CPU time, the peak resident memory in MB, what it found.
_PRELUDE = """
import asyncio, json, resource, sys, time
from pathlib import Path
def begin():
    return time.perf_counter(), time.process_time()
def done(start, result):
    seconds, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "cpu": cpu, "peak": peak, "result": result}))
repository = sys.argv[1]
"""
_READERS = {
    "peer": """
import huggingface_hub.hf_api
from huggingface_hub import HfApi
from huggingface_hub.utils import disable_progress_bars
disable_progress_bars()
start = begin()
done(start, len(HfApi().get_safetensors_metadata(repository).weight_map))
""",
    "headers": """
import aiohttp
from ome_iac.models.read import folder_tensors
from ome_iac.models.sources.hub import HubSource
from ome_iac.models.uri import HubUri
from ome_iac.models.weights import choose_weights
async def read():
    async with HubSource(HubUri(repository), lambda _: None) as source:
        listing = await source.listing()
        weights = choose_weights(listing.files, "", source.where)
        table, _, _ = await folder_tensors(source, listing, weights, lambda _: None)
        return len(table)
start = begin()
done(start, asyncio.run(read()))
""",
    "whole": """
import aiohttp, anyio.from_thread
import ome_iac.models.sources.hub, ome_iac.report.progress
from ome_iac.models.read import read_model
start = begin()
model = read_model("hf://" + repository, Path("/"))
done(start, model.parameters.total)
""",
}


def run(quick: bool = False) -> Report:
    """Medians over several turns, for each number of shards."""
    rows: list[dict[str, float | int | str]] = []
    for shards in SHARDS[:2] if quick else SHARDS:
        rows += _measure(shards, runs=2 if quick else RUNS)
    largest = {str(row["reader"]): row for row in rows if row["shards"] == rows[-1]["shards"]}
    peer, headers, whole = largest["peer"], largest["headers"], largest["whole"]
    aims = [
        Aim("headers: times faster than the peer", float(headers["times faster"]), 3, at_least=True),
        Aim("whole: times faster than the peer", float(whole["times faster"]), 3, at_least=True),
        Aim("whole: bytes, of the peer's", float(whole["MB"]) / float(peer["MB"]), 1),
        Aim("whole: requests, of the peer's", float(whole["requests"]) / float(peer["requests"]), 1),
        Aim("whole: peak memory, MB", float(whole["peak MB"]), 200),
    ]
    return Report(f"read_model: DeepSeek-V3, {LATENCY * 1000:.0f} ms a request", rows, aims)


def _measure(shards: int, runs: int) -> list[dict[str, float | int | str]]:
    with tempfile.TemporaryDirectory() as folder:
        _make(Path(folder) / "deepseek-v3", shards)
        taken: dict[str, list[dict[str, Any]]] = {reader: [] for reader in _READERS}
        command = [sys.executable, "-m", "tests.servers.hub", folder, "--latency", str(LATENCY)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            url = json.loads(server.stdout.readline())["url"]
            for _ in range(runs):
                for reader, code in _READERS.items():
                    taken[reader].append(_read(code, url))
            server.communicate("")
    peer = statistics.median(each["seconds"] for each in taken["peer"])
    return [
        {
            "shards": shards,
            "reader": reader,
            "seconds": (seconds := statistics.median(each["seconds"] for each in each_run)),
            "times faster": peer / seconds,
            "CPU s": statistics.median(each["cpu"] for each in each_run),
            "requests": each_run[-1]["requests"],
            "MB": each_run[-1]["bytes"] / 1e6,
            "peak MB": max(each["peak"] for each in each_run),
        }
        for reader, each_run in taken.items()
    ]


def _make(folder: Path, shards: int) -> None:
    """The whole model, or as many of its tensors as make that many shards of the same size."""
    published = MODELS["deepseek-v3"]
    if shards == published.shards:
        make_weights(folder, "deepseek-v3")
        return
    tensors = list(published.tensors())
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(published.config))
    write_sharded(folder, tensors[: len(tensors) * shards // published.shards], shards, published.shard_name)


def _read(code: str, url: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "HF_ENDPOINT": url, "HF_HOME": cache, "HF_HUB_DISABLE_XET": "1"}
        command = [sys.executable, "-c", _PRELUDE + code, "org/deepseek-v3"]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    with urllib.request.urlopen(f"{url}/_count") as answer:
        return {**json.loads(done.stdout), **json.load(answer)}
