"""Compute results in threads: before they are asked for, or while their source works on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Like map(function, items), but with two or more threads, up to `2 * threads` results are computed in advance."""
    if threads < 2:
        yield from map(function, items)
        return
    remaining = iter(items)
    with ThreadPoolExecutor(threads) as pool:
        futures: deque[Future[Result]] = deque(pool.submit(function, item) for item in islice(remaining, 2 * threads))
        while futures:
            result = futures.popleft().result()
            futures.extend(pool.submit(function, item) for item in islice(remaining, 1))
            yield result


def in_background(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Like map(function, items), but threads compute results while this one waits for the next item.

    A result comes as soon as it and those before it are complete. At most `2 * threads` are incomplete at once.
    """
    if threads < 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        futures: deque[Future[Result]] = deque()
        for item in items:
            futures.append(pool.submit(function, item))
            while futures and (futures[0].done() or len(futures) > 2 * threads):
                yield futures.popleft().result()
        for future in futures:
            yield future.result()
