"""A chat endpoint on this machine, with real connections, that answers or fails as a test asks it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SAID = "a red wooden chair"


@dataclass
class Reply:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    never: bool = False  # give no answer as long as the server runs
    cut: bool = False  # close the connection in the middle of the body


def answer(text: str | None = SAID, finish: str = "stop", chances: list[float] | None = None, **more: Any) -> Reply:
    choice: dict[str, Any] = {"message": {"role": "assistant", "content": text}, "finish_reason": finish}
    if chances is not None:
        choice["logprobs"] = {"content": [{"token": "x", "logprob": chance} for chance in chances]}
    return Reply(body=json.dumps({"choices": [choice]}).encode(), **more)


class Server:
    """Sends the replies in order and repeats the last one; or `choose` picks the reply to each request.

    No request is answered before there are `at_once` of them.
    """

    def __init__(self, *replies: Reply, choose: Callable[[dict[str, Any]], Reply] | None = None, at_once: int = 1):
        self.replies, self.choose = list(replies), choose
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.together = threading.Barrier(at_once, timeout=600)
        self.ending = threading.Event()
        self.busy = self.busiest = 0
        self.lock = threading.Lock()

    def reply(self, path: str, headers: dict[str, str], body: bytes) -> Reply:
        assert path == "/v1/chat/completions", path
        self.requests.append(json.loads(body))
        self.headers.append(headers)
        if self.choose:
            return self.choose(self.requests[-1])
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    @contextmanager
    def running(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with server.lock:
                    server.busy += 1
                    server.busiest = max(server.busiest, server.busy)
                    reply = server.reply(self.path, dict(self.headers), body)
                if reply.never:
                    server.ending.wait()
                server.together.wait()
                with server.lock:
                    server.busy -= 1
                try:
                    self.send_response(reply.status)
                    for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(reply.body) + (100 if reply.cut else 0)))
                    self.end_headers()
                    self.wfile.write(reply.body)
                except (BrokenPipeError, ConnectionResetError):
                    pass
                self.close_connection = reply.cut

            def log_message(self, *_: Any) -> None:
                pass

        http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        http.daemon_threads = True
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}/v1"
        finally:
            self.ending.set()
            http.shutdown()
            http.server_close()
