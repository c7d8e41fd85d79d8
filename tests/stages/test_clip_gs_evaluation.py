"""Figures of the evaluator, each against a slow oracle written from its definition."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pyarrow as pa
import pytest
import torch

from stages.clip_gs.data.same_text import normalised
from stages.clip_gs.evaluation import baselines, few_shot, intervals, retrieval, zero_shot
from stages.clip_gs.evaluation.ranking import rank
from stages.clip_gs.evaluation.subjects import COLUMNS, Subjects, gather
from stages.clip_gs.evaluation.templates import LOOKS, OBJECTS, TemplateError, filled, parse

D = 6
CAPTIONS = pa.list_(pa.struct([("text", pa.string()), ("kind", pa.string())]))
VECTORS = pa.list_(pa.list_(pa.float16()))
SCHEMA = pa.schema(zip(COLUMNS, [pa.string(), pa.string(), CAPTIONS, VECTORS, VECTORS, pa.string()], strict=True))


def unit(random: np.random.Generator, count: int, coarse: bool = False) -> np.ndarray:
    """[count, D] of length 1; coarse ones have few values, so that many are the same and many cosines equal."""
    vectors = random.integers(-1, 2, (count, D)) if coarse else random.normal(size=(count, D))
    vectors = vectors + (np.abs(vectors).sum(1, keepdims=True) == 0)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))


def place_by_sorting(scores: np.ndarray, right: set[int]) -> int:
    """The gallery in order, wrong ones before right ones where they score alike; the first right one's place."""
    order = sorted(range(len(scores)), key=lambda item: (-round(float(scores[item]), 5), item in right))
    return 1 + next(place for place, item in enumerate(order) if item in right)


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("block", [(1024, 16384), (3, 4)])
def test_places_are_those_of_a_sorted_gallery_with_ties_against_us(coarse, block, monkeypatch):
    monkeypatch.setattr("stages.clip_gs.evaluation.ranking._QUERIES", block[0])
    monkeypatch.setattr("stages.clip_gs.evaluation.ranking._ITEMS", block[1])
    random = np.random.default_rng(coarse)
    queries, gallery = unit(random, 25, coarse), unit(random, 30, coarse)
    right = [set(random.choice(30, random.integers(1, 5), replace=False).tolist()) for _ in queries]
    pairs = torch.tensor([(query, item) for query, items in enumerate(right) for item in sorted(items)])
    found = rank(tensor(queries), tensor(gallery), pairs[:, 0], pairs[:, 1])
    meant = [place_by_sorting(scores, items) for scores, items in zip(queries @ gallery.T, right, strict=True)]
    assert found.tolist() == meant
    if coarse:
        assert meant != [place_by_first(s, items) for s, items in zip(queries @ gallery.T, right, strict=True)]


def place_by_first(scores: np.ndarray, right: set[int]) -> int:
    """Ties broken in our favour: what must not be reported."""
    best = max(scores[item] for item in right)
    return 1 + sum(score > best + 1e-5 for score in scores)


def test_a_model_that_gives_everything_the_same_vector_finds_nothing():
    same = torch.ones(20, D)
    everyone = torch.arange(20)
    assert rank(same, same, everyone, everyone).tolist() == [20] * 20


def test_a_query_without_a_right_item_comes_last():
    vectors = tensor(unit(np.random.default_rng(0), 5))
    assert rank(vectors, vectors, torch.tensor([0, 1, 3]), torch.tensor([0, 1, 3])).tolist() == [1, 1, 6, 1, 6]


# -- what a dataset says --------------------------------------------------------------------------------------------

WORDS = [["a red chair", "Chair"], ["a blue chair", "chair."], ["a  TABLE", "a table", "wood"], [], ["a lamp"]]
VIEWS = [3, 2, 4, 1, 3]


def tables(seed: int = 0, words: list[list[str]] = WORDS, views: list[int] = VIEWS) -> list[pa.Table]:
    """A table an object, with vectors as a dataset has them."""
    random = np.random.default_rng(seed)
    found = []
    for number, (captions, seen) in enumerate(zip(words, views, strict=True)):
        row = {
            "id": f"o{number}",
            "category": captions[0].split()[-1].lower() if captions else None,
            "captions": [{"text": text, "kind": "short"} for text in captions],
            "view_vectors": list(unit(random, seen).astype(np.float16)),
            "caption_vectors": list(unit(random, len(captions)).astype(np.float16)) if captions else None,
            "metadata": None if number == 1 else json.dumps({"color": "red", "number": number}),
        }
        found.append(pa.Table.from_pylist([row], SCHEMA))
    return found


