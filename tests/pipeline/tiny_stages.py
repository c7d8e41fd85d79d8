"""Tiny stages for the tests of the runner. A row's own columns say what some of them do to it."""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import ClassVar

from stages.contract.stage import Context, DamagedInput, Done, Member, Row, Stage, StageError, Work, each, read_input


class Start(Stage):
    """Reads nothing.  out: started"""

    reads: ClassVar[tuple[str, ...]] = ("id",)

    def open(self, context: Context) -> Work:
        return each(lambda row: Done({"started": row["id"]}))


class Trouble(Stage):
    """Does what the row's `name` says; a name that says nothing is a good row.  out: survived, pid"""

    needs: ClassVar[tuple[str, ...]] = ("start",)
    reads: ClassVar[tuple[str, ...]] = ("name",)
    setting: int = 0

    def open(self, context: Context) -> Work:
        def work(row: Row) -> Done:
            deed = row.get("name", "")
            if not deed.endswith("_once") or context.store.create(f"marks/{row['id']}", b""):
                _do(deed.removesuffix("_once"), row)
            return Done({"survived": row["started"], "pid": os.getpid()})

        return each(work)


def _do(deed: str, row: Row) -> None:
    match deed:
        case "fail":
            raise StageError("made_to_fail", f"{row['id']}: as its name says")
        case "busy":
            raise StageError("busy", "not now", transient=True)
        case "raise":
            raise ZeroDivisionError("a bug")
        case "exit":
            print("\nabout to exit", flush=True)
            os._exit(3)
        case "segfault":
            ctypes.string_at(0)
        case "hang":
            signal.pause()
        case "slow":
            time.sleep(0.05)
        case "kill" | "stop":
            os.kill(os.getpid(), signal.SIGKILL if deed == "kill" else signal.SIGSTOP)
        case _ if deed in _TAKES_TOO_MUCH:
            _TAKES_TOO_MUCH[deed]()


_LEAKED: list[bytes] = []


def _eat() -> None:
    eaten = []
    for _ in range(200):  # 10 GB at most, were nobody to stop it
        eaten.append(b"\1" * 50_000_000)
        time.sleep(0.02)


def _print_until_it_is_dropped() -> None:
    size = -1
    while os.fstat(1).st_size > size:
        size = os.fstat(1).st_size
        os.write(1, b"x" * 1000)


def _send_half_a_message() -> None:
    os.write(int(sys.argv[1]), b"\0\0\1\0half a message")
    os.kill(os.getpid(), signal.SIGSTOP)


_TAKES_TOO_MUCH: dict[str, Callable[[], object]] = {
    "eat": _eat,
    "list": lambda: [0] * 10**9,  # one call, in which no other thread of Python runs
    "json": lambda: json.loads("[" + "{}," * 40_000_000 + "{}]"),  # one that takes its memory slowly
    "leak": lambda: _LEAKED.append(b"\1" * 20_000_000),
    "child": lambda: subprocess.run(
        [sys.executable, "-c", "import time; x = [0] * 10**8; time.sleep(600)"], check=False
    ),
    "refused": lambda: bytearray(1 << 60),  # MemoryError
    "print": _print_until_it_is_dropped,
    "half": _send_half_a_message,
}


class Finish(Stage):
    """in: survived   out: finished"""

    needs: ClassVar[tuple[str, ...]] = ("trouble",)
    setting: int = 0

    def open(self, context: Context) -> Work:
        return each(lambda row: Done({"finished": row["survived"]}))


class Tell(Stage):
    """in: started, and survived where there is a trouble   out: told"""

    needs: ClassVar[tuple[str, ...]] = ("start",)

    @property
    def may_need(self) -> tuple[str, ...]:
        return ("trouble",)

    def open(self, context: Context) -> Work:
        return each(lambda row: Done({"told": row.get("survived")}))


class Broken(Stage):
    """Cannot be opened."""

    reads: ClassVar[tuple[str, ...]] = ("id",)

    def open(self, context: Context) -> Work:
        raise RuntimeError("no such model")


class Dying(Stage):
    """Dies while it opens, of what `how` says."""

    reads: ClassVar[tuple[str, ...]] = ("id",)
    how: str

    def open(self, context: Context) -> Work:
        _do(self.how, {})
        raise AssertionError("nobody ended it")


