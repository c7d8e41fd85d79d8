"""The Ray placement: each worker is a process on a node of a Ray cluster, started and supervised by a Ray actor.

The actor reserves GPUs on its node. It loads no heavy library and runs no stage code, so it survives a row that crashes
its worker.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from manifests.text import message
from pipeline.running.messages import LOST, BatchEnd, Message, WorkerDied, WorkerSpec
from pipeline.running.placement import Capacity, Placement, PlacementError, WorkerId
from pipeline.running.supervisor import Supervisor
from pipeline.running.worker import die_with_parent
from stages.contract.stage import Row

_RESUME = "run the same command again to resume"
_TOKEN_CPUS = 0.001  # keeps actors off nodes without CPUs
_ANSWER_SECONDS = 10.0
_SILENCE_SECONDS = 30.0  # a head that does not answer for so long has ended; after 60 Ray would end this process
_ROOT = str(Path(__file__).resolve().parents[2])


@ray.remote
class WorkerActor:
    def __init__(self, spec: WorkerSpec):
        die_with_parent()  # the raylet: Ray lets an actor that is at work go on without it
        self._supervisor = Supervisor(spec)

    @ray.method(num_returns="streaming")
    def run(self, rows: list[Row]) -> Iterator[Message]:
        yield from self._supervisor.run(rows)

    def close(self) -> None:
        self._supervisor.close()


def connect(address: str | None = None) -> None:
    """Connect to the cluster at this address or at RAY_ADDRESS; if neither is given, start a Ray on this machine."""
    address = address or os.environ.get("RAY_ADDRESS")
    inherited = {"env_vars": {"PYTHONPATH": os.pathsep.join([_ROOT, os.environ.get("PYTHONPATH", "")]).rstrip(":")}}
    # In a submitted job Ray has copied the working directory to every node; elsewhere nodes share this checkout.
    in_job = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
    options: dict[str, Any] = {} if address else {"include_dashboard": False, "object_store_memory": 200 * 2**20}
    try:
        if address:
            _require_answer(address)
    except OSError as error:
        raise PlacementError(f"no Ray cluster answers at {address} (RAY_ADDRESS): {error}") from error
    try:
        with contextlib.chdir(_ROOT):  # Ray's workers import from this folder first; the user's may have other `stages`
            ray.init(
                address=address or "local",
                runtime_env=None if in_job else inherited,
                logging_level=logging.ERROR,
                log_to_driver=False,
                **options,
            )
    except Exception as error:  # ray raises a plain Exception if a node is slow to start
        what = f"cannot connect to the Ray cluster {address}" if address else "cannot start Ray"
        raise PlacementError(f"{what}: {message(error)}; pass --engine local to run without Ray") from error


def _require_answer(address: str) -> None:
    """Raise OSError if nothing answers at the address: Ray itself would try for ten minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon and port.isdecimal():  # unlike "auto"
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_SECONDS).close()


class RayPlacement(Placement):
    name = "ray"

    def __init__(self, address: str | None = None):
        connect(address)
        self._actors: dict[WorkerId, ray.actor.ActorHandle] = {}
        self._streams: dict[ray.ObjectRefGenerator, WorkerId] = {}
        self._head = ray.get_runtime_context().gcs_address
        self._node = ray.get_runtime_context().get_node_id()
        self._answered_at = time.monotonic()
        self._lost = False
        self._capacity = Capacity(cpus=0.0, gpus=0.0)

    def capacity(self) -> Capacity:
        """What the cluster has now; what it had, while its head does not answer."""
        if self._head_answers():
            self._require_node()
            total = ray.cluster_resources()
            self._capacity = Capacity(cpus=total.get("CPU", 0.0), gpus=total.get("GPU", 0.0))
        return self._capacity

    def _head_answers(self) -> bool:
        """Whether the head can be asked: with none, Ray's own functions wait, then end this process."""
        try:
            _require_answer(self._head)
        except OSError as error:
            if time.monotonic() - self._answered_at < _SILENCE_SECONDS:
                return False
            self._lost = True
            raise PlacementError(f"the head of the Ray cluster, {self._head}, has ended: {error}; {_RESUME}") from error
        self._answered_at = time.monotonic()
        return True

    def _require_node(self) -> None:
        """Raise PlacementError if this process's node has ended: no result of any worker would arrive."""
        if not any(node["Alive"] for node in ray.nodes() if node["NodeID"] == self._node):
            self._lost = True
            raise PlacementError(f"the Ray node of this process ({self._node[:8]}) has ended; {_RESUME}")

    def start(self, worker: WorkerId, spec: WorkerSpec) -> None:
        # Ask Ray for GPUs but not for CPUs: the scheduler counts CPUs itself, for busy workers only. Idle actors that
        # reserved CPUs could block the actors of another stage for ever.
        self._actors[worker] = WorkerActor.options(  # type: ignore[attr-defined]
            num_cpus=_TOKEN_CPUS, num_gpus=spec.gpus, max_restarts=0, scheduling_strategy="SPREAD"
        ).remote(spec)

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
            if isinstance(message, (BatchEnd, WorkerDied)):
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
            return WorkerDied(LOST, f"the Ray actor of the worker has ended: {error}")

    def stop(self, worker: WorkerId) -> None:
        actor = self._actors.pop(worker, None)
        if actor is not None:
            actor.close.remote()
            actor.__ray_terminate__.remote()

    def close(self) -> None:
        if self._lost:  # Ray would wait for what has ended; the workers end with their node
            return
        for actor in self._actors.values():
            ray.kill(actor)
        self._actors.clear()
        self._streams.clear()
        ray.shutdown()
