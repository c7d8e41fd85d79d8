"""Work done ahead of the one who waits for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")


def ahead(make: Callable[[Given], Made], given: Iterable[Given], threads: int) -> Iterator[Made]:
    """make(...) of each, in order; with several threads that many are made at once, and as many more lie ready."""
    if threads < 2:
        yield from map(make, given)
        return
    left = iter(given)
    with ThreadPoolExecutor(threads) as pool:
        under_way: deque[Future[Made]] = deque(pool.submit(make, one) for one in islice(left, 2 * threads))
        while under_way:
            made = under_way.popleft().result()
            under_way.extend(pool.submit(make, one) for one in islice(left, 1))
            yield made
