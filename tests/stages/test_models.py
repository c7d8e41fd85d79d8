import json
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from stages.common import models
from stages.common.models import PICTURES, TEXTS, ModelError, embedded, find, identity, require
from stages.embed import Embed
from tests.stages.checkpoints import write_bert, write_clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return write_clip(tmp_path_factory.mktemp("models") / "clip")


@pytest.fixture
def copy(clip, tmp_path) -> Path:
    return Path(shutil.copytree(clip, tmp_path / "clip"))


def without(folder: Path, *patterns: str) -> str:
    for pattern in patterns:
        for path in folder.glob(pattern):
            path.unlink()
    return str(folder)


def test_a_checkpoint_has_the_same_identity_in_any_folder(clip, copy):
    (copy / "README.md").write_text("a model card")
    assert identity(str(copy)) == identity(str(clip))
    assert identity(str(copy)).startswith("clip@")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "processor_config.json", "tokenizer.json"])
def test_a_changed_byte_makes_another_model(clip, copy, name):
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stages.common.models._read_config", lambda model, path: {})  # it need not be JSON any more
        assert identity(str(copy)) != identity(str(clip))


def test_of_weights_too_large_to_be_read_at_every_start_many_places_count(clip, copy, monkeypatch):
    monkeypatch.setattr("stages.common.models._WHOLE_BYTES", 1000)
    monkeypatch.setattr("stages.common.models._SAMPLE_BYTES", 64)
    weights = (copy / "model.safetensors").read_bytes()
    before = identity(str(copy))
    assert before == identity(str(clip))
    for index in (0, len(weights) - 1):
        (copy / "model.safetensors").write_bytes(weights[:index] + bytes([weights[index] ^ 1]) + weights[index + 1 :])
        assert identity(str(copy)) != before
    (copy / "model.safetensors").write_bytes(weights + b"\0")
    assert identity(str(copy)) != before


def test_a_relative_folder_is_looked_for_where_the_command_runs(copy, monkeypatch):
    monkeypatch.chdir(copy.parent)
    assert find("clip").model == str(copy)


def test_an_embedded_model_is_ours_whatever_the_working_folder_has(copy, tmp_path, monkeypatch):
    ours = identity("stages/embedded/clip")
    shutil.copytree(copy, tmp_path / "other/stages/embedded/clip")
    monkeypatch.chdir(tmp_path / "other")
    assert identity("stages/embedded/clip") == ours != identity(str(copy))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: f"{folder}-elsewhere", "no such folder"),
        (lambda folder: f"{folder}/config.json", "is a file; expected the folder"),
        (lambda folder: without(folder, "config.json"), "config.json is missing"),
        (lambda folder: without(folder, "*.safetensors"), "the weights are missing"),
        (lambda folder: without(folder, "processor_config.json"), "an image processor is missing"),
        (lambda folder: without(folder, "tokenizer*"), "a tokenizer is missing"),
        (lambda folder: "nobody/nothing", "not in the hub's cache on this machine, and the hub cannot be reached"),
        (lambda folder: "two words", "no such folder, and not a name that the hub allows"),
    ],
)
def test_what_is_missing_is_said_in_one_line(copy, damage, message):
    with pytest.raises(ModelError, match=message) as error:
        require(find(damage(copy)), PICTURES, TEXTS)
    assert "\n" not in str(error.value)


def test_a_hub_that_does_not_answer_is_asked_once(monkeypatch, caplog):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    models._hub_answers.cache_clear()
    with pytest.raises(ModelError, match="the hub cannot be reached"):
        find("nobody/nothing")
    models._hub_answers.cache_clear()
    assert not caplog.records  # the hub's client warns of each of its five retries


def test_a_hub_that_answers_anything_is_there(monkeypatch):
    from huggingface_hub import constants

    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:  # it answers 501 to every request
        threading.Thread(target=server.handle_request, daemon=True).start()
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        models._hub_answers.cache_clear()
        assert models._hub_answers()
    models._hub_answers.cache_clear()


@pytest.mark.parametrize("text", ["not json", "[]", "{}"])
def test_a_config_that_names_no_model_is_refused(copy, text):
    (copy / "config.json").write_text(text)
    with pytest.raises(ModelError, match=r"config\.json"):
        find(str(copy))


def test_a_folder_has_no_revisions(copy):
    with pytest.raises(ModelError, match="a folder has no revisions; leave out the revision 'main'"):
        find(str(copy), "main")


def test_a_model_of_texts_alone_is_no_teacher(tmp_path):
    with pytest.raises(ModelError, match="a bert model has no vectors for both images and texts"):
        Embed(model=str(write_bert(tmp_path / "bert"))).resolve(gpus=0)


def test_a_model_that_writes_text_is_no_teacher(copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"architectures": ["LlavaForConditionalGeneration"]}))
    with pytest.raises(ModelError, match="expected a model of type clip, siglip"):
        Embed(model=str(copy)).resolve(gpus=0)


def test_a_hubs_name_is_known_by_its_commit(clip, tmp_path):
    """From a cache with the layout of the hub's client, in a process that finds the cache by its environment."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    kept = tmp_path / "hub" / "models--someone--tiny"
    shutil.copytree(clip, kept / "snapshots" / commit)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text(commit)
    code = (
        "from stages.embed import Embed; from stages.contract.stage import Context; from pathlib import Path\n"
        "stage = Embed(model='someone/tiny').resolve(gpus=0)\n"
        "print(stage.checkpoint, stage.revision)\n"
        "print(stage.load(Context(None, Path('.'))).embed_texts(['a chair']).shape)"
    )
    environment = {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.stdout.splitlines() == [f"someone/tiny@{commit} {commit}", "(1, 16)"], done.stderr


@pytest.mark.parametrize("name", ["clip", "captioner"])
def test_code_beside_the_weights_is_never_run(name, tmp_path, monkeypatch):
    """A checkpoint can name classes of its own, in Python files of its folder; nobody is asked about them."""
    from stages.captioning.writer import Writer
    from stages.embedding.teacher import Teacher

    folder = Path(shutil.copytree(embedded(f"stages/embedded/{name}"), tmp_path / name))
    ran = tmp_path / "ran"
    monkeypatch.setattr("builtins.input", lambda question: "y")
    (folder / "own.py").write_text(f"open({str(ran)!r}, 'w')\n")
    classes = ["AutoConfig", "AutoModel", "AutoModelForImageTextToText", "AutoProcessor", "AutoTokenizer"]
    for path in folder.glob("*config.json"):
        config = json.loads(path.read_text())
        config["auto_map"] = dict.fromkeys(classes, "own.Own")
        if path.name == "config.json":
            config["model_type"] = "own"
        path.write_text(json.dumps(config))
    load = Teacher if name == "clip" else Writer
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(str(folder), None, "cpu")
    assert not ran.exists()
