"""Addresses of members of archives: zip:///MEMBER::ARCHIVE and tar:///MEMBER::ARCHIVE, as fsspec writes them."""

from __future__ import annotations

from typing import NamedTuple

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz")
OTHER_ENDINGS = (".7z", ".rar", ".tar.bz2", ".tar.xz", ".tar.zst")
_SCHEMES = ("zip://", "tar://")


class Member(NamedTuple):
    name: str
    archive: str  # a path


def member_of(address: str) -> Member | None:
    """The member that an address names; None if it is not the address of a member."""
    if not address.startswith(_SCHEMES) or "::" not in address:
        return None
    name, _, archive = address[len(_SCHEMES[0]) :].rpartition("::")
    return Member(name.lstrip("/"), archive.removeprefix("file://"))


def address_of(member: Member) -> str:
    scheme = "zip" if member.archive.lower().endswith(".zip") else "tar"
    return f"{scheme}:///{member.name}::{member.archive}"


def local_file(address: str) -> str:
    """The local file that an address is read from, which is the archive for a member; "" for a store or the web."""
    member = member_of(address)
    path = member.archive if member else address
    return "" if "://" in path else path
