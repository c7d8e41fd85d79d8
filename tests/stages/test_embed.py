import numpy as np
import pytest

from stages.artifacts.vectors import from_bytes
from stages.common.models import ModelError
from stages.contract.stage import Context, DamagedInput, Done, StageError
from stages.embed import Embed
from stages.embedding.batches import Batches
from tests.stages.checkpoints import write_clip, write_siglip
from tests.stages.run_folder import RunFolder
from tests.stages.teacher_reference import Reference, on_white, pictures_of, resolved, views_of

WRITERS = {"clip": write_clip, "siglip": write_siglip}


@pytest.fixture(scope="module", params=WRITERS)
def checkpoint(request, tmp_path_factory):
    return WRITERS[request.param](tmp_path_factory.mktemp("models") / request.param)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("models") / "clip")


@pytest.fixture
def run_folder(tmp_path):
    return RunFolder(tmp_path)


def row(run_folder, name, pictures):
    return {"id": name, "key": "00", "views": run_folder.put(f"{name}.zip", views_of(pictures).to_bytes())}


def vectors_in(outcome):
    assert isinstance(outcome, Done), outcome
    return from_bytes(outcome.artifact)


def test_vectors_are_those_of_transformers_on_a_white_background(checkpoint, run_folder):
    pictures = {name: pictures_of(seed, count) for seed, (name, count) in enumerate([("one", 1), ("many", 5)])}
    stage = resolved(checkpoint)
    outcomes = run_folder.outcomes(stage, *(row(run_folder, name, given) for name, given in pictures.items()))
    reference = Reference(checkpoint)
    for name, given in pictures.items():
        outcome = outcomes[name]
        found, meant = vectors_in(outcome), reference.embed_pictures([on_white(picture) for picture in given])
        assert found.dtype == np.float16
        assert found.shape == meant.shape
        assert np.abs(found - meant).max() < 1e-3
        assert np.abs(np.linalg.norm(found.astype(np.float32), axis=1) - 1).max() < 2e-3
        assert outcome.columns == {"teacher": stage.checkpoint, "dimension": meant.shape[1]}
    several = vectors_in(outcomes["many"]).astype(np.float32)
    assert min(np.abs(several[0] - other).max() for other in several[1:]) > 2e-3  # or the comparison shows nothing


def test_a_black_background_would_be_seen(checkpoint):
    (picture,) = pictures_of(0, 1)
    reference = Reference(checkpoint)
    black = on_white(picture).point(lambda value: 0 if value == 255 else value)
    assert np.abs(reference.embed_pictures([on_white(picture)]) - reference.embed_pictures([black])).max() > 5e-3


def test_on_a_cpu_an_objects_vectors_do_not_depend_on_other_objects(clip, run_folder):
    rows = [row(run_folder, name, pictures_of(seed, 3)) for seed, name in enumerate("abc")]
    together = run_folder.outcomes(resolved(clip), *rows)
    for one in rows:
        alone = run_folder.outcomes(resolved(clip), one)
        assert together[one["id"]].artifact == alone[one["id"]].artifact


def test_views_that_cannot_be_read_fail_alone(clip, run_folder):
    spoilt = {"id": "spoilt", "key": "00", "views": run_folder.put("spoilt.zip", b"PK no zip")}
    torn = views_of(pictures_of(0, 2))
    torn.colors[1] = torn.colors[1][:60]
    torn = {"id": "torn", "key": "00", "views": run_folder.put("torn.zip", torn.to_bytes())}
    none = row(run_folder, "none", [])
    gone = {"id": "gone", "key": "00", "views": "gone.zip"}
    good = row(run_folder, "good", pictures_of(1, 2))
    outcomes = run_folder.outcomes(resolved(clip), spoilt, good, torn, none, gone)
    assert isinstance(outcomes.pop("good"), Done)
    missing = "missing_input"
    reasons = {name: outcome.reason for name, outcome in outcomes.items()}
    assert reasons == {"spoilt": missing, "torn": missing, "none": "bad_views", "gone": missing}
    assert {outcomes[name].stages for name in ("spoilt", "torn", "gone")} == {("render",)}  # which is to work again
    assert {name for name, outcome in outcomes.items() if isinstance(outcome, DamagedInput)} == {"spoilt", "torn"}


