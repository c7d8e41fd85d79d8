"""Several processes of this machine that work as one, known to each other as torchrun makes them known."""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from pipeline.planning.run import RunError
from pipeline.training.errors import expected_errors

if TYPE_CHECKING:
    from stages.clip_gs.ranks import Ranks

Work = Callable[[argparse.Namespace, "Ranks"], int]  # a function of a module, for every process finds it by its name


class Terminated(RunError):
    """A process ended by SIGTERM, which came before it could hear it."""


def together(work: Work, options: argparse.Namespace, processes: int) -> int:
    """`work` on so many processes, as one of torchrun's where there are some; RunError where one of them fails."""
    if processes < 1:
        raise RunError(f"{processes} processes: expected at least 1")
    _refuse_more_than_gpus(int(os.environ.get("LOCAL_WORLD_SIZE", processes)))
    if processes == 1 or "RANK" in os.environ:
        from stages.clip_gs.ranks import joined

        try:
            with joined() as ranks:
                return work(options, ranks)
        except expected_errors() as error:
            raise RunError(str(error)) from error
    return _watch(*_start(work, options, processes))


def _refuse_more_than_gpus(processes: int) -> None:
    import torch

    if 0 < (gpus := torch.cuda.device_count()) < processes:
        raise RunError(f"{processes} processes: expected at most {gpus}, for each takes one of the GPUs here")


def _start(
    work: Work, options: argparse.Namespace, processes: int
) -> tuple[list[multiprocessing.process.BaseProcess], list[Connection]]:
    context = multiprocessing.get_context("spawn")  # a fork would copy the threads of torch and Arrow half
    members: list[multiprocessing.process.BaseProcess] = []
    ears: list[Connection] = []
    port = free_port()
    for rank in range(processes):
        ear, mouth = context.Pipe(duplex=False)
        member = context.Process(target=_join, args=(work, options, rank, processes, port, mouth), daemon=True)
        member.start()
        mouth.close()
        members.append(member)
        ears.append(ear)
    return members, ears


def _watch(members: list[multiprocessing.process.BaseProcess], ears: list[Connection]) -> int:
    """Until all have ended well; the first complaint ends the others, who would wait for its sender for ever."""
    at_work = {member.sentinel: rank for rank, member in enumerate(members)}
    try:
        while at_work:
            ready = wait([*at_work, *ears])
            for ear in [ear for ear in ears if ear in ready]:
                try:
                    raise RunError(ear.recv())
                except EOFError:
                    ears.remove(ear)
            for sentinel in [sentinel for sentinel in ready if sentinel in at_work]:
                rank = at_work.pop(sentinel)
                members[rank].join()
                if code := members[rank].exitcode:
                    kind = Terminated if code == -signal.SIGTERM else RunError
                    raise kind(f"process {rank} of {len(members)} ended with exit code {code}")
        return 0
    finally:
        for member in members:
            member.terminate()


def _join(work: Work, options: argparse.Namespace, rank: int, world: int, port: int, mouth: Connection) -> None:
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one who started it is told, and ends all
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // world)))
    from stages.clip_gs.ranks import joined

    with ExitStack() as stack:
        try:
            work(options, stack.enter_context(joined()))
        except expected_errors() as error:
            if options.debug:
                raise
            mouth.send(str(error))
            signal.pause()  # to leave now would end the others with complaints of their own
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads of Arrow and torch have been seen to abort an interpreter that tears itself down


def _leave_with_parent() -> None:
    """However it ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
