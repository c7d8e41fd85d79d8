"""Run a function in several processes of this machine, connected in the way of torchrun."""

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
from stages.common.telling import tell_if_slow

if TYPE_CHECKING:
    from stages.clip_gs.ranks import Ranks

Work = Callable[[argparse.Namespace, "Ranks"], int]  # a module's function, since every process imports it by name


class Terminated(RunError):
    """A process was ended by SIGTERM before it had installed its handler."""


def together(work: Work, options: argparse.Namespace, processes: int) -> int:
    """Run `work` in this number of processes, or, under torchrun, as one of its processes.

    Returns the exit code; raises RunError if a process fails.
    """
    if processes < 1:
        raise RunError(f"{processes} processes: expected at least 1")
    with tell_if_slow("Loading PyTorch"):
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
        raise RunError(
            f"{processes} processes: expected at most {gpus}, since each takes one of the GPUs of this machine"
        )


def _start(
    work: Work, options: argparse.Namespace, processes: int
) -> tuple[list[multiprocessing.process.BaseProcess], list[Connection]]:
    context = multiprocessing.get_context("spawn")  # a fork would not copy the threads of torch and Arrow
    members: list[multiprocessing.process.BaseProcess] = []
    receivers: list[Connection] = []
    port = free_port()
    for rank in range(processes):
        receiver, sender = context.Pipe(duplex=False)
        member = context.Process(target=_join, args=(work, options, rank, processes, port, sender), daemon=True)
        member.start()
        sender.close()
        members.append(member)
        receivers.append(receiver)
    return members, receivers


def _watch(members: list[multiprocessing.process.BaseProcess], receivers: list[Connection]) -> int:
    """Wait until all have succeeded; the first error ends the others, which would otherwise wait forever."""
    running = {member.sentinel: rank for rank, member in enumerate(members)}
    try:
        while running:
            ready = wait([*running, *receivers])
            for receiver in [receiver for receiver in receivers if receiver in ready]:
                try:
                    raise RunError(receiver.recv())
                except EOFError:
                    receivers.remove(receiver)
            for sentinel in [sentinel for sentinel in ready if sentinel in running]:
                rank = running.pop(sentinel)
                members[rank].join()
                if code := members[rank].exitcode:
                    kind = Terminated if code == -signal.SIGTERM else RunError
                    raise kind(f"process {rank} of {len(members)} ended with exit code {code}")
        return 0
    finally:
        for member in members:
            member.terminate()


def _join(work: Work, options: argparse.Namespace, rank: int, world: int, port: int, sender: Connection) -> None:
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one handles Ctrl-C, and ends all
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
            sender.send(str(error))
            signal.pause()  # exiting now would make the others fail with errors of their own
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads of Arrow and torch can abort an interpreter that is shutting down


def _leave_with_parent() -> None:
    """Exit when the parent has ended, for any reason."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
