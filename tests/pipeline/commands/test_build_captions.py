"""Builds whose captions come from a vision-language model: from meshes to the dataset, through the command line."""

import pyarrow.parquet as pq
import pytest

from tests.pipeline.building import build, build_command, call, index, status, write_meshes
from tests.stages.chat_server import SAID, Reply, Server, answer
from tests.stages.vlm_checkpoints import SENTENCE, make_checkpoint


def rows_of(run):
    shards = [run / "dataset" / shard["shard"] for shard in index(run)["shards"]]
    return [row for shard in shards for row in pq.read_table(shard, columns=["id", "captions"]).to_pylist()]


@pytest.mark.slow
def test_from_meshes_to_captions_and_on_where_the_model_changes(tmp_path):
    source = write_meshes(tmp_path / "source", count=2)
    model = make_checkpoint(tmp_path / "captioner", "qwen2_5_vl", SENTENCE)
    words = ["--caption.engine", "vlm", "--caption.model", str(model), "--caption.max_new_tokens", "12"]
    build(source, tmp_path / "run", *words)
    rows = rows_of(tmp_path / "run")
    assert len(rows) == 2
    for row in rows:
        assert [caption["kind"] for caption in row["captions"]] == ["short", "detailed"]
        assert row["captions"][0]["text"] == SENTENCE
        assert row["captions"][0]["model"].startswith("captioner@")
    done = build(tmp_path / "source", tmp_path / "run", *words)  # nothing is left to do
    assert status(tmp_path / "run")["stages"]["caption"]["ok"] == 2, done.stdout

    make_checkpoint(model, "qwen2_5_vl", "a blue metal lamp")
    build(source, tmp_path / "run", *words)
    assert {row["captions"][0]["text"] for row in rows_of(tmp_path / "run")} == {"a blue metal lamp"}


def test_a_model_that_is_not_there_is_refused_in_one_line_before_any_work(tmp_path):
    source = write_meshes(tmp_path / "source", count=1)
    words = ["--caption.engine", "vlm", "--caption.model", str(tmp_path / "nowhere")]
    done = build(source, tmp_path / "run", *words, code=2)
    assert "nowhere" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "artifacts").exists()


@pytest.mark.slow
def test_an_endpoints_captions_reach_the_dataset_and_its_key_nothing_at_all(tmp_path):
    key = "sk-very-secret-0123456789"
    source = write_meshes(tmp_path / "source", count=2)
    server = Server(Reply(429), Reply(500, key.encode()), answer(), answer(), answer(), Reply(401, key.encode()))
    words = ["--caption.engine", "served", "--caption.model", "some/model", "--caption.in_flight", "1"]
    with server.running() as endpoint:
        command = build_command(source, tmp_path / "run", *words, "--caption.endpoint", endpoint)
        done = call(command, 0, OPENAI_API_KEY=key)
    captioned = [row["captions"] for row in rows_of(tmp_path / "run")]
    # The first object has its three texts; the second was refused, and is in the dataset without.
    assert sorted(map(len, captioned)) == [0, 3]
    assert next(captions for captions in captioned if captions)[0]["text"] == SAID
    (failed,) = status(tmp_path / "run")["failed"]
    assert failed["reason"] == "not_authorised" and "OPENAI_API_KEY" in str(failed)
    assert all(headers["Authorization"] == f"Bearer {key}" for headers in server.headers)
    assert key not in done.stdout + done.stderr
    for path in (tmp_path / "run").rglob("*"):
        assert not path.is_file() or key.encode() not in path.read_bytes(), path
