import numpy as np
import pytest

from stages.align import Align
from stages.artifacts.vectors import from_bytes, to_bytes
from stages.captioning.texts import caption
from stages.contract.stage import DamagedInput, Done
from tests.stages.checkpoints import CONTEXT, write_clip, write_siglip
from tests.stages.run_folder import RunFolder
from tests.stages.teacher_reference import Reference, resolved

WRITERS = {"clip": write_clip, "siglip": write_siglip}
TEXTS = ["a red chair", "красный стул", "赤い椅子", "كرسي أحمر", "🪑", "a"]


@pytest.fixture(scope="module", params=WRITERS)
def checkpoint(request, tmp_path_factory):
    return WRITERS[request.param](tmp_path_factory.mktemp("models") / request.param)


@pytest.fixture
def run_folder(tmp_path):
    return RunFolder(tmp_path)


def row(run_folder, name, texts, vectors):
    captions = [caption(text, "metadata") for text in texts]
    return {"id": name, "key": "00", "captions": captions, "view_vectors": run_folder.put(f"{name}.npy", vectors)}


def unit(seed, count, dimension):
    vectors = np.random.default_rng(seed).normal(size=(count, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def test_vectors_and_scores_are_those_of_transformers(checkpoint, run_folder):
    reference = Reference(checkpoint)
    meant = reference.embed_texts(TEXTS)
    views = unit(0, 5, meant.shape[1])
    stage = Align(teacher=resolved(checkpoint))
    outcome = run_folder.outcomes(stage, row(run_folder, "a", TEXTS, to_bytes(views)))["a"]
    assert isinstance(outcome, Done), outcome
    found = from_bytes(outcome.artifact)
    assert found.shape == meant.shape
    assert np.abs(found - meant).max() < 1e-3
    agreement = [np.mean([text @ view for view in views.astype(float)]) for text in found.astype(float)]
    assert np.allclose(outcome.columns["caption_scores"], agreement, atol=1e-5)
    assert np.ptp(agreement) > 1e-3  # or equal scores would pass
    assert outcome.columns["warnings"] == []


def test_a_caption_longer_than_the_context_is_cut_with_a_warning(checkpoint, run_folder):
    # Two tokens are the text's ends, a letter is one.
    fits, long = "x" * (CONTEXT - 2), "y" * (CONTEXT - 1)
    views = to_bytes(unit(0, 1, Reference(checkpoint).embed_texts(["a"]).shape[1]))
    stage = Align(teacher=resolved(checkpoint))
    outcome = run_folder.outcomes(stage, row(run_folder, "a", [fits, long, long[:-1]], views))["a"]
    warning = f"caption 1 (metadata) has {CONTEXT + 1} tokens, of which the teacher reads the first {CONTEXT}"
    assert outcome.columns["warnings"] == [warning]
    vectors = from_bytes(outcome.artifact)
    assert np.array_equal(vectors[1], vectors[2])


def test_what_cannot_be_aligned_fails_alone(checkpoint, run_folder):
    views = unit(0, 2, Reference(checkpoint).embed_texts(["a"]).shape[1])
    gone = row(run_folder, "gone", ["a"], b"") | {"view_vectors": "nowhere.npy"}
    rows = [
        row(run_folder, "none", [], to_bytes(views)),
        row(run_folder, "good", ["a chair"], to_bytes(views)),
        row(run_folder, "spoilt", ["a chair"], b"\x93NUMPY"),
        row(run_folder, "empty", ["a chair"], b""),
        gone,
    ]
    outcomes = run_folder.outcomes(Align(teacher=resolved(checkpoint)), *rows)
    assert isinstance(outcomes.pop("good"), Done)
    assert outcomes.pop("none").reason == "no_captions"
    assert {outcome.reason for outcome in outcomes.values()} == {"missing_input"}
    assert {outcome.stages for outcome in outcomes.values()} == {("embed",)}
    assert {name for name, outcome in outcomes.items() if isinstance(outcome, DamagedInput)} == {"spoilt", "empty"}


def test_it_has_no_teacher_of_its_own(checkpoint):
    stage = Align(teacher=resolved(checkpoint))
    assert stage.key({}, ["of embed"]) == Align().key({}, ["of embed"])
    assert "teacher" not in stage.model_dump()
    with pytest.raises(ValueError, match=r"align\.teacher is not set"):
        Align().open(None)