def test_a_changed_checkpoint_at_the_same_place_changes_the_keys(tmp_path):
    before = resolved(write_clip(tmp_path / "clip", seed=0))
    after = resolved(write_clip(tmp_path / "clip", seed=1))
    assert before.key({}) != after.key({})
    assert before.model == after.model


def test_where_and_how_it_runs_changes_no_key(clip):
    first = resolved(clip)
    other = Embed(model=str(clip), batch_images=8).resolve(gpus=2)
    assert (first.on_gpu, other.on_gpu) == (False, True)
    assert first.key({}) == other.key({})
    assert Embed(model=str(clip), device="cpu").resolve(gpus=2).on_gpu is False


def test_weights_that_lack_a_tower_are_refused_and_not_filled_with_noise(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = write_clip(tmp_path / "clip")
    tensors = load_file(folder / "model.safetensors")
    seen = {name: tensor for name, tensor in tensors.items() if not name.startswith("text_model.")}
    save_file(seen, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="the weights lack [0-9]+ tensors, such as text_model"):
        resolved(folder).load(Context(None, tmp_path))


def test_damaged_weights_are_refused_in_one_line(tmp_path):
    folder = write_clip(tmp_path / "clip")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(ModelError, match="cannot be loaded: ") as error:
        resolved(folder).load(Context(None, tmp_path))
    assert "\n" not in str(error.value)


def doubled(most: int, sizes: list[int]):
    """A model that twice as many pictures as fit are too much for."""

    def encode(items):
        sizes.append(len(items))
        if len(items) > most:
            raise MemoryError("of 80 GB")
        return np.array([[2.0 * item] for item in items])

    return encode


def test_where_memory_ends_batches_get_smaller_and_stay_so():
    sizes: list[int] = []
    batches = Batches(doubled(3, sizes), size=16, pooled=True)
    rows = [("a", [1, 2, 3, 4, 5]), ("b", [6, 7, 8, 9, 10])]
    assert [(name, found.ravel().tolist()) for name, found in batches.run(rows)] == [
        ("a", [2, 4, 6, 8, 10]),
        ("b", [12, 14, 16, 18, 20]),
    ]
    assert sizes == [10, 5, 3, 3, 2, 2]
    sizes.clear()
    list(batches.run([("c", [1, 2, 3, 4])]))
    assert sizes == [2, 2]


def test_one_that_is_too_large_alone_fails_with_a_reason_that_may_pass():
    batches = Batches(doubled(0, []), size=4, pooled=True)
    ((_, first), (_, second)) = batches.run([("a", [1, 2]), ("b", [3])])
    assert (first.reason, first.transient, second.reason) == ("out_of_memory", True, "out_of_memory")


def test_rows_share_batches_up_to_the_size_and_errors_pass_through():
    sizes: list[int] = []
    batches = Batches(doubled(99, sizes), size=5, pooled=True)
    error = StageError("bad_views", "")
    rows = [("a", [1, 2]), ("b", [3]), ("x", error), ("c", [4, 5]), ("d", [6]), ("e", [7, 8, 9, 10, 11, 12])]
    found = dict(batches.run(rows))
    assert found.pop("x") is error
    assert {name: vectors.ravel().tolist() for name, vectors in found.items()} == {
        name: [2 * item for item in items] for name, items in rows if name != "x"
    }
    assert sizes == [5, 1, 3, 3]


def test_vectors_that_are_not_finite_fail_their_own_row():
    batches = Batches(lambda items: np.array([[np.nan if item < 0 else 1.0] for item in items]), 8, pooled=True)
    found = dict(batches.run([("a", [1, 2]), ("b", [3, -1])]))
    assert isinstance(found["a"], np.ndarray)
    assert found["b"].reason == "not_finite"
