"""Tiny stages for the tests of the runner: what each does to a row is told by the row's own columns."""

from __future__ import annotations

import atexit
import ctypes
import os
import time
from typing import ClassVar

from stages.contract.stage import Context, Done, Row, Stage, StageError, Work, each


class Start(Stage):
    """Reads nothing.  out: started"""

    reads: ClassVar[tuple[str, ...]] = ("id",)

    def open(self, context: Context) -> Work:
        return each(lambda row: Done({"started": row["id"]}))


class Trouble(Stage):
    """Does what `name` says: fail, raise, exit, segfault, sleep, eat, slow.  out: survived"""

    needs: ClassVar[tuple[str, ...]] = ("start",)
    reads: ClassVar[tuple[str, ...]] = ("name",)
    setting: int = 0
    slow_seconds: float = 0.05

    def open(self, context: Context) -> Work:
        return each(self._work)

    def _work(self, row: Row) -> Done:
        deed = row.get("name", "")
        if deed == "fail":
            raise StageError("made_to_fail", f"{row['id']}: as its name says")
        if deed == "fail_once" and _first_time(context_mark(row)):
            raise StageError("passing", "the first time only", transient=True)
        if deed == "raise":
            raise ZeroDivisionError("a bug")
        if deed == "exit":
            os._exit(3)
        if deed == "segfault":
            ctypes.string_at(0)
        if deed == "sleep":
            time.sleep(3600)
        if deed == "eat":
            _eat()
        if deed == "slow":
            time.sleep(self.slow_seconds)
        return Done({"survived": row["started"]})


def context_mark(row: Row) -> str:
    return row["caption"]


def _first_time(path: str) -> bool:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def _eat() -> None:
    eaten = []
    for _ in range(200):  # 10 GB at most, were nobody to stop it
        eaten.append(b"\1" * 50_000_000)
        time.sleep(0.02)


class Finish(Stage):
    """in: survived   out: finished"""

    needs: ClassVar[tuple[str, ...]] = ("trouble",)
    setting: int = 0

    def open(self, context: Context) -> Work:
        return each(lambda row: Done({"finished": row["survived"]}))


class Broken(Stage):
    """Cannot be opened."""

    reads: ClassVar[tuple[str, ...]] = ("id",)

    def open(self, context: Context) -> Work:
        raise RuntimeError("no such model")


class Dying(Stage):
    """Dies while it opens, of what `how` says: exit, segfault, eat, sleep."""

    reads: ClassVar[tuple[str, ...]] = ("id",)
    how: str

    def open(self, context: Context) -> Work:
        if self.how == "exit":
            os._exit(3)
        if self.how == "segfault":
            ctypes.string_at(0)
        if self.how == "eat":
            _eat()
        time.sleep(3600)
        raise AssertionError("nobody ended it")


class Buggy(Stage):
    """Raises on every row what it does not explain."""

    reads: ClassVar[tuple[str, ...]] = ("id",)

    def open(self, context: Context) -> Work:
        return each(lambda row: Done({"x": row["no_such_column"]}))


class Keep(Stage):
    """Has an artifact.  out: kept"""

    reads: ClassVar[tuple[str, ...]] = ("id",)
    artifact: ClassVar[str] = "kept"
    suffix: ClassVar[str] = ".txt"

    def open(self, context: Context) -> Work:
        return each(lambda row: Done({"length": len(row["id"])}, artifact=row["id"].encode()))


class Use(Stage):
    """in: kept   out: used"""

    needs: ClassVar[tuple[str, ...]] = ("keep",)
    setting: int = 0

    def open(self, context: Context) -> Work:
        return each(lambda row: Done({"used": context.store.read(row["kept"]).decode()}))


class UseToo(Use):
    """Another that needs the same.  in: kept   out: used"""


class ShowCards(Stage):
    """Says what it was given.  out: cards, device"""

    needs: ClassVar[tuple[str, ...]] = ("start",)

    @property
    def on_gpu(self) -> bool:
        return True

    def open(self, context: Context) -> Work:
        def work(row: Row) -> Done:
            time.sleep(0.2)  # so that one worker does not take all
            return Done({"cards": os.environ.get("CUDA_VISIBLE_DEVICES"), "device": context.device})

        return each(work)


class Hold(Stage):
    """Has the one card to itself from its opening until its process has ended, which takes a while.  out: held"""

    needs: ClassVar[tuple[str, ...]] = ("start",)
    card: str  # a file that is there while somebody has the card

    @property
    def on_gpu(self) -> bool:
        return True

    def open(self, context: Context) -> Work:
        if not _first_time(self.card):
            raise RuntimeError("the card is taken")
        atexit.register(os.unlink, self.card)
        atexit.register(time.sleep, 0.3)
        return each(lambda row: Done({"held": row["started"]}))


class HoldToo(Hold):
    """Another beside it.  out: held"""


class HoldLast(Hold):
    """One that follows.  out: held"""

    needs: ClassVar[tuple[str, ...]] = ("start", "holdtoo")