def test_equal_texts_become_one_and_views_know_their_object():
    subjects = gather(tables(), D)
    assert subjects.ids == ["o0", "o1", "o2", "o3", "o4"]
    assert subjects.categories == ["chair", "chair", "table", None, "lamp"]
    assert subjects.attributes == {"color": ["red", None, "red", "red", "red"]}
    assert subjects.view_objects.tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 4, 4, 4]
    assert list(zip(subjects.caption_objects.tolist(), subjects.caption_texts.tolist(), strict=True)) == [
        (0, 0), (0, 1), (1, 2), (1, 1), (2, 3), (2, 4), (4, 5)
    ]  # fmt: skip
    assert len(subjects.texts) == 6
    row = tables()[1]
    assert subjects.texts[2].tolist() == row["caption_vectors"][0].as_py()[0]
    assert subjects.views[3].tolist() == row["view_vectors"][0].as_py()[0]
    whole = gather([pa.concat_tables(tables())], D)
    assert torch.equal(whole.texts, subjects.texts) and torch.equal(whole.caption_texts, subjects.caption_texts)
    assert torch.equal(whole.views, subjects.views) and torch.equal(whole.view_objects, subjects.view_objects)


def test_leaving_objects_out_is_as_if_they_had_never_been_there():
    kept = gather(tables(), D).only({"o1", "o2", "o4"})
    without = gather([table for number, table in enumerate(tables()) if number in (1, 2, 4)], D)
    assert (kept.ids, kept.categories, kept.attributes) == (without.ids, without.categories, without.attributes)
    assert torch.equal(kept.views, without.views) and torch.equal(kept.view_objects, without.view_objects)
    pairs = [
        {
            (owner, tuple(some.texts[text].tolist()))
            for owner, text in zip(some.caption_objects.tolist(), some.caption_texts.tolist(), strict=True)
        }
        for some in (kept, without)
    ]
    assert len(kept.texts) == len(without.texts)
    shared = {(1, 3), (1, 4), (2, 5)}  # "chair" keeps the vector of the first object that has it
    assert len(pairs[0]) == len(pairs[1]) and len(pairs[0] & pairs[1]) >= len(shared)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("A  red\nchair.", "a red chair", True),
        ("café", "cafe\u0301", True),
        ("chair", "chairs", False),
        ("...", "!", False),
    ],
)
def test_when_texts_are_the_same(one, other, same):
    assert (normalised(one) == normalised(other)) == same


# -- retrieval ------------------------------------------------------------------------------------------------------


def recalls_by_definition(vectors: np.ndarray, words: list[list[str]], rows: list[pa.Table]) -> dict[str, list[bool]]:
    """Places of every query, one after the other, from the captions and views themselves."""
    views = [(owner, np.array(vector)) for owner, row in enumerate(rows) for vector in row["view_vectors"][0].as_py()]
    texts: dict[str, np.ndarray] = {}
    for row in rows:
        for caption, vector in zip(row["captions"][0].as_py(), row["caption_vectors"][0].as_py() or [], strict=True):
            texts.setdefault(normalised(caption["text"]), np.array(vector))
    has = [{normalised(text) for text in captions} for captions in words]
    names = list(texts)
    scale = {name: vector / np.linalg.norm(vector) for name, vector in texts.items()}
    views = [(owner, vector / np.linalg.norm(vector)) for owner, vector in views]
    objects = range(len(vectors))
    return {
        "text_to_3d": [
            place_by_sorting(vectors @ scale[name], {other for other in objects if name in has[other]})
            for owner in objects
            for name in has[owner]
        ],
        "3d_to_text": [
            place_by_sorting(
                np.array([scale[name] @ vectors[owner] for name in names]), {names.index(name) for name in has[owner]}
            )
            for owner in objects
            if has[owner]
        ],
        "image_to_3d": [place_by_sorting(vectors @ vector, {owner}) for owner, vector in views],
        "3d_to_image": [
            place_by_sorting(
                np.array([vector @ vectors[owner] for _, vector in views]),
                {place for place, (seen, _) in enumerate(views) if seen == owner},
            )
            for owner in objects
        ],
    }  # fmt: skip


