"""Find checkpoints of models, check that their files are complete, and identify them by their content, for keys.

A checkpoint is a folder that transformers saved, or a model's name on the Hugging Face hub. A relative folder is looked
for in the working folder, then beside these packages; stages/embedded/NAME comes with them. No heavy library is loaded:
weights are only hashed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from manifests.text import message

_ROOT = Path(__file__).resolve().parents[2]
_EMBEDDED = ("stages", "embedded")
_CONFIG = "config.json"
HUB_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")  # environment variables that let a worker load a model of the hub
_KEPT = (
    "*.json",
    "*.jinja",
    "*.model",
    "*.txt",
    "*.safetensors",
    "pytorch_model*.bin",
)  # hashed
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_HUB_SECONDS = 5.0
_WHOLE_BYTES = 256 * 2**20  # weights up to this size are hashed whole
_SAMPLES, _SAMPLE_BYTES = 256, 2**18  # of larger weights: evenly spaced, from the first byte to the last

# Any one of these files says that the checkpoint has the part.
PICTURES = ("preprocessor_config.json", "processor_config.json")
TEXTS = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")
_PARTS = {PICTURES: "an image processor", TEXTS: "a tokenizer"}


class ModelError(Exception):
    """A checkpoint cannot be used. The text is one line: what is wrong, and what would be right."""


@dataclass(frozen=True)
class Checkpoint:
    """What transformers will load."""

    model: str  # a folder, or a name on the hub
    revision: str | None  # the commit on the hub; None for a folder
    identity: str  # NAME@HASH of a folder's files, OWNER/NAME@COMMIT on the hub
    config: dict[str, Any]

    @property
    def writes_text(self) -> bool:
        """Whether its configuration says that it generates text."""
        return any("Generation" in name or "CausalLM" in name for name in self.config.get("architectures") or [])

    def settings(self, device: str, gpus: float) -> dict[str, Any]:
        """The settings of a stage that runs it, with `auto` resolved."""
        device = device if device != "auto" else "gpu" if gpus else "cpu"
        return {"model": self.model, "revision": self.revision, "checkpoint": self.identity, "device": device}


def identity(model: str, revision: str | None = None) -> str:
    """The identity of a checkpoint: equal for equal files, wherever they are."""
    return find(model, revision).identity


def same_model(identity: str, other: str) -> bool:
    """Whether two identities are of the same files; the folder's name does not count."""
    return identity.rpartition("@")[2] == other.rpartition("@")[2]


def find(model: str, revision: str | None = None) -> Checkpoint:
    """Find a checkpoint; ModelError if there is none or it is incomplete."""
    folder = folder_of(model)
    return _on_hub(model, revision) if folder is None else _in_folder(model, folder, revision)


def require(checkpoint: Checkpoint, *parts: tuple[str, ...]) -> None:
    """Raise ModelError if a part (PICTURES, TEXTS) is missing."""
    folder = folder_of(checkpoint.model)
    for part in parts:
        if folder is None:
            found = _fetch(checkpoint.model, checkpoint.revision, part) is not None
        else:
            found = any((folder / name).is_file() for name in part)
        if not found:
            raise ModelError(f"{checkpoint.model}: {_PARTS[part]} is missing; expected one of {', '.join(part)}")


@contextmanager
def loading(model: str) -> Iterator[None]:
    """Turn what transformers, tokenizers, safetensors and torch raise while they load into ModelError."""
    try:
        yield
    except Exception as error:
        raise ModelError(f"{model}: cannot be loaded: {message(error)}") from error


def refuse_incomplete(model: str, missing: Collection[str]) -> None:
    """Raise ModelError if weights lack tensors, which transformers would fill with random numbers."""
    if missing:
        some = ", ".join(sorted(missing)[:3])
        raise ModelError(f"{model}: the weights lack {len(missing)} tensors, such as {some}")


def embedded(model: str | Path) -> Path:
    """The path of a model; stages/embedded/NAME is in these packages, even if the working folder has such a path."""
    path = Path(model).expanduser()
    packaged = _ROOT / path
    return packaged if path.parts[:2] == _EMBEDDED and packaged.exists() else path


