"""Open http(s) addresses, and reach only hosts with public addresses unless the settings allow others."""

from __future__ import annotations

import http.client
import ipaddress
import re
import socket
import ssl
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from manifests.addresses import WEB, AddressError, scheme_of
from manifests.text import message

_SETTING = "ingest.allow_private_addresses"
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# what clouds answer their own machines at, although it looks public: Oracle's, Azure's
_CLOUDS = [ipaddress.ip_network(network) for network in ("192.0.0.0/24", "168.63.129.16/32")]
# characters that are not allowed in the path or query of a URL
_FOREIGN = re.compile(r"[^\w.~!$&'()*+,;=:@/?%-]|%(?![0-9A-Fa-f]{2})", re.ASCII)


class HttpNotAllowed(AddressError):
    """The settings allow no http(s) address."""


class PrivateAddress(AddressError):
    """The host has no public address."""


class RedirectRefused(AddressError):
    """The server sends elsewhere, which is not followed."""


@dataclass(frozen=True)
class Web:
    """What may be fetched from web servers."""

    allow_http: bool = False
    allow_private_addresses: bool = False
    timeout_seconds: float = 60.0

    def check(self, url: str) -> None:
        if not self.allow_http:
            raise HttpNotAllowed(url, "set ingest.allow_http to fetch it")

    def open(self, url: str, follow: bool = True) -> Any:
        """Return the answer as a stream. Redirects are followed if `follow` is set, to http(s) only."""
        self.check(url)
        url = encoded(url)
        handlers: list[Any] = [_Redirects(follow)]
        if not self.allow_private_addresses:
            _refuse_proxy(url)
            handlers += [urllib.request.ProxyHandler({}), _Http(), _Https()]
        return urllib.request.build_opener(*handlers).open(url, timeout=self.timeout_seconds)


OFFLINE = Web()


def encoded(url: str) -> str:
    """Percent-encode the characters that are not allowed in a URL; what is encoded already stays."""
    parts = urlsplit(url)
    path, query = (_FOREIGN.sub(lambda found: quote(found[0]), part) for part in (parts.path, parts.query))
    return parts._replace(path=path, query=query).geturl()


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public Internet, also where another notation contains it."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ipaddress.IPv4Address(ip.packed[-4:]) if ip in _NAT64 else None)
        if inner is None:
            return ip in _GLOBAL_UNICAST and ip.is_global
        ip = inner
    special = ip.is_multicast or ip.is_reserved or any(ip in network for network in _CLOUDS)
    return ip.is_global and not special


def _connect(host: str, port: int, timeout: float) -> socket.socket:
    """Connect to a public address of the host. It is resolved once, so no other answer can come after the check."""
    found = [str(answer[4][0]) for answer in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    public = [address for address in dict.fromkeys(found) if is_public(address)]
    if not public:
        raise PrivateAddress(host, f"{', '.join(found[:3])} is not a public address; set {_SETTING} to allow it")
    for address in public:
        try:
            return socket.create_connection((address, port), timeout)
        except OSError as error:
            last = error
    raise last


class _Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = _connect(self.host, self.port, self.timeout)  # type: ignore[arg-type]  # urllib gives a number


class _SecureConnection(http.client.HTTPSConnection):
    def __init__(self, *words: Any, **more: Any):
        self.tls = ssl.create_default_context()
        super().__init__(*words, **more, context=self.tls)

    def connect(self) -> None:
        plain = _connect(self.host, self.port, self.timeout)  # type: ignore[arg-type]
        self.sock = self.tls.wrap_socket(plain, server_hostname=self.host)


class _Http(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, request)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_SecureConnection, request)


class _Redirects(urllib.request.HTTPRedirectHandler):
    def __init__(self, follow: bool):
        self.follow = follow

    def redirect_request(self, request: Any, stream: Any, code: int, text: str, headers: Any, url: str) -> Any:
        stream.close()  # else urllib reads its body, however long
        if not self.follow or url.partition("://")[0] not in WEB:
            raise RedirectRefused(request.full_url, f"redirects to {message(url)}")
        scheme_of(url)
        return super().redirect_request(request, stream, code, text, headers, encoded(url))


def _refuse_proxy(url: str) -> None:
    """A proxy resolves the host by itself, so its address cannot be checked."""
    parts = urlsplit(url)
    if parts.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(parts.hostname or ""):
        problem = f"{parts.scheme}_proxy is set, and a proxy may reach private addresses; set {_SETTING} to use it"
        raise PrivateAddress(url, problem)
