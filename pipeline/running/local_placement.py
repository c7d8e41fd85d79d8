"""The local placement: worker processes on this machine, each with a supervisor in a thread of the driver."""

from __future__ import annotations

import math
import os
import queue
import threading

from pipeline.running.messages import Message, WorkerSpec
from pipeline.running.placement import Capacity, Placement, WorkerId
from pipeline.running.supervisor import Supervisor
from stages.contract.stage import Row


class _LocalWorker:
    """One worker: a thread that takes batches from one queue and puts messages into another."""

    def __init__(
        self,
        worker: WorkerId,
        spec: WorkerSpec,
        messages: queue.SimpleQueue[tuple[WorkerId, Message]],
        cards: tuple[str, ...],
        before: list[threading.Thread],
    ):
        self.supervisor = Supervisor(spec, {"CUDA_VISIBLE_DEVICES": ",".join(cards)} if cards else None)
        self.gpus, self.cards = spec.gpus, cards
        self.batches: queue.SimpleQueue[list[Row] | None] = queue.SimpleQueue()
        self._worker = worker
        self._messages = messages
        self._before = before  # threads of stopped workers that may still use these cards
        self.thread = threading.Thread(target=self._serve, name=f"{spec.stage.name}-{worker}", daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        for thread in self._before:
            thread.join()
        while (rows := self.batches.get()) is not None:
            for message in self.supervisor.run(rows):
                self._messages.put((self._worker, message))
        self.supervisor.close()


class LocalPlacement(Placement):
    name = "local"

    def __init__(self) -> None:
        self._workers: dict[WorkerId, _LocalWorker] = {}
        self._stopping: list[_LocalWorker] = []
        self._messages: queue.SimpleQueue[tuple[WorkerId, Message]] = queue.SimpleQueue()

    def capacity(self) -> Capacity:
        return Capacity(cpus=float(len(os.sched_getaffinity(0))), gpus=float(len(_visible_cards())))

    def start(self, worker: WorkerId, spec: WorkerSpec) -> None:
        cards = self._freest_cards(spec.gpus)
        self._stopping = [local_worker for local_worker in self._stopping if local_worker.thread.is_alive()]
        before = [
            local_worker.thread for local_worker in self._stopping if not set(local_worker.cards).isdisjoint(cards)
        ]
        self._workers[worker] = _LocalWorker(worker, spec, self._messages, cards, before)

    def _freest_cards(self, gpus: float) -> tuple[str, ...]:
        """The cards for a worker that takes this many GPUs: those with the least load."""
        load = dict.fromkeys(_visible_cards(), 0.0)
        for local_worker in self._workers.values():
            for card in local_worker.cards:
                load[card] += local_worker.gpus / len(local_worker.cards)
        return tuple(sorted(load, key=load.__getitem__)[: math.ceil(gpus)])

    def send(self, worker: WorkerId, rows: list[Row]) -> None:
        self._workers[worker].batches.put(rows)

    def wait(self, seconds: float) -> list[tuple[WorkerId, Message]]:
        try:
            messages = [self._messages.get(timeout=seconds)]
        except queue.Empty:
            return []
        while True:
            try:
                messages.append(self._messages.get_nowait())
            except queue.Empty:
                return messages

    def stop(self, worker: WorkerId) -> None:
        local_worker = self._workers.pop(worker)
        local_worker.batches.put(None)
        self._stopping.append(local_worker)

    def close(self) -> None:
        workers = [*self._stopping, *self._workers.values()]
        for local_worker in workers:
            local_worker.batches.put(None)
            local_worker.supervisor.interrupt()
        for local_worker in workers:
            local_worker.thread.join(timeout=1)
        self._workers.clear()
        self._stopping.clear()


def _visible_cards() -> list[str]:
    """The GPUs of this machine, as CUDA_VISIBLE_DEVICES names them."""
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is not None:
        return [part.strip() for part in shown.split(",") if part.strip() not in ("", "-1")]
    found = [name for name in os.listdir("/dev") if name.startswith("nvidia") and name[6:].isdigit()]
    return [str(number) for number in range(len(found))]
