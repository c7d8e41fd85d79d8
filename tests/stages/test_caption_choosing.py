"""Which views a captioner is shown, and what of it is recorded."""

import numpy as np
import pytest

from stages.artifacts.vectors import to_bytes
from stages.caption import Caption
from stages.captioning.choosing import choose, typical
from stages.captioning.subject import read_subject
from stages.contract.stage import DamagedInput, StageError
from stages.rendering.cameras import fibonacci, look_at_centre, orbit
from tests.stages.caption_rows import BLUE, RED, SIZE, CaptionFolder, disc, views_of


def cameras(directions):
    return look_at_centre(np.asarray(directions, np.float64), 40)


def angles(directions, chosen):
    """Degrees between each chosen direction and the nearest other one."""
    likeness = directions[chosen] @ directions[chosen].T
    np.fill_diagonal(likeness, -1)
    return np.degrees(np.arccos(np.clip(likeness.max(axis=1), -1, 1)))


def test_equal_views_are_chosen_from_all_around():
    directions = fibonacci(24, 0)
    chosen = choose(np.full(24, 100), cameras(directions), 6)
    assert len(set(chosen)) == 6
    assert angles(directions, chosen).min() > 45  # neighbours of the 24 are about 40 degrees apart
    assert np.abs(directions[chosen][:, 1]).min() < 0.3


def test_the_first_shows_the_most():
    covered = np.full(8, 50)
    covered[5] = 100
    assert choose(covered, cameras(orbit(8, 15)), 3)[0] == 5


def test_views_that_show_nothing_are_never_chosen():
    covered = np.array([0, 10, 0, 10, 0, 0])
    assert sorted(choose(covered, cameras(orbit(6, 0)), 6)) == [1, 3]


def test_an_edge_on_view_of_something_flat_comes_last():
    covered = np.array([100, 3, 100, 3])
    assert choose(covered, cameras(orbit(4, 0)), 4)[:2] == [0, 2]


def test_from_below_and_above_only_where_nothing_else_is_left():
    directions = [[0, -1, 1e-3], [0, 1, 1e-3], [0, 0, 1], [0.6, 0, 0.8]]
    assert choose(np.full(4, 9), cameras(directions), 1) == [2]
    assert choose(np.array([9, 9, 0, 0]), cameras(directions), 1) == [1]


def test_the_choice_does_not_depend_on_chance_nor_on_the_scale_of_the_render():
    covered = np.arange(1, 25)
    first = choose(covered, cameras(fibonacci(24, 3)), 6)
    assert first == choose(covered * 64, cameras(fibonacci(24, 3)), 6)


@pytest.mark.parametrize("count", [1, 2])
def test_an_object_with_few_views(count):
    assert sorted(choose(np.full(count, 5), cameras(orbit(count, 0)), 6)) == list(range(count))


def test_a_view_unlike_the_others_is_shown_last():
    vectors = np.tile(np.array([1.0, 0, 0]), (8, 1))
    vectors[2] = [0, 1, 0]
    covered, around = np.full(8, 100), cameras(orbit(8, 0))
    assert 2 in choose(covered, around, 7) and 2 not in choose(covered, around, 7, vectors)


def test_typical_is_a_rank():
    vectors = np.array([[1, 0], [0.8, 0.6], [0, 1], [0.8, 0.6]])
    assert typical(vectors) == pytest.approx([1 / 3, 1, 0, 2 / 3])
    assert typical(vectors[:1]).tolist() == [1]


# -- of a row ----------------------------------------------------------------------------------------------------------

STAGE = Caption(engine="vlm", model="any", views=2)


@pytest.fixture
def run_folder(tmp_path):
    return CaptionFolder(tmp_path)


def test_the_teachers_vectors_are_used_where_they_are_and_wanted(run_folder):
    vectors = np.eye(6)[[0, 0, 0, 0, 1, 0]]
    row = run_folder.row("a", [RED] * 6)
    scored = {**row, "view_vectors": run_folder.put("a.npy", to_bytes(vectors))}
    stage = STAGE.model_copy(update={"views": 5})
    assert 4 in read_subject(stage, row, run_folder.store).shown
    assert 4 not in read_subject(stage, scored, run_folder.store).shown
    untypical = stage.model_copy(update={"typical_views": False})
    assert read_subject(untypical, scored, run_folder.store).shown == read_subject(stage, row, run_folder.store).shown
    assert (stage.may_need, untypical.may_need, Caption().may_need) == (("embed",), (), ())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "missing_input"),
        (b"no npy", "missing_input"),
        (to_bytes(np.eye(3)), "bad_vectors"),
        (b"gone", "missing_input"),
    ],
)
def test_vectors_that_do_not_fit_are_a_reason(run_folder, data, reason):
    row = run_folder.row("a", [RED] * 4)
    name = "artifacts/none.npy" if data == b"gone" else run_folder.put("a.npy", data)
    found = read_subject(STAGE, {**row, "view_vectors": name}, run_folder.store)
    assert isinstance(found, StageError)
    assert (found.reason, found.transient) == (reason, reason == "missing_input")
    assert isinstance(found, DamagedInput) == (data in (b"", b"no npy"))


def test_pictures_are_the_chosen_views_on_white_and_not_too_large(run_folder):
    views = views_of([disc(0.9, RED, 128), disc(0.2, BLUE, 128), disc(0, BLUE, 128)])
    row = {**run_folder.row("a"), "views": run_folder.put("a.zip", views.to_bytes())}
    subject = read_subject(STAGE.model_copy(update={"picture_size": SIZE}), row, run_folder.store)
    assert subject.shown == [0, 1]
    first, second = subject.questions["short"].pictures
    assert first.mode == "RGB" and first.size == (SIZE, SIZE)
    assert first.getpixel((0, 0)) == second.getpixel((0, 0)) == (255, 255, 255)
    middle = (SIZE // 2, SIZE // 2)
    assert (first.getpixel(middle), second.getpixel(middle)) == (RED, BLUE)
