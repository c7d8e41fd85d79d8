"""Compute results in threads before they are asked for."""

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