def many(seed: int) -> tuple[list[list[str]], list[int]]:
    """Forty objects whose captions are often the same."""
    random = np.random.default_rng(seed)
    words = [[f"text {random.integers(30)}" for _ in range(random.integers(0, 4))] for _ in range(40)]
    return words, random.integers(1, 4, 40).tolist()


@pytest.mark.parametrize("seed", [1, 2])
def test_recalls_are_those_of_the_definition(seed):
    words, views = many(seed)
    rows = tables(seed, words, views)
    vectors = unit(np.random.default_rng(seed + 10), 40)
    found = retrieval.retrieve(tensor(vectors), gather(rows, D))
    meant = recalls_by_definition(vectors, words, rows)
    assert set(found) == set(meant)
    for name, places in meant.items():
        assert found[name]["queries"] == len(places)
        for first in (1, 5, 10):
            assert found[name][f"r_{first}"]["value"] == pytest.approx(np.mean(np.array(places) <= first)), name


def test_an_object_is_right_for_an_equal_text_of_another():
    words = [["a chair", "red"], ["A chair."], ["a table"]]
    subjects = gather(tables(0, words, [1, 1, 1]), D)
    chair = subjects.texts[0].float()
    vectors = torch.stack([-chair, chair, -chair])  # the first object is nowhere near its own text
    found = retrieval.retrieve(vectors, subjects)["text_to_3d"]
    direction = retrieval.directions(subjects)["text_to_3d"]
    assert found["queries"] == 4 and direction.queries == 3  # "a chair" counts for both that have it
    places = rank(subjects.texts, vectors, direction.query, direction.item)
    assert places[0] == 1


def test_chance_is_what_random_vectors_come_to():
    words, views = many(3)
    subjects = gather(tables(3, words, views), D)
    chance = retrieval.by_chance(subjects)
    random = np.random.default_rng(0)
    runs = []
    for _ in range(30):  # everything is drawn again, texts and views too, or their similarity would show
        drawn = Subjects(**{
            **vars(subjects),
            "texts": tensor(unit(random, len(subjects.texts))),
            "views": tensor(unit(random, len(subjects.views))),
        })  # fmt: skip
        runs.append(retrieval.retrieve(tensor(unit(random, 40)), drawn, seed=0))
    for name, first in itertools.product(chance, (1, 5, 10)):
        mean = np.mean([run[name][f"r_{first}"]["value"] for run in runs])
        assert chance[name][f"r_{first}"]["value"] == pytest.approx(mean, abs=0.04), (name, first)
        assert chance[name][f"r_{first}"]["low"] is None


def test_a_view_does_not_find_its_object_by_its_own_share():
    rows = tables(4, [[] for _ in range(30)], [3] * 30)  # views of an object have nothing in common
    subjects = gather(rows, D)
    vectors = baselines.teacher_vectors(subjects)
    with_itself = retrieval.retrieve(vectors, subjects)["image_to_3d"]["r_1"]["value"]
    honest = retrieval.retrieve(vectors, subjects, own_views=baselines.leave_one_out_scores(subjects))
    assert with_itself > 0.2
    assert honest["image_to_3d"]["r_1"]["value"] < 0.1
    assert honest["3d_to_image"]["r_1"]["value"] < 0.1
    views = [np.array(vector) for vector in rows[0]["view_vectors"][0].as_py()]
    views = [vector / np.linalg.norm(vector) for vector in views]
    others = (views[1] + views[2]) / np.linalg.norm(views[1] + views[2])
    assert float(baselines.leave_one_out_scores(subjects)[0]) == pytest.approx(views[0] @ others, abs=1e-5)
    assert baselines.leave_one_out_scores(gather(tables(), D)) is None  # o3 has one view


# -- zero-shot ------------------------------------------------------------------------------------------------------


def read(texts):
    """Each letter is a direction: like texts have like vectors, of a length other than 1."""
    return np.array([[1.0 + text.count(letter) for letter in "aeinot"] for text in texts], np.float16)


def test_a_class_is_the_mean_of_its_templates_vectors():
    found = zero_shot.class_vectors(read, ["oak tree", "cat"], ["{}", "one {}", "{a}!"])
    for name, vector in (("oak tree", found[0]), ("cat", found[1])):
        article = "an" if name == "oak tree" else "a"
        each = [np.array(v, float) for v in read([name, f"one {name}", f"{article} {name}!"])]
        mean = np.mean([v / np.linalg.norm(v) for v in each], axis=0)
        assert vector.numpy() == pytest.approx(mean / np.linalg.norm(mean), abs=1e-3)