class Buggy(Stage):
    """Raises on every row what it does not explain."""

    reads: ClassVar[tuple[str, ...]] = ("id",)

    def open(self, context: Context) -> Work:
        return each(lambda row: Done({"x": row["no_such_column"]}))


class Silent(Stage):
    """Says nothing of the rows whose id begins with an underscore.  out: said"""

    reads: ClassVar[tuple[str, ...]] = ("id",)

    def open(self, context: Context) -> Work:
        work = each(lambda row: Done({"said": row["id"]}))
        return lambda rows: work([row for row in rows if not row["id"].startswith("_")])


class Keep(Stage):
    """Has an artifact.  out: kept"""

    reads: ClassVar[tuple[str, ...]] = ("id",)
    artifact: ClassVar[str] = "kept"
    suffix: ClassVar[str] = ".txt"

    def open(self, context: Context) -> Work:
        return each(lambda row: Done({"length": len(row["id"])}, artifact=row["id"].encode()))


class Read(Stage):
    """Reads what keep made, and sees where it is damaged.  in: kept   out: read"""

    needs: ClassVar[tuple[str, ...]] = ("keep",)

    def open(self, context: Context) -> Work:
        def work(row: Row) -> Done:
            text = read_input(context.store, row, "kept", "keep", bytes.decode)
            if text != row["id"]:
                raise DamagedInput("keep", f"it says {text!r}")
            return Done({"read": text})

        return each(work)


class Use(Stage):
    """Reads it without a care.  in: kept   out: used"""

    needs: ClassVar[tuple[str, ...]] = ("keep",)
    setting: int = 0

    def open(self, context: Context) -> Work:
        return each(lambda row: Done({"used": context.store.read(row["kept"]).decode()}))


class UseToo(Use):
    """Another that needs the same.  in: kept   out: used"""


class Gather(Stage):
    """Reads what keep made of each member of a block, and sees where it is damaged.  out: gathered"""

    of_blocks: ClassVar[bool] = True

    def open(self, context: Context) -> Work:
        def read(member: Member) -> str:
            text = read_input(context.store, member["outcomes"]["keep"], "kept", "keep", bytes.decode, member["id"])
            if text != member["id"]:
                raise DamagedInput("keep", f"it says {text!r}", member["id"])
            return text

        return each(lambda block: Done({"gathered": [read(member) for member in block["members"]]}))


class ShowCards(Stage):
    """Says what it was given, once all `workers` are open, so that none takes all rows.  out: cards, device"""

    needs: ClassVar[tuple[str, ...]] = ("start",)
    workers: int = 1

    @property
    def on_gpu(self) -> bool:
        return True

    def open(self, context: Context) -> Work:
        context.store.create(f"marks/{os.getpid()}", b"")
        while len(context.store.list("marks")) < self.workers:
            time.sleep(0.02)
        return each(lambda row: Done({"cards": os.environ.get("CUDA_VISIBLE_DEVICES"), "device": context.device}))


class Reveal(Stage):
    """Says what its process has inherited.  out: variables, files"""

    reads: ClassVar[tuple[str, ...]] = ("id",)
    opens_sources: ClassVar[bool] = True
    variable: str = ""

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.variable,) if self.variable else ()

    def open(self, context: Context) -> Work:
        return each(lambda row: Done({"variables": dict(os.environ), "files": _open_files()}))


def _open_files() -> list[str]:
    folder = "/proc/self/fd"
    return sorted(os.readlink(f"{folder}/{name}") for name in os.listdir(folder) if os.path.lexists(f"{folder}/{name}"))


class Hold(Stage):
    """Has the one card to itself from its opening until its process has ended, which takes a while.  out: held"""

    needs: ClassVar[tuple[str, ...]] = ("start",)

    @property
    def on_gpu(self) -> bool:
        return True

    def open(self, context: Context) -> Work:
        if not context.store.create("card", b""):
            raise RuntimeError("the card is taken")
        atexit.register(context.store.delete, "card")
        atexit.register(time.sleep, 0.3)
        return each(lambda row: Done({"held": row["started"]}))


class HoldToo(Hold):
    """Another beside it.  out: held"""


class HoldLast(Hold):
    """One that follows.  out: held"""

    needs: ClassVar[tuple[str, ...]] = ("start", "holdtoo")
