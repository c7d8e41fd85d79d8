import unicodedata

import pytest

from manifests.captions import joined
from manifests.store import LocalStore
from stages.caption import Caption
from stages.contract.stage import Context, Done, StageError


def outcome_of(tmp_path, *, stage=Caption(), **row):
    work = stage.open(Context(LocalStore(str(tmp_path)), tmp_path))
    ((row_id, outcome),) = work([{"id": "a", "key": "00", "uri": "x/1.glb", **row}])
    assert row_id == "a"
    return outcome


def captions_of(tmp_path, **row):
    outcome = outcome_of(tmp_path, **row)
    assert isinstance(outcome, Done)
    return [(entry["kind"], entry["text"]) for entry in outcome.columns["captions"]]


def test_the_rows_own_caption_comes_first_and_its_tags_are_kept(tmp_path):
    assert captions_of(tmp_path, caption="A red chair.", category="chair", tags=["red", "wood"]) == [
        ("metadata", "A red chair."),
        ("tags", "red, wood"),
    ]


def test_a_row_may_have_several_captions_and_their_kinds(tmp_path):
    column = joined([["an iron anvil", {"text": "An anvil.", "kind": "short"}, "AN IRON ANVIL"]])
    assert captions_of(tmp_path, caption=column) == [("metadata", "an iron anvil"), ("short", "An anvil.")]


def test_every_caption_has_all_four_fields(tmp_path):
    (entry,) = outcome_of(tmp_path, caption="A chair").columns["captions"]
    assert entry == {"text": "A chair", "kind": "metadata", "model": None, "score": None}


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"name": "wooden chair", "category": "furniture", "tags": "brown"}, "wooden chair, furniture, brown"),
        ({"name": "Red Chair", "category": "chair", "tags": ["red", "old"]}, "Red Chair, old"),
        ({"category": "coffee_mug"}, "coffee mug"),
        ({"name": "CommonTree_3", "category": "tree"}, "common tree"),
        ({"name": "T-Shirt", "tags": "blue"}, "T-Shirt, blue"),
        ({"name": "R2D2"}, "R2D2"),
        ({"name": "Boeing 747"}, "Boeing 747"),
        ({"name": "  ", "category": float("nan"), "tags": "oak; oak ;Tall|wide"}, "oak, Tall, wide"),
        ({"tags": '["a b", "c"]', "caption": None}, "a b, c"),
    ],
)
def test_without_a_caption_one_is_composed_of_name_category_and_tags(tmp_path, row, text):
    assert captions_of(tmp_path, **row)[0] == ("metadata", text)


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("/data/Office_Chair-02.glb", "office chair"),
        ("/data/CesiumMilkTruck.gltf", "cesium milk truck"),
        ("/data/2CylinderEngine.glb", "cylinder engine"),
        ("/data/Duck/glTF-Binary/model.glb", "duck"),
        ("/data/garden bench/scene.gltf", "garden bench"),
        ("s3://bucket/caf%C3%A9%20table/model.obj", "café table"),
        ("/data/椅子.glb", "椅子"),
        ("/data/कुर्सी_1.glb", "कुर्सी"),
        ("/data/lamp/0a1b2c3d4e5f67890123.glb", "lamp"),
        ("/data/cafe\u0301.v2.glb", "café"),
        ("https://host.example/a/teapot.obj?version=3", "teapot"),
        ("/data/barrel_large.gltf.glb", "barrel"),
        ("/data/barrel_large_gltf/model.gltf", "barrel"),
        ("/data/plate.in.ply", "plate"),
        ("/data/Copy of SM_ChairFinal_v3_LOD2 (1).obj", "chair"),
        ("/data/house_lowpoly_2k.glb", "house"),
        ("/data/toy_train.glb", "toy train"),
        ("/data/test_tube.glb", "test tube"),
        ("/data/lamps/B01N2PLWIL.glb", "lamps"),
        ("/data/lamps/dQw4w9WgXcQ.glb", "lamps"),
        ("/data/lamps/left.glb", "lamps"),
        ("/data/lamps/./meshes/model.obj", "lamps"),
        ("zip:///chairs/0001.glb::/home/bob/meshes.zip", "chairs"),
        ("tar:///./model.glb::/home/bob/Oak_Table.tar.gz", "oak table"),
    ],
)
def test_else_the_name_of_the_file_or_its_folder_speaks(tmp_path, uri, text):
    assert captions_of(tmp_path, uri=uri) == [("name", text)]


@pytest.mark.parametrize(
    "uri", ["model.glb", "/tmp/models/0001.obj", "", "x/scene.gltf", "/a/b/c.ply", "/home/bob/0.glb"]
)
def test_no_words_at_all_is_a_reason(tmp_path, uri):
    outcome = outcome_of(tmp_path, uri=uri)
    assert isinstance(outcome, StageError)
    assert (outcome.reason, outcome.transient) == ("no_words", False)
    assert uri in outcome.detail


def test_texts_are_one_line_of_nfc_without_control_characters(tmp_path):
    text = "Cafe\u0301\n table\x00\x07\u202e with \ud800 می\u200cخواهم 椅子 🪑"
    ((_, cleaned),) = captions_of(tmp_path, caption=text)
    assert cleaned == "Café table with می\u200cخواهم 椅子 🪑"
    assert unicodedata.is_normalized("NFC", cleaned)
    cleaned.encode()


def test_length_is_bounded_between_words(tmp_path):
    stage = Caption(max_characters=12)
    outcome = outcome_of(tmp_path, stage=stage, caption="a chair of oak and iron")
    assert outcome.columns["captions"][0]["text"] == "a chair of"
    outcome = outcome_of(tmp_path, stage=stage, caption="椅" * 50)
    assert outcome.columns["captions"][0]["text"] == "椅" * 12


def test_one_row_without_words_costs_no_other(tmp_path):
    work = Caption().open(Context(LocalStore(str(tmp_path)), tmp_path))
    rows = [{"id": "a", "uri": "1.glb"}, {"id": "b", "uri": "2.glb", "caption": "A cup"}]
    first, second = work(rows)
    assert isinstance(first[1], StageError) and isinstance(second[1], Done)


def test_the_key_depends_on_the_words_used_and_not_on_the_path_of_the_collection():
    row = {"uri": "/here/things/chair/model.glb", "name": "seat"}
    key = Caption().key(row, ["r"])
    assert Caption().key({**row, "uri": "/elsewhere/things/chair/model.glb"}, ["r"]) == key
    assert Caption().key({**row, "uri": "/here/things/table/model.glb"}, ["r"]) != key
    assert Caption().key({**row, "name": "bench"}, ["r"]) != key
    assert Caption().key({**row, "licence": "CC0"}, ["r"]) == key
    assert Caption().key(row, ["other views"]) != key


def test_a_row_with_own_words_keeps_its_key_whatever_its_name_is_read_as():
    named = {"uri": "/data/barrel_large.gltf.glb", "category": "keg"}
    assert Caption().key(named, ["r"]) == "5a5f1c48a2fe3bae148c6baa5eebc25b"