@pytest.mark.parametrize("coarse", [False, True])
def test_top_k_over_objects_and_class_means_by_definition(coarse):
    random = np.random.default_rng(5)
    vectors, classes = unit(random, 60, coarse), unit(random, 9, coarse)
    truth = np.concatenate([random.integers(0, 6, 55), [-1] * 5])  # three classes have no object
    found = zero_shot.classify(tensor(vectors), tensor(classes), torch.from_numpy(truth))["all"]
    places = [place_by_sorting(vectors[n] @ classes.T, {truth[n]}) for n in range(55)]
    assert (found["objects"], found["classes"], found["among"]) == (55, len(set(truth[:55])), 9)
    for first in (1, 3, 5):
        right = np.array(places) <= first
        assert found[f"top_{first}"]["value"] == pytest.approx(right.mean())
        means = [right[truth[:55] == name].mean() for name in set(truth[:55].tolist())]
        assert found[f"class_top_{first}"]["value"] == pytest.approx(np.mean(means))


def test_classes_never_trained_stand_apart_and_are_asked_among_themselves():
    random = np.random.default_rng(6)
    vectors, classes = unit(random, 50), unit(random, 8)
    truth = torch.from_numpy(random.integers(0, 8, 50))
    trained = torch.tensor([True] * 5 + [False] * 3)
    found = zero_shot.classify(tensor(vectors), tensor(classes), truth, trained)
    new = truth.numpy() >= 5
    among = [place_by_sorting(vectors[n] @ classes[5:].T, {int(truth[n]) - 5}) == 1 for n in np.flatnonzero(new)]
    all_ = [place_by_sorting(vectors[n] @ classes.T, {int(truth[n])}) == 1 for n in range(50)]
    assert found["never_trained_among_themselves"]["top_1"]["value"] == pytest.approx(np.mean(among))
    assert found["never_trained"]["top_1"]["value"] == pytest.approx(np.mean(np.array(all_)[new]))
    assert found["trained"]["top_1"]["value"] == pytest.approx(np.mean(np.array(all_)[~new]))
    assert found["never_trained_among_themselves"]["among"] == 3
    chance = zero_shot.by_chance(found)
    assert chance["never_trained_among_themselves"]["class_top_1"]["value"] == pytest.approx(1 / 3)
    assert chance["never_trained_among_themselves"]["top_5"]["value"] == 1
    assert chance["trained"]["top_5"]["value"] == pytest.approx(5 / 8)
    same = zero_shot.classify(tensor(vectors), tensor(classes), truth, torch.ones(8, dtype=torch.bool))
    assert set(same) == {"all"}


def test_templates():
    assert len(set(OBJECTS)) == 64
    assert parse(["a {}", "", " {a}!\n"], "FILE") == ["a {}", "{a}!"]
    assert filled("a {}", "oak") == "a oak"  # one's own words are left as they are
    assert filled("{a} and {}", "Oak") == "an Oak and Oak"
    for template in (*OBJECTS, *(look.replace("{kind}", "toy") for look in LOOKS)):
        assert "owl" in filled(template, "owl") and "{" not in filled(template, "owl")
        assert " a owl" not in f" {filled(template, 'owl')}"
    with pytest.raises(TemplateError, match=r"^FILE: 'a photo' does not contain \{\} or \{a\}"):
        parse(["a {}", "a photo"], "FILE")
    with pytest.raises(TemplateError, match="^FILE: no templates; expected one per line"):
        parse(["", "  "], "FILE")


# -- few-shot -------------------------------------------------------------------------------------------------------


def test_episodes_are_disjoint_balanced_and_follow_from_the_seed():
    truth = np.repeat(np.arange(12), np.arange(4, 28, 2))  # 4 to 26 objects a class
    truth = np.concatenate([truth, [-1] * 30])
    seen = set()
    for seed in range(5):
        episode = few_shot.draw(truth, 5, 5, seed)
        again = few_shot.draw(truth, 5, 5, seed)
        assert np.array_equal(episode.support, again.support) and np.array_equal(episode.query, again.query)
        assert not set(episode.support) & set(episode.query)
        assert len(set(episode.support)) == 25 and len(set(episode.query)) == len(episode.query)
        names, counts = np.unique(truth[episode.support], return_counts=True)
        assert counts.tolist() == [5] * 5 and set(truth[episode.query]) == set(names)
        for name in names:
            left = (truth == name).sum() - 5
            assert (truth[episode.query] == name).sum() == min(left, 20)
        seen.add(tuple(names))
    assert len(seen) > 1


