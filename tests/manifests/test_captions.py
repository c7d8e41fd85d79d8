"""Captions of a source list, in the shapes that people write."""

import json

import pytest

from manifests.captions import captions_in, joined


@pytest.mark.parametrize(
    ("given", "captions"),
    [
        ("an anvil", [{"text": "an anvil"}]),
        ("[sic] an anvil", [{"text": "[sic] an anvil"}]),
        (["an iron anvil", "a grey anvil"], [{"text": "an iron anvil"}, {"text": "a grey anvil"}]),
        (["an anvil"], [{"text": "an anvil"}]),
        (["an anvil", None, " "], [{"text": "an anvil"}]),
        ([{"text": "an anvil", "kind": "short"}], [{"text": "an anvil", "kind": "short"}]),
        ({"text": "an anvil", "kind": "short", "score": 0.2}, [{"text": "an anvil", "kind": "short"}]),
        ([{"text": "an anvil"}, "a block"], [{"text": "an anvil"}, {"text": "a block"}]),
        ('["an anvil", "a block"]', [{"text": "an anvil"}, {"text": "a block"}]),
        ('[{"text": "an anvil", "kind": "short"}]', [{"text": "an anvil", "kind": "short"}]),
        (['["quoted"]'], [{"text": '["quoted"]'}]),
        ([], []),
        ("  ", []),
    ],
)
def test_captions_survive_their_column(given, captions):
    assert captions_in(joined([given])) == captions


def test_one_text_stands_as_it_is_and_several_columns_are_together():
    assert joined(["an anvil"]) == "an anvil"
    assert json.loads(joined(["an anvil", ["a block", "of iron"]])) == [
        {"text": "an anvil"}, {"text": "a block"}, {"text": "of iron"}
    ]  # fmt: skip


@pytest.mark.parametrize(
    "given",
    [{"en": "a keg"}, 7, True, [["nested"]], [7], '{"en": "a keg"}', [{"text": 3}], [{"text": "a", "kind": "a b"}]],
)
def test_other_shapes_are_refused(given):
    with pytest.raises(ValueError, match="is not a (caption|kind)"):
        joined([given])


def test_a_list_older_versions_wrote_as_text_is_a_text():
    assert captions_in("['an iron anvil', 'a grey anvil']") == [{"text": "['an iron anvil', 'a grey anvil']"}]
    assert captions_in('{"en": 1}') == [{"text": '{"en": 1}'}]
    assert captions_in("[1, 2]") == [{"text": "[1, 2]"}]
