"""Stop a command at Ctrl-C or SIGTERM: a training, a conversion."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType


class Stop:
    """Records Ctrl-C or SIGTERM and calls `then`. A second Ctrl-C raises KeyboardInterrupt, as usual."""

    def __init__(self, then: Callable[[], None] = lambda: None):
        self.signal = 0
        self._then = then

    @property
    def code(self) -> int:
        """The exit code of the process."""
        return 128 + self.signal if self.signal else 0

    def __enter__(self) -> Stop:
        self._before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._then()
