"""What a worker process inherits: no credentials that its stage does not need, no open files, no input."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.running.environment import without_secrets
from pipeline.step import Step
from stages.align import Align
from stages.caption import Caption
from stages.contract.stage import Stage
from stages.embed import Embed
from tests.pipeline.run_steps import QUICK, run_steps
from tests.pipeline.tiny_stages import Reveal

SECRET = {
    "AWS_ACCESS_KEY_ID": "a", "AWS_PROFILE": "b", "AWS_ENDPOINT_URL": "c", "FSSPEC_S3_SECRET": "d",
    "GOOGLE_APPLICATION_CREDENTIALS": "/e.json", "AZURE_CLIENT_ID": "f", "AZURE_STORAGE_CONNECTION_STRING": "g",
    "HF_TOKEN": "h", "OPENAI_API_KEY": "i", "GITHUB_PAT": "j", "PGPASSWORD": "k", "MYSQL_PWD": "l",
    "SSH_AUTH_SOCK": "m", "RAY_AUTH_TOKEN": "n", "NPM_TOKEN": "o", "SENTRY_DSN": "p", "MyPassphrase": "q",
    "SIGNING_KEY": "r", "DATABASE_URL": "postgres://user:password@host/database",
    "https_proxy": "http://user:password@proxy:8080",
}  # fmt: skip
PLAIN = {
    "PATH": "/bin", "HOME": "/root", "PWD": "/root", "LANG": "C.UTF-8", "TMPDIR": "/tmp", "HF_HOME": "/models",
    "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "CUDA_VISIBLE_DEVICES": "0", "NUMBA_CACHE_DIR": "/cache",
    "EGL_DEVICE_ID": "0", "LD_LIBRARY_PATH": "/a:/b", "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": "/c", "KEYBOARD": "de",
    "no_proxy": "localhost", "http_proxy": "http://proxy:8080",
}  # fmt: skip


def test_what_looks_like_a_credential_is_left_out_and_nothing_else() -> None:
    assert without_secrets(SECRET | PLAIN) == PLAIN


@pytest.mark.parametrize(
    ("schemes", "names", "kept"),
    [
        ([""], [], set()),
        (["s3", ""], [], {"AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_ENDPOINT_URL", "FSSPEC_S3_SECRET", "https_proxy"}),
        (["gs"], [], {"GOOGLE_APPLICATION_CREDENTIALS", "https_proxy"}),
        (["abfs"], [], {"AZURE_CLIENT_ID", "AZURE_STORAGE_CONNECTION_STRING", "https_proxy"}),
        (["hf"], [], {"HF_TOKEN", "https_proxy"}),
        (["https"], [], {"https_proxy"}),
        ([], ["OPENAI_API_KEY"], {"OPENAI_API_KEY", "https_proxy"}),
    ],
)
def test_credentials_are_kept_for_the_stores_and_the_names_that_are_needed(
    schemes: list[str], names: list[str], kept: set[str]
) -> None:
    assert without_secrets(SECRET | PLAIN, schemes, names).keys() == PLAIN.keys() | kept


def test_a_worker_inherits_no_secret_that_it_does_not_need_and_no_open_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SECRET.items():
        monkeypatch.setenv(name, value)
    secret_file = tmp_path / "secret"
    secret_file.touch()
    rows = [{"id": "a", "uri": "gs://bucket/a.glb"}, {"id": "b", "uri": "/nowhere/b"}]
    with secret_file.open():
        ran = run_steps(tmp_path / "run", rows, [Step(Reveal(variable="OPENAI_API_KEY"), QUICK)])
    columns = ran.records["reveal", "a"].columns
    needed = {"GOOGLE_APPLICATION_CREDENTIALS", "OPENAI_API_KEY", "https_proxy"}
    assert columns["variables"].keys() & SECRET.keys() == needed
    assert {"PATH", "PYTHONPATH", "OMP_NUM_THREADS"} < columns["variables"].keys()
    assert "/dev/null" in columns["files"] and str(secret_file) not in columns["files"]
    assert sum(name.startswith("socket:") for name in columns["files"]) == 1  # to its supervisor


@pytest.mark.parametrize(
    ("stage", "names"),
    [
        (Caption(engine="served", model="m", endpoint="http://h.test/v1", api_key_variable="MY_KEY"), {"MY_KEY"}),
        (Caption(engine="vlm", model="owner/name", revision="commit"), {"HF_TOKEN"}),
        (Caption(engine="vlm", model="/a/folder"), set()),
        (Caption(), set()),
        (Embed(model="owner/name", revision="commit"), {"HF_TOKEN"}),
        (Embed(model="/a/folder"), set()),
        (Align(teacher=Embed(model="owner/name", revision="commit")), {"HF_TOKEN"}),
    ],
)
def test_stages_name_the_keys_that_they_need(stage: Stage, names: set[str]) -> None:
    environment = {"HF_TOKEN": "a", "MY_KEY": "b", "OTHER_KEY": "c"}
    assert without_secrets(environment, names=stage.secrets).keys() == names
