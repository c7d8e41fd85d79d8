"""What the embedded models are taught: texts that are true, and objects that are kept apart."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from stages.corpus import captions
from stages.corpus.categories import CATEGORIES
from stages.corpus.colors import COLORS
from stages.corpus.corpus import Corpus
from stages.embedded.training import meaning, objects


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    corpus = Corpus(count=1, seed=31)
    return [corpus.model(index)[0] for index in range(2 * len(CATEGORIES))]


@pytest.mark.parametrize("write", [captions.caption, captions.phrase, captions.description, captions.tags])
def test_a_text_is_true_and_names_category_colour_and_pattern(rows: list[dict], write) -> None:
    rng = np.random.default_rng(0)
    for row in rows * 4:
        text = write(row, rng)
        assert meaning.facts(text) <= meaning.truth(row), (text, meaning.facts(text) - meaning.truth(row))
        named = (meaning.category_in(text), meaning.color_in(text), meaning.pattern_in(text))
        assert named == (row["category"], row["color"], row["pattern"]), text


def test_a_mention_is_true_of_every_object_it_could_stand_beside(rows: list[dict]) -> None:
    rng = np.random.default_rng(0)
    for row in rows * 4:
        text = captions.mention(row, rng)
        assert meaning.facts(text) <= meaning.truth(row) and meaning.category_in(text) == row["category"], text


def test_there_are_many_texts_of_one_object(rows: list[dict]) -> None:
    rng = np.random.default_rng(0)
    patterned = next(row for row in rows if row["pattern"] != "plain" and row["features"])
    for write in (captions.phrase, captions.description):
        assert len({write(patterned, rng) for _ in range(60)}) >= 12


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a red chair with white stripes", "A striped chair in red and white."),
        ("a wooden table in blue", "This is a blue table. It is made of wood."),
        ("a traffic cone", "this is a photo of a traffic cone"),
    ],
)
def test_two_ways_to_say_the_same(one: str, other: str) -> None:
    assert meaning.facts(one) == meaning.facts(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a red chair with white stripes", "a white chair with red stripes"),
        ("a red chair", "a red chair with four legs"),
        ("a red chair", "a chair"),
        ("a red chair", "a red striped chair"),
    ],
)
def test_two_meanings(one: str, other: str) -> None:
    assert meaning.facts(one) != meaning.facts(other)


def test_agreement_knows_what_is_true_of_whom(rows: list[dict]) -> None:
    row = next(row for row in rows if row["pattern"] == "plain" and row["category"] == "mug")
    wrong = next(color for color in COLORS if color not in (row["color"], row["second_color"]))
    texts = ["a mug", f"a {row['color']} mug", f"a {wrong} mug", f"a {row['color']} striped mug", "a chair"]
    found = meaning.agreement(map(meaning.facts, texts), [meaning.truth(row)])
    assert found.tolist() == [[True, True, False, False, False]]


def test_the_first_category_and_colour_are_the_main_ones() -> None:
    text = "A blue cactus with a white pot and a flower on top."
    assert (meaning.category_in(text), meaning.color_in(text)) == ("cactus", "blue")
    assert meaning.category_in("the ice cream is pink and has a cone") == "ice cream"
    assert (meaning.category_in("a thing"), meaning.color_in("a thing")) == (None, None)


def test_pairs_are_kept_back_evenly() -> None:
    pairs = [{"category": kind.name, "color": color} for kind in CATEGORIES for color in kind.colors]
    kept = [pair for pair in pairs if objects.kept_back(pair)]
    assert 0.1 < len(kept) / len(pairs) < 0.15
    by_color, by_category = Counter(pair["color"] for pair in kept), Counter(pair["category"] for pair in kept)
    assert set(by_color) == set(COLORS) and max(by_category.values()) <= 2
    for kind in CATEGORIES:
        assert by_category[kind.name] < len(kind.colors)


def test_no_split_shares_an_object_with_training_or_the_demo() -> None:
    assert len({0, objects.TRAIN.seed, objects.INSTANCES.seed}) == 3
    pair = {"category": "chair", "color": "red"}
    assert objects.TRAIN.has(pair) != objects.COMBINATIONS.has(pair)
    assert objects.TRAIN.has(pair) == objects.INSTANCES.has(pair)
