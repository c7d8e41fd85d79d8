"""Which IP addresses are public. That they are checked, also of redirects, is tested with ingest."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from manifests.web import PrivateAddress, Web, is_public

PRIVATE = """
127.0.0.1 127.8.9.10 0.0.0.0 10.0.0.1 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 100.100.100.200 192.0.0.192
198.18.0.1 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255 168.63.129.16 192.0.2.1
:: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:169.254.169.254 64:ff9b::127.0.0.1 64:ff9b::a9fe:a9fe 64:ff9b:1::1
2002:7f00:1:: 2002:a9fe:a9fe:: 2001:0:7f00:1:: 2001:db8::1 fe80::1 fe80::1%1 fec0::1 fc00::1 fd00:ec2::254 ff02::1
""".split()


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "1.1.1.1", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1", "2002:101:101::", "2606:4700::1111"]
)
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_host_with_both_is_reached_by_its_public_address(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def answers(*addresses: str) -> Any:
        return lambda *words, **more: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (name, 80)) for name in addresses]

    tried: list[str] = []

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        tried.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setattr(socket, "getaddrinfo", answers("10.0.0.1", "1.1.1.1", "127.0.0.1", "8.8.8.8", "1.1.1.1"))
    with pytest.raises(OSError, match="urlopen error"):
        Web(allow_http=True).open(f"{scheme}://h.test/a.glb")
    assert tried == ["1.1.1.1", "8.8.8.8"]
    monkeypatch.setattr(socket, "getaddrinfo", answers("10.0.0.1", "127.0.0.1"))
    with pytest.raises(PrivateAddress):
        Web(allow_http=True).open(f"{scheme}://h.test/a.glb")
    assert len(tried) == 2
