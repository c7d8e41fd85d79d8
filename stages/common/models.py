"""Checkpoints of models: found, looked over and given an identity before the work, so that keys know the model.

A checkpoint is a folder as transformers saves it, or a name on a hub. A relative folder is looked for in the working
folder, then beside these packages; stages/embedded/NAME is one that comes with them. Nothing heavy is loaded: weights
are not opened, only read as bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent
_EMBEDDED = ("stages", "embedded")
_CONFIG = "config.json"
_KEPT = ("*.json", "*.jinja", "*.model", "*.txt", "*.safetensors", "pytorch_model*.bin")  # what a model is made of
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_WHOLE_BYTES = 256 * 2**20  # weights up to this size are hashed whole
_SAMPLES, _SAMPLE_BYTES = 256, 2**18  # of larger files: places spread evenly, the first and the last among them

# Any one of these files says that the checkpoint has the part.
PICTURES = ("preprocessor_config.json", "processor_config.json")
TEXTS = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")
_PARTS = {PICTURES: "a picture processor", TEXTS: "a tokenizer"}


class ModelError(Exception):
    """A checkpoint that cannot be used; one line says what is wrong and what would be right."""


@dataclass(frozen=True)
class Checkpoint:
    """What transformers is to load, and what it is."""

    place: str  # a folder or a hub's name
    revision: str | None  # a commit; None for a folder
    identity: str  # NAME@HASH: of the folder's files, or the hub's commit
    config: dict[str, Any]


def identity(model: str, revision: str | None = None) -> str:
    """The same for the same weights and settings, wherever the folder lies."""
    return find(model, revision).identity


def same_model(identity: str, other: str) -> bool:
    """A folder that was renamed still holds the same model."""
    return identity.rpartition("@")[2] == other.rpartition("@")[2]


def find(model: str, revision: str | None = None) -> Checkpoint:
    """The checkpoint; ModelError where there is none."""
    folder = folder_of(model)
    return _on_hub(model, revision) if folder is None else _in_folder(model, folder, revision)


def require(checkpoint: Checkpoint, *parts: tuple[str, ...]) -> None:
    """ModelError where one of these (PICTURES, TEXTS) is missing."""
    folder = folder_of(checkpoint.place)
    for part in parts:
        if folder is None:
            found = _fetch(checkpoint.place, checkpoint.revision, part) is not None
        else:
            found = any((folder / name).is_file() for name in part)
        if not found:
            raise ModelError(f"{checkpoint.place}: {_PARTS[part]} is missing; expected one of {', '.join(part)}")


@contextmanager
def loading(model: str) -> Iterator[None]:
    """ModelError in the place of what transformers, tokenizers, safetensors and torch each raise of their own."""
    try:
        yield
    except Exception as error:
        raise ModelError(f"{model}: cannot be loaded: {_line(error)}") from error


def refuse_incomplete(model: str, missing: Collection[str]) -> None:
    """ModelError where weights lack tensors: transformers would fill them with noise."""
    if missing:
        some = ", ".join(sorted(missing)[:3])
        raise ModelError(f"{model}: its weights lack {len(missing)} tensors, such as {some}")


def embedded(place: str | Path) -> Path:
    """The path. One that names an embedded model leads to these packages, not to the working folder."""
    path = Path(place).expanduser()
    ours = _ROOT / path
    return ours if path.parts[:2] == _EMBEDDED and ours.exists() else path


def folder_of(model: str) -> Path | None:
    """The folder that is meant; None where a hub's name is."""
    told = embedded(model)
    for folder in (told.absolute(), _ROOT / told):
        if folder.is_dir():
            return folder
    if told.exists():
        raise ModelError(f"{model}: a file; expected the folder that holds {_CONFIG} and the weights")
    if not model or told.is_absolute() or model.startswith(("~", ".")) or model.count("/") > 1:
        raise ModelError(
            f"{model!r}: no such folder; expected one that transformers saved, or a hub's name, OWNER/NAME"
        )
    return None


def _in_folder(model: str, folder: Path, revision: str | None) -> Checkpoint:
    if revision is not None:
        raise ModelError(f"{model}: a folder has no revisions, and {revision!r} is asked for; leave it out")
    if not (folder / _CONFIG).is_file():
        raise ModelError(f"{model}: {_CONFIG} is missing; expected a folder that transformers saved")
    config = _read_config(model, folder / _CONFIG)
    if not any(path for pattern in _WEIGHTS for path in folder.glob(pattern)):
        raise ModelError(f"{model}: the weights are missing; expected *.safetensors beside {_CONFIG}")
    place = model if not Path(model).is_absolute() and folder == _ROOT / model else str(folder)
    return Checkpoint(place, None, f"{folder.resolve().name}@{_hash(folder)}", config)


def _on_hub(model: str, revision: str | None) -> Checkpoint:
    path = _fetch(model, revision, (_CONFIG,))
    if path is None:
        raise ModelError(f"{model}: {_CONFIG} is missing there; expected a model of transformers")
    commit = path.parent.name  # a hub's cache keeps a folder a commit
    return Checkpoint(model, commit, f"{model}@{commit}", _read_config(model, path))


def _fetch(model: str, revision: str | None, names: Sequence[str]) -> Path | None:
    """The first of these files that the hub has; small ones, and from its cache where they lie there."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HFValidationError, LocalEntryNotFoundError

    unreached = None
    for name in names:
        try:
            return Path(hf_hub_download(model, name, revision=revision))
        except LocalEntryNotFoundError as error:  # not in the cache, and no network to ask
            unreached = error
        except EntryNotFoundError:
            continue
        except HFValidationError as error:
            raise ModelError(f"{model}: no such folder, and no hub's name: {_line(error)}") from error
        except OSError as error:  # no such model or revision, no permission
            raise ModelError(f"{model}: no such folder, and the hub says: {_line(error)}") from error
    if unreached is not None:
        raise ModelError(
            f"{model}{f' at {revision}' if revision else ''}: no such folder, not in the hub's cache on this machine, "
            "and the hub cannot be reached (or HF_HUB_OFFLINE is set)"
        ) from unreached
    return None


def _read_config(model: str, path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise ModelError(f"{model}: {_CONFIG} cannot be read: {_line(error)}") from error
    if not isinstance(config, dict) or "model_type" not in config:
        raise ModelError(f"{model}: {_CONFIG} names no model_type; expected a model of transformers")
    return config


def _hash(folder: Path) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted({path for pattern in _KEPT for path in folder.glob(pattern) if path.is_file()}):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        for chunk in _chunks(path):
            digest.update(chunk)
    return digest.hexdigest()


def _chunks(path: Path) -> Iterator[bytes]:
    """A file's bytes; of one too large to be read at every start, many samples."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= _WHOLE_BYTES:
            while chunk := file.read(2**20):
                yield chunk
            return
        for number in range(_SAMPLES):
            file.seek((size - _SAMPLE_BYTES) * number // (_SAMPLES - 1))
            yield file.read(_SAMPLE_BYTES)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
