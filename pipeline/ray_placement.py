"""Workers on a Ray cluster: an actor holds a place (CPUs, a share of a GPU) on a node and supervises one process there.

The actor itself loads nothing heavy and runs no stage code, so a row that crashes its worker never costs an actor.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import ray
from ray.exceptions import RayError

from pipeline.messages import LOST, BatchEnd, Died, Message, Post
from pipeline.placement import Capacity, Placement, PlacementError, WorkerId
from pipeline.supervisor import Supervisor
from stages.stage import Row

_TOKEN_CPUS = 0.001  # keeps actors off nodes that offer no CPU
_ANSWER_SECONDS = 10.0
_ROOT = str(Path(__file__).resolve().parent.parent)


@ray.remote
class Place:
    def __init__(self, post: Post):
        self._supervisor = Supervisor(post)

    @ray.method(num_returns="streaming")
    def run(self, rows: list[Row]) -> Iterator[Message]:
        yield from self._supervisor.run(rows)

    def close(self) -> None:
        self._supervisor.close()


def connect(address: str | None = None) -> None:
    """To the cluster at the address or that RAY_ADDRESS names, or to a Ray of our own."""
    address = address or os.environ.get("RAY_ADDRESS")
    inherited = {"env_vars": {"PYTHONPATH": os.pathsep.join([_ROOT, os.environ.get("PYTHONPATH", "")]).rstrip(":")}}
    # In a submitted job the working directory is on every node already; elsewhere nodes share this checkout.
    in_job = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
    options = {} if address else {"include_dashboard": False, "object_store_memory": 200 * 2**20}
    if address:
        _look_for(address)
    try:
        ray.init(
            address=address or "local",
            runtime_env=None if in_job else inherited,
            logging_level="error",
            log_to_driver=False,
            **options,
        )
    except Exception as error:  # ray raises Exception itself where a node is too slow to start
        what = f"{address} is no Ray cluster that can be used" if address else "Ray could not be started"
        why = " ".join(str(error).split())[:300]
        raise PlacementError(f"{what}: {why}; --engine local does without Ray") from error


def _look_for(address: str) -> None:
    """Ray would try for ten minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not colon or not port.isdecimal():  # such as "auto"
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_SECONDS).close()
    except OSError as error:
        raise PlacementError(f"no Ray cluster answers at {address} (RAY_ADDRESS): {error}") from error


class RayPlacement(Placement):
    name = "ray"

    def __init__(self, address: str | None = None):
        connect(address)
        self._actors: dict[WorkerId, ray.actor.ActorHandle] = {}
        self._streams: dict[ray.ObjectRefGenerator, WorkerId] = {}

    def capacity(self) -> Capacity:
        total = ray.cluster_resources()
        return Capacity(cpus=total.get("CPU", 0.0), gpus=total.get("GPU", 0.0))

    def start(self, worker: WorkerId, post: Post) -> None:
        # The scheduler counts the GPUs of all workers, as Ray does, but the CPUs of busy ones only. Asking Ray for
        # those too would let idle workers of one stage keep those of another from a place on a small or fragmented
        # cluster, for ever.
        self._actors[worker] = Place.options(
            num_cpus=_TOKEN_CPUS, num_gpus=post.gpus, max_restarts=0, scheduling_strategy="SPREAD"
        ).remote(post)

    def send(self, worker: WorkerId, rows: list[Row]) -> None:
        self._streams[self._actors[worker].run.remote(rows)] = worker

    def wait(self, seconds: float) -> list[tuple[WorkerId, Message]]:
        if not self._streams:
            time.sleep(min(seconds, 0.05))
            return []
        ready, _ = ray.wait(list(self._streams), num_returns=len(self._streams), timeout=0, fetch_local=False)
        if not ready:
            ready, _ = ray.wait(list(self._streams), num_returns=1, timeout=seconds, fetch_local=False)
        messages = []
        for stream in ready:
            worker = self._streams[stream]
            message = self._next(stream)
            if isinstance(message, (BatchEnd, Died)):
                del self._streams[stream]
            messages.append((worker, message))
        return messages

    def _next(self, stream: ray.ObjectRefGenerator) -> Message:
        try:
            return ray.get(next(stream))
        except (RayError, StopIteration) as error:
            actor = self._actors.pop(self._streams[stream], None)
            if actor is not None:
                ray.kill(actor)
            return Died(LOST, f"its Ray actor is gone: {' '.join(str(error).split())[:200]}")

    def stop(self, worker: WorkerId) -> None:
        actor = self._actors.pop(worker, None)
        if actor is not None:
            actor.close.remote()
            actor.__ray_terminate__.remote()

    def close(self) -> None:
        for actor in self._actors.values():
            ray.kill(actor)
        self._actors.clear()
        self._streams.clear()
        ray.shutdown()
