"""three.js in headless Chromium: a page asks this process for meshes and cameras, and sends back pixels."""

from __future__ import annotations

import contextlib
import json
import mimetypes
import os
import queue
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import numpy as np

from stages.artifacts.views import Views
from stages.meshes import references
from stages.meshes.mesh_file import MeshFile
from stages.meshes.obj.format import ObjFile
from stages.meshes.ply.format import PlyFile

FOLDER = Path(__file__).parent
LIBRARY = FOLDER / "node_modules"
_SECONDS = 120.0  # for one mesh
_POLL_SECONDS = 5.0
_FLAGS = (
    "--headless", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist",
    "--remote-debugging-port=0", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-dev-shm-usage", "--disable-extensions", "--disable-sync", "--no-proxy-server",
)  # fmt: skip


class EyeError(Exception):
    """three.js could not show the mesh, or Chromium is not there."""


class Eye:
    """Shows meshes one after another."""

    def __init__(self) -> None:
        self.jobs: queue.Queue[dict[str, Any]] = queue.Queue()
        self.answers: queue.Queue[bytes | EyeError] = queue.Queue()
        self.members: dict[str, bytes] = {}
        self._number = 0

    def see(self, members: dict[str, bytes], mesh_name: str, views: Views, size: int) -> np.ndarray:
        """[V, S, S, 4] uint8, multiplied by alpha: the mesh from the cameras of `views`."""
        self._number += 1
        self.members = members
        folder = f"/mesh/{self._number}/"  # another one each time, so that nothing comes from a cache
        self.jobs.put(
            {
                "folder": folder,
                "url": folder + quote(mesh_name),
                "libraries": _libraries(members, mesh_name),
                "textures": _uris(PlyFile, members, mesh_name),
                "size": size,
                "normalization": views.normalization.tolist(),
                "intrinsics": views.intrinsics.astype(float).tolist(),
                "camera_to_world": views.camera_to_world.astype(float).tolist(),
            }
        )
        try:
            answer = self.answers.get(timeout=_SECONDS)
        except queue.Empty:
            raise TimeoutError(f"Chromium gave no answer in {_SECONDS:.0f} s") from None
        if isinstance(answer, EyeError):
            raise answer
        pixels = np.frombuffer(answer, np.uint8).reshape(len(views.colors), size, size, 4)
        return pixels[:, ::-1]

    def file(self, path: str) -> bytes | None:
        """What the page asks for: itself, the library, or a member of the present mesh."""
        kind, _, rest = path.lstrip("/").partition("/")
        if kind == "mesh":
            return self.members.get(rest.partition("/")[2])
        place = FOLDER / (path.lstrip("/") or "page.html")
        inside = place.resolve().is_relative_to(FOLDER.resolve())
        return place.read_bytes() if inside and place.is_file() else None


def _libraries(members: dict[str, bytes], mesh_name: str) -> list[str]:
    """Names of an OBJ's material libraries among the members."""
    found = (references.find(uri, mesh_name, members) for uri in _uris(ObjFile, members, mesh_name))
    return [name for name in found if name is not None]


def _uris(form: type[MeshFile], members: dict[str, bytes], mesh_name: str) -> list[str]:
    """What a mesh of this format refers to; nothing for one of another format."""
    if not mesh_name.endswith(form.endings):
        return []
    return [companion.uri for companion in form(members[mesh_name], mesh_name).companions()]


def _handler(eye: Eye) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            if path == "/job":
                try:
                    self._send(200, json.dumps(eye.jobs.get(timeout=_POLL_SECONDS)).encode(), "application/json")
                except queue.Empty:
                    self._send(204)
                return
            data = eye.file(path)
            kind = mimetypes.guess_type(path if path != "/" else "page.html")[0]
            self._send(404) if data is None else self._send(200, data, kind or "application/octet-stream")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            eye.answers.put(body if self.path == "/pixels" else EyeError(body.decode("utf-8", "replace")[:400]))
            self._send(204)

        def _send(self, status: int, data: bytes = b"", kind: str = "text/plain") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            if status != 204:
                self.send_header("Content-Length", str(len(data)))
            with contextlib.suppress(ConnectionError):  # Chromium is gone: there is nobody left to answer
                self.end_headers()
                self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            return

    return Handler


@contextlib.contextmanager
def open_eye() -> Iterator[Eye]:
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise EyeError("Chromium is missing: on Debian install the package chromium, or name it in CHROMIUM")
    if not (LIBRARY / "three").is_dir():
        raise EyeError(f"three.js is missing: npm ci --prefix {os.path.relpath(FOLDER)}")
    eye = Eye()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(eye))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        page = f"http://127.0.0.1:{server.server_port}/"
        browser = subprocess.Popen(
            [program, *_FLAGS, f"--user-data-dir={profile}", page],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            yield eye
        finally:
            browser.terminate()
            try:
                browser.wait(10)
            except subprocess.TimeoutExpired:
                browser.kill()
                browser.wait()
            server.shutdown()
            server.server_close()
