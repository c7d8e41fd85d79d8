"""Five stages that do nothing, to see what the runner itself costs."""

from __future__ import annotations

from typing import ClassVar

from stages.contract.stage import Context, Done, Stage, Work, each


class One(Stage):
    reads: ClassVar[tuple[str, ...]] = ("id",)

    def open(self, context: Context) -> Work:
        return each(lambda row: Done())


class Two(One):
    reads: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ("one",)


class Three(Two):
    needs: ClassVar[tuple[str, ...]] = ("two",)


class Four(Two):
    needs: ClassVar[tuple[str, ...]] = ("three",)


class Five(Two):
    needs: ClassVar[tuple[str, ...]] = ("four",)