def test_what_is_too_small_is_skipped_with_its_reason():
    truth = np.repeat(np.arange(12), 6)
    found = few_shot.probes(np.random.default_rng(0).normal(size=(72, D)), truth, seeds=2)
    assert found["5_way_10_shot"]["skipped"] == "0 of 12 classes have more than 10 objects"
    assert found["20_way_1_shot"]["skipped"] == "12 of 12 classes have more than 1 object"
    assert set(found["5_way_1_shot"]) == {"ways", "shots", "seeds", "asked", "mean", "deviation"}
    chance = few_shot.by_chance(found)
    assert chance["10_way_5_shot"]["mean"] == 0.1 and "skipped" in chance["5_way_10_shot"]


def test_probes_learn_what_can_be_learnt_and_nothing_from_noise():
    random = np.random.default_rng(0)
    truth = np.repeat(np.arange(10), 14)
    centres = unit(random, 10)
    near = centres[truth] + 0.02 * random.normal(size=(140, D))
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    good = few_shot.probes(near, truth, seeds=3)
    assert good["10_way_10_shot"]["mean"] > 0.95
    assert good["10_way_10_shot"]["mean"] >= good["10_way_1_shot"]["mean"] - 0.02
    noise = [few_shot.probe(unit(random, 140), truth, few_shot.draw(truth, 10, 5, seed)) for seed in range(5)]
    assert abs(np.mean(noise) - 0.1) < 0.1
    shares = [few_shot.probe(near, truth, few_shot.draw(truth, 5, 1, seed)) for seed in range(3)]
    assert good["5_way_1_shot"]["mean"] == pytest.approx(np.mean(shares))
    assert good["5_way_1_shot"]["deviation"] == pytest.approx(np.std(shares, ddof=1))


# -- intervals ------------------------------------------------------------------------------------------------------


def test_intervals_are_those_of_a_bootstrap_written_out():
    random = np.random.default_rng(0)
    counts = random.integers(0, 4, (80, 2)).astype(float)
    sums = random.binomial(counts.astype(int), [0.3, 0.8]).astype(float)
    found = intervals.figures(sums, counts, repeats=2000)
    draws = []
    for _ in range(2000):
        chosen = random.integers(80, size=80)
        draws.append(sums[chosen].sum(0) / counts[chosen].sum(0))
    low, high = np.percentile(draws, [2.5, 97.5], axis=0)
    for column in range(2):
        assert found[column]["value"] == pytest.approx(sums[:, column].sum() / counts[:, column].sum())
        assert found[column]["low"] == pytest.approx(low[column], abs=0.02)
        assert found[column]["high"] == pytest.approx(high[column], abs=0.02)


def test_intervals_hold_the_truth_about_95_times_of_100():
    random = np.random.default_rng(1)
    held = 0
    for seed in range(200):
        hits = random.binomial(1, 0.6, (150, 1)).astype(float)
        (figure,) = intervals.figures(hits, np.ones_like(hits), seed, repeats=300)
        held += figure["low"] <= 0.6 <= figure["high"]
    assert 180 <= held <= 198


def test_intervals_of_nothing_of_one_and_the_same_twice(monkeypatch):
    assert intervals.figures(np.zeros((3, 1)), np.zeros((3, 1))) == [None]
    assert intervals.figures(np.zeros((0, 2)), np.zeros((0, 2))) == [None, None]
    assert intervals.figures(np.ones((1, 1)), np.ones((1, 1))) == [{"value": 1.0, "low": None, "high": None}]
    sparse = np.zeros((40, 1))
    sparse[[3, 8]] = 1  # many draws hold no object that counts
    assert intervals.figures(sparse, sparse) == [{"value": 1.0, "low": 1.0, "high": 1.0}]
    hits = np.random.default_rng(0).binomial(1, 0.5, (50, 1)).astype(float)
    whole = intervals.figures(hits, np.ones_like(hits), seed=4)
    assert whole == intervals.figures(hits, np.ones_like(hits), seed=4)
    assert whole != intervals.figures(hits, np.ones_like(hits), seed=5)
    monkeypatch.setattr(intervals, "_DRAWN_AT_ONCE", 170)  # in many parts
    assert whole == intervals.figures(hits, np.ones_like(hits), seed=4)
