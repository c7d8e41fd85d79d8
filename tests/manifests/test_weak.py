"""Which captions count as weak: the lowest scores of their kind, never more than asked."""

import numpy as np
import pytest

from manifests.weak import bounds, count, far_below, is_weak


def captions(kind, scores):
    return [{"text": "a cup", "kind": kind, "model": None, "score": score} for score in scores]


def counted(rows):
    counts = {}
    for row in rows:
        count(counts, row)
    return counts


@pytest.mark.parametrize("percent", [0, 1, 10, 50, 99])
@pytest.mark.parametrize(("low", "high"), [(0.1, 0.4), (-0.6, 0.9), (0.2, 0.201)])
def test_at_most_so_many_percent_are_weak_and_they_are_the_lowest(percent, low, high):
    scores = np.random.default_rng(percent).uniform(low, high, 400).round(6).tolist()
    scored = captions("short", scores)
    below = bounds([counted([scored[:150]]), counted([[one] for one in scored[150:]])], percent)
    weak = sorted(one["score"] for one in scored if is_weak(one, below))
    assert weak == sorted(scores)[: len(weak)]
    near = sum(abs(score - below["short"]) <= 1 / 2000 for score in scores)  # the width of a step of the histogram
    assert len(scores) * percent / 100 - near <= len(weak) <= len(scores) * percent / 100


def test_kinds_are_told_apart():
    below = bounds([counted([captions("short", np.linspace(0.3, 0.5, 100)), captions("tags", [0.1] * 9 + [0.0])])], 10)
    assert 0.31 < below["short"] < 0.33
    assert below["tags"] == pytest.approx(0.1, abs=1e-9)
    assert is_weak(captions("tags", [0.0])[0], below) and not is_weak(captions("tags", [0.1])[0], below)


def test_all_can_be_weak():
    scored = captions("short", [0.2, 0.3])
    assert all(is_weak(one, bounds([counted([scored])], 100)) for one in scored)


def test_captions_without_scores_are_neither_counted_nor_weak():
    unscored = captions("name", [None, None])
    assert counted([unscored]) == {}
    assert not is_weak(unscored[0], {"name": 0.5})
    assert not is_weak(captions("other", [0.1])[0], {"name": 0.5})


def test_captions_disagree_whose_score_is_far_below_those_of_their_kind():
    good = captions("short", np.random.default_rng(0).normal(0.3, 0.01, 90).tolist())
    shards = [counted([good[:40]]), counted([good[40:], captions("short", [0.05, 0.1]), captions("name", [0.0])])]
    (limit, count), *others = far_below(shards).values()
    assert 0.1 < limit < 0.28 and count == 2 and not others