def folder_of(model: str) -> Path | None:
    """The folder of a model; None for a name on the hub."""
    path = embedded(model)
    for folder in (path.absolute(), _ROOT / path):
        if folder.is_dir():
            return folder
    if path.exists():
        raise ModelError(f"{model}: is a file; expected the folder with {_CONFIG} and the weights")
    if not model or path.is_absolute() or model.startswith(("~", ".")) or model.count("/") > 1:
        raise ModelError(
            f"{model!r}: no such folder; expected one that transformers saved, or OWNER/NAME of a model on the hub"
        )
    return None


def _in_folder(model: str, folder: Path, revision: str | None) -> Checkpoint:
    if revision is not None:
        raise ModelError(f"{model}: a folder has no revisions; leave out the revision {revision!r}")
    if not (folder / _CONFIG).is_file():
        raise ModelError(f"{model}: {_CONFIG} is missing; expected a folder that transformers saved")
    config = _read_config(model, folder / _CONFIG)
    if not any(any(folder.glob(pattern)) for pattern in _WEIGHTS):
        raise ModelError(f"{model}: the weights are missing; expected *.safetensors beside {_CONFIG}")
    path = model if not Path(model).is_absolute() and folder == _ROOT / model else str(folder)
    return Checkpoint(path, None, f"{folder.resolve().name}@{_hash(folder)}", config)


def _on_hub(model: str, revision: str | None) -> Checkpoint:
    path = _fetch(model, revision, (_CONFIG,))
    if path is None:
        raise ModelError(f"{model}: {_CONFIG} is missing on the hub; expected a transformers model")
    commit = path.parent.name  # the cache has one folder for each commit
    return Checkpoint(model, commit, f"{model}@{commit}", _read_config(model, path))


def _fetch(model: str, revision: str | None, names: Sequence[str]) -> Path | None:
    """The first of these files that the hub has, from its cache where possible; None if it has none of them."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HFValidationError, LocalEntryNotFoundError

    unreachable = None
    for name in names:
        try:
            return Path(hf_hub_download(model, name, revision=revision, local_files_only=not _hub_answers()))
        except LocalEntryNotFoundError as error:  # not in the cache, and no network to ask
            unreachable = error
        except EntryNotFoundError:
            continue
        except HFValidationError as error:
            raise ModelError(
                f"{model}: no such folder, and not a name that the hub allows: {message(error)}"
            ) from error
        except OSError as error:  # no such model or revision, no permission
            raise ModelError(f"{model}: no such folder, and the hub refuses it: {message(error)}") from error
    if unreachable is not None:
        raise ModelError(
            f"{model}{f' at {revision}' if revision else ''}: no such folder, not in the hub's cache on this machine, "
            "and the hub cannot be reached or HF_HUB_OFFLINE is set"
        ) from unreachable
    return None


@cache
def _hub_answers() -> bool:
    """Whether the hub can be reached, asked once: its client repeats a request for half a minute, with warnings."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=_HUB_SECONDS)
    except Exception:  # the errors of its client have no base in common with OSError
        return False
    return True


def _read_config(model: str, path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise ModelError(f"{model}: {_CONFIG} cannot be read: {message(error)}") from error
    if not isinstance(config, dict) or "model_type" not in config:
        raise ModelError(f"{model}: {_CONFIG} has no model_type; expected a transformers model")
    return config


def _hash(folder: Path) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted({path for pattern in _KEPT for path in folder.glob(pattern) if path.is_file()}):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        for chunk in _chunks(path):
            digest.update(chunk)
    return digest.hexdigest()


def _chunks(path: Path) -> Iterator[bytes]:
    """All bytes of a file, or samples of one that is too large to be read at every start."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= _WHOLE_BYTES:
            while chunk := file.read(2**20):
                yield chunk
            return
        for number in range(_SAMPLES):
            file.seek((size - _SAMPLE_BYTES) * number // (_SAMPLES - 1))
            yield file.read(_SAMPLE_BYTES)
