"""What becomes a caption of what models say, and what does not."""

import pytest

from stages.captioning.cleaning import Unusable, tidy
from stages.captioning.loops import without_loops


def short(answer, **more):
    return tidy(answer, "short", 2000, **more)


def detailed(answer, **more):
    return tidy(answer, "detailed", 2000, **more)


@pytest.mark.parametrize(
    "answer",
    [
        "a red wooden chair",
        "Sure, here is a short description of the object: a red wooden chair",
        "Certainly! Here's the caption:\n\n**a red wooden chair**",
        "Caption: a red wooden chair",
        '"a red wooden chair"',
        "“a red wooden chair”",
        "The image shows a red wooden chair",
        "The images depict a red wooden chair on a plain white background",
        "These six pictures show a red wooden chair viewed from multiple angles",
        "This is a red wooden chair",
        "The object appears to be a red wooden chair",
        "A 3D rendering of a red wooden chair, set against a light grey backdrop",
        "Based on the provided images, it is a red wooden chair",
        "a red wooden chair, seen from the front and side",
        "a red wooden chair in a three-quarter view",
        "<think>It has four legs, so it is a chair.</think>\na red wooden chair",
        "Okay, a red wooden chair",
        "- a red wooden chair",
        "a red wooden chair\n\nLet me know if you want more!",
    ],
)
def test_the_object_is_what_is_left(answer):
    assert short(answer) == "a red wooden chair"


@pytest.mark.parametrize(
    "answer",
    [
        "A gilded picture frame with an oil painting",
        "a vintage film camera with a leather strap",
        "A model of a ship in a bottle",
        "a rear-view mirror with a black housing",
        "shelves with books leaning in different directions",
        "An 8-bit, pixel-art sword",
        "Un fauteuil rouge en bois",
        "赤い木の椅子",
        "كرسي خشبي أحمر",
        "a bookshelf with 3.5 cm thick boards, e.g. for heavy books",
        "A sure-footed goat of bronze",
        "here lies a stone lion",
    ],
)
def test_objects_that_share_words_with_pictures_stay_as_they_are(answer):
    assert (
        short(answer) == detailed(answer)[:1].replace(detailed(answer)[:1], answer[:1]) + detailed(answer)[1:] == answer
    )


def test_sentences_about_pictures_and_views_go_and_the_others_stay():
    answer = (
        "The images show the same object from different angles. It is a tall lamp with a round base. "
        "From the front view, the lamp has a switch. The background is white. It is shown from below."
    )
    assert detailed(answer) == "A tall lamp with a round base. The lamp has a switch."


def test_part_of_a_sentence_about_the_view_goes_alone():
    assert detailed("The car is seen from the side and has two doors.") == "The car has two doors."


def test_markdown_becomes_prose():
    answer = "Here's a description:\n\n## Chair\n\n* **Seat**: `red` and round.\n* *Legs*: four, [steel](http://a.b/c)."
    assert detailed(answer) == "Chair Seat: red and round. Legs: four, steel."
    assert detailed("A sign with snake_case and 2*3*4 on it.") == "A sign with snake_case and 2*3*4 on it."


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("A lamp. It has a base. It has a base. It has a base. It has a base. It", "A lamp. It has a base."),
        ("A lamp with a base and a base and a base and a base and", "A lamp with a base and"),
        ("A very very tall lamp.", "A very very tall lamp."),
        ("A lamp. It is tall. It has a base. It is tall.", "A lamp. It is tall. It has a base."),
    ],
)  # fmt: skip
def test_repetition_ends_a_text(answer, text):
    assert detailed(answer) == text


def test_loops_are_found_without_spaces_too():
    assert without_loops("红色的椅子红色的椅子红色的椅子红色的椅子") == ("红色的椅子", True)
    assert without_loops("A lampppppppppppp") == ("A lamp", True)
    assert without_loops("a bookkeeper's shelf, 1000000000 mm") == ("a bookkeeper's shelf, 1000000000 mm", False)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("A lamp. It has a round base. The shade is gre", "A lamp. It has a round base."),
        ("一盏灯。它有一个圆形底座。灯罩是绿", "一盏灯。它有一个圆形底座。"),
        ("A lamp with a gre", "A lamp with a gre"),
        ("A lamp.", "A lamp."),
    ],
)
def test_a_stopped_text_ends_with_its_last_whole_sentence(answer, text):
    assert detailed(answer, cut=True) == text


def test_a_stopped_phrase_ends_with_its_last_whole_word():
    assert short("a tall lamp with a gre", cut=True) == "a tall lamp with a"
    assert short("a tall lamp. It has a gre", cut=True) == "a tall lamp."


@pytest.mark.parametrize(
    ("answer", "tags"),
    [
        ("Tags: red, Chair, wooden, chair, white background, 3D model, four legs.", "red, Chair, wooden, four legs"),
        ("Here are some tags:\n1. red\n2. chair\n3. wood", "red, chair, wood"),
        ('["red", "chair"]', "red, chair"),
        ("red; chair; a tag that goes on and on for far too long", "red, chair"),
        ("#red, #chair", "red, chair"),
        ("红色、椅子、木头", "红色, 椅子, 木头"),
    ],
)
def test_tags_are_told_apart_and_each_is_there_once(answer, tags):
    assert tidy(answer, "tags", 2000) == tags


def test_the_last_tag_of_a_stopped_list_may_be_half_a_word():
    assert tidy("red, chair, woo", "tags", 2000, cut=True) == "red, chair"


@pytest.mark.parametrize("kind", ["short", "detailed", "tags"])
@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("", "empty"),
        (" \n\t ", "empty"),
        ("!!! ??? ...", "no words"),
        ("\ufffd\ufffd", "empty"),
        ("I'm sorry, but I cannot see any pictures.", "a refusal"),
        ("As an AI language model, I cannot describe it.", "a refusal"),
        ("<think>It could be a chair, or it could be", "thoughts that do not end"),
        ("chair chair chair chair chair chair", "loop|no tags"),
        ("椅子椅子椅子椅子椅子椅子椅子", "loop|no tags"),
        ("The background is white.", "only about the pictures|no tags"),
        ("a = 1 + 2 * (3 / 4) - 5 ^ 6 & 7", "more symbols than letters|no tags"),
    ],
)
def test_what_cannot_be_a_caption_says_why(kind, answer, why):
    with pytest.raises(Unusable, match=why):
        tidy(answer, kind, 2000)


def test_long_texts_end_with_a_sentence_a_tag_or_a_word():
    answer = "A lamp with a base. It is made of brass. The shade is of green glass."
    assert tidy(answer, "detailed", 45) == "A lamp with a base. It is made of brass."
    assert tidy("a lamp with a very long stand", "short", 12) == "a lamp with"
    assert tidy("red, wooden chair, four legs", "tags", 20) == "red, wooden chair"


def test_a_caption_is_one_line_of_nfc_without_control_characters():
    assert short("un cafe\u0301\x00 \u202enoir\tfort") == "un café noir fort"


def test_megabytes_of_nonsense_take_no_time():
    tidy("lorem ipsum dolor " + "x, y " * 500_000, "detailed", 2000)
    with pytest.raises(Unusable):
        tidy("(" * 1_000_000, "short", 2000)
