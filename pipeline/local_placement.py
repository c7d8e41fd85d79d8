"""Worker processes on this machine, each with a supervisor in a thread of the driver. Needs no Ray."""

from __future__ import annotations

import math
import os
import queue
import threading

from pipeline.messages import Message, Post
from pipeline.placement import Capacity, Placement, WorkerId
from pipeline.supervisor import Supervisor
from stages.stage import Row


class _Desk:
    """One worker's thread: takes batches in, passes messages out."""

    def __init__(
        self,
        worker: WorkerId,
        post: Post,
        told: queue.SimpleQueue[tuple[WorkerId, Message]],
        cards: tuple[str, ...],
        before: list[threading.Thread],
    ):
        self.supervisor = Supervisor(post, {"CUDA_VISIBLE_DEVICES": ",".join(cards)} if cards else None)
        self.gpus, self.cards = post.gpus, cards
        self.batches: queue.SimpleQueue[list[Row] | None] = queue.SimpleQueue()
        self._worker = worker
        self._told = told
        self._before = before  # those of workers that may still hold the cards
        self.thread = threading.Thread(target=self._serve, name=f"{post.stage.name}-{worker}", daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        for thread in self._before:
            thread.join()
        while (rows := self.batches.get()) is not None:
            for message in self.supervisor.run(rows):
                self._told.put((self._worker, message))
        self.supervisor.close()


class LocalPlacement(Placement):
    name = "local"

    def __init__(self) -> None:
        self._desks: dict[WorkerId, _Desk] = {}
        self._leaving: list[_Desk] = []  # told to end
        self._told: queue.SimpleQueue[tuple[WorkerId, Message]] = queue.SimpleQueue()

    def capacity(self) -> Capacity:
        return Capacity(cpus=float(len(os.sched_getaffinity(0))), gpus=float(len(_visible_cards())))

    def start(self, worker: WorkerId, post: Post) -> None:
        cards = self._freest_cards(post.gpus)
        self._leaving = [desk for desk in self._leaving if desk.thread.is_alive()]
        before = [desk.thread for desk in self._leaving if not set(desk.cards).isdisjoint(cards)]
        self._desks[worker] = _Desk(worker, post, self._told, cards, before)

    def _freest_cards(self, gpus: float) -> tuple[str, ...]:
        """As many cards as are asked for, those that the fewest workers share."""
        load = dict.fromkeys(_visible_cards(), 0.0)
        for desk in self._desks.values():
            for card in desk.cards:
                load[card] += desk.gpus / len(desk.cards)
        return tuple(sorted(load, key=load.__getitem__)[: math.ceil(gpus)])

    def send(self, worker: WorkerId, rows: list[Row]) -> None:
        self._desks[worker].batches.put(rows)

    def wait(self, seconds: float) -> list[tuple[WorkerId, Message]]:
        try:
            messages = [self._told.get(timeout=seconds)]
        except queue.Empty:
            return []
        while True:
            try:
                messages.append(self._told.get_nowait())
            except queue.Empty:
                return messages

    def stop(self, worker: WorkerId) -> None:
        desk = self._desks.pop(worker)
        desk.batches.put(None)
        self._leaving.append(desk)

    def close(self) -> None:
        desks = [*self._leaving, *self._desks.values()]
        for desk in desks:
            desk.batches.put(None)
            desk.supervisor.interrupt()
        for desk in desks:
            desk.thread.join(timeout=1)
        self._desks.clear()
        self._leaving.clear()


def _visible_cards() -> list[str]:
    """Names that CUDA_VISIBLE_DEVICES takes."""
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is not None:
        return [part.strip() for part in shown.split(",") if part.strip() not in ("", "-1")]
    found = [name for name in os.listdir("/dev") if name.startswith("nvidia") and name[6:].isdigit()]
    return [str(number) for number in range(len(found))]
