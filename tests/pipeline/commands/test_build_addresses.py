"""A build from signed addresses: signatures stay in the listing, and another one is no reason to work a row again."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.pipeline.building import build, dataset_files, say, write_meshes

SECRET = "Zm9yLXlvdXItZXllcw"
WEB = ["--ingest.allow_http", "true", "--allow-private-addresses"]
TINY = ["--render.size", "16", "--render.views", "4", "--fit.steps", "4", "--fit.gaussians", "20"]


class Signed(SimpleHTTPRequestHandler):
    """Serves files to those who have a signature: as 403 says, the first is no longer valid once there is another."""

    asked: list[str] = []
    expired = False

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if "Signature" not in self.path or self.expired and f"{SECRET}1" in self.path:
            self.send_error(403)
        else:
            super().do_GET()

    def log_message(self, *words: object) -> None:
        return


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, type[Signed]]]:
    folder = write_meshes(tmp_path / "served", 2)
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / f"{number}.glb")
    handler: type[Signed] = type("Handler", (Signed,), {"asked": []})
    web = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    threading.Thread(target=web.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{web.server_address[1]}", handler
    web.shutdown()
    web.server_close()


def write_list(folder: Path, url: str, signature: str) -> Path:
    signed = f"{url}/0.glb?X-Amz-Date=1&X-Amz-Signature={signature}"
    rows = [
        {"uri": signed, "page": f"{url}/?token={signature}", "caption": f"as seen at {signed}"},
        {"uri": f"{url}/gone.glb?X-Amz-Signature={signature}", "id": "gone"},
        {"uri": signed.replace("://", f"://me:{signature}@"), "id": "user"},
        {"uri": f"ftp://me:{signature}@127.0.0.1/a.glb", "id": "ftp"},
        {"uri": f"{url}/1.glb?file=1&Signature={signature}", "id": f"{url}/1.glb?Signature={signature}"},
    ]
    path = folder / "list.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def holders(folder: Path) -> set[str]:
    """The files that have the secret, where Parquet does not hide it either."""
    found = set()
    for path in folder.rglob("*"):
        if path.is_file():
            text = path.read_bytes()
            if path.suffix == ".parquet":
                text += str(pq.read_table(path).to_pylist()).encode() + str(pq.read_schema(path).metadata).encode()
            if SECRET.encode() in text:
                found.add(str(path.relative_to(folder)))
    return found


@pytest.mark.slow
def test_a_signature_stays_in_the_listing(tmp_path: Path, server: tuple[str, type[Signed]]) -> None:
    url, handler = server
    run = tmp_path / "run"
    said = [build(write_list(tmp_path, url, f"{SECRET}1"), run, *WEB, *TINY, "--retry-failed")]
    said += [say("status", "--run", run, "--failed", *more) for more in ([], ["--json"])]
    assert not any(SECRET in one.stdout + one.stderr for one in said)
    assert "gone" in said[1].stdout and "not_found" in said[1].stdout and "unreadable" in said[1].stdout
    assert {Path(name).parent.as_posix() for name in holders(run)} == {"manifest/rows"}
    shards = [row for path in (run / "dataset" / "data").iterdir() for row in pq.read_table(path).to_pylist()]
    assert sorted(row["id"] for row in shards) == [f"{url}/0.glb", f"{url}/1.glb"]
    assert all(row["source"] == row["id"] for row in shards)

    handler.expired = True
    handler.asked.clear()
    before = dataset_files(run)
    build(write_list(tmp_path, url, f"{SECRET}2"), run, *WEB, *TINY)
    asked = [path.partition("?")[0] for path in handler.asked]
    assert asked == ["/gone.glb"]  # a failure may be one of the signature
    assert dataset_files(run) == before
