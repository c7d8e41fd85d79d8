"""Text that others wrote: what UTF-8 cannot encode, what a terminal obeys, how long it is, and what is secret."""

import pytest

from manifests.text import (
    LONGEST,
    MOST,
    encodable,
    masked,
    message,
    messages,
    public_address,
    published,
    without_queries,
)


def test_encodable_removes_halves_of_surrogate_pairs_at_any_depth():
    found = encodable({"a\ud800": ["b\udfff", ("c", 1, None)], "é": "😀"})
    assert found == {"a": ["b", ["c", 1, None]], "é": "😀"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines\r\n", "two lines"),
        ("red \x1b[31mname\x1b[0m", "red name"),
        ("title \x1b]0;owned\x07 end", "title end"),
        ("link \x1b]8;;http://a.test\x1b\\here\x1b]8;;\x1b\\", "link here"),
        ("bell\x07, C1 \x9b31m, null \0.", "bell , C1 31m, null ."),
        ("half \ud83d, turned \u202e gpj.exe", "half , turned gpj.exe"),
        ("byte order \ufeff, no width\u200b, tag \U000e0041.", "byte order , no width , tag ."),
        ("naïve 木 😀 👩\u200d🚀", "naïve 木 😀 👩\u200d🚀"),
        (ValueError("an\nexception"), "an exception"),
    ],
)
def test_a_message_is_one_line_without_control_characters(text, shown):
    assert message(text) == shown
    message(text).encode()


def test_a_message_has_a_greatest_length():
    assert message("x" * LONGEST) == "x" * LONGEST
    assert message("x" * (LONGEST + 1)) == "x" * (LONGEST - 1) + "…"
    assert len(message("\x1b[31m" * 5_000_000)) <= LONGEST
    assert len(message("https://user:secret@host/" * 1_000_000)) <= LONGEST


def test_messages_are_together_of_bounded_length_and_each_is_there_once():
    assert messages(["a\nb", "c", "a b"]) == ["a b", "c"]
    assert messages(None) == [] and messages("alone") == ["alone"] and messages(5) == ["5"]
    assert messages(["x" * 100 + str(number) for number in range(150)])[-1].endswith("149")
    many = messages([f"{number} " + "x" * 5_000_000 for number in range(30)])
    assert many[-1] == "11 more warnings" and sum(map(len, many)) <= MOST
    assert messages(many) == many


def test_making_a_message_twice_changes_nothing():
    for text in ("http://u:p@h.test/?a=b token=x Bearer abcdefghi", "x" * 5_000, "\ud800\x1b[0m"):
        assert message(message(text)) == message(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:pass@h.test/a.glb: no", "http://***@h.test/a.glb: no"),
        ("s3://KEY@bucket/a", "s3://***@bucket/a"),
        ("https://h.test/a.glb?X-Amz-Signature=abc&b=1: HTTP 403", "https://h.test/a.glb?*** HTTP 403"),
        ("'https://h.test/a?sig=s' and \"gs://b/c?d\"", "'https://h.test/a?***' and \"gs://b/c?***\""),
        ("redirects to HTTPS://u:p@h.test/?q=1", "redirects to HTTPS://***@h.test/?***"),
        ("aws_secret_access_key=abc/def+x, region=eu", "aws_secret_access_key=***, region=eu"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ("token hf_abcdefghijklmnopqrst", "token hf_***"),
        ("https://u:p/w@h.test/a", "https://***@h.test/a"),
        ("https://u:p@w@h.test/a", "https://***@h.test/a"),
        ("https://h.test:8080/a@2x.glb", "https://h.test:8080/a@2x.glb"),
        ("unexpected token: }", "unexpected token: }"),
        ("max_new_tokens=12", "max_new_tokens=12"),
        ('{"api_key": "abc"}', '{"api_key": "***"}'),
        ("through http://p.test/http://u:p@h.test/", "through http://p.test/http://***@h.test/"),
        ("_s3://KEY:secret@bucket", "_s3://***@bucket"),
        ("password=hunter2&user=me", "password=***&user=me"),
        ("s3://bucket/a@2x.png and /tmp/a?b.glb", "s3://bucket/a@2x.png and /tmp/a?b.glb"),
    ],
)
def test_credentials_are_masked(text, shown):
    assert masked(text) == shown
    assert message(text) == shown


@pytest.mark.parametrize(
    "part", ["access-key", "_-", "token-", "a.", "://", "a://b@", "?", "token=", "\x1b[", "bearer "]
)
def test_the_time_grows_with_the_length_of_the_text_and_not_faster(part, monkeypatch):
    monkeypatch.setattr("manifests.text._READ", 10_000_000)
    message(part * 100_000)  # a million characters: minutes, where it grows with the square


@pytest.mark.parametrize(
    ("uri", "public"),
    [
        ("https://u:p@h.test:8080/a/b.glb?X-Amz-Signature=abc#part", "https://h.test:8080/a/b.glb"),
        ("s3://bucket/a@2x.glb", "s3://bucket/a@2x.glb"),
        ("s3://k:s@bucket/a?X-Amz-Signature=s", "s3://bucket/a"),
        ("s3://bucket/what?.glb#1", "s3://bucket/what?.glb#1"),
        ("abfs://container@account/a", "abfs://container@account/a"),
        ("abfs://container:key@account/a", "abfs://account/a"),
        ("chairs/what?.glb", "chairs/what?.glb"),
    ],
)
def test_a_public_address_has_no_user_and_no_query(uri, public):
    assert public_address(uri) == public


@pytest.mark.parametrize(
    ("value", "clean"),
    [
        ("see https://u:p@h.test/a?id=3, or 'gs://b/c?x=1'", "see https://h.test/a?id=3, or 'gs://b/c?x=1'"),
        ("https://h.test/a?id=3&X-Amz-Signature=s#f", "https://h.test/a"),
        ("https://h.test/a?id=3&amp;sig=s", "https://h.test/a"),
        ("https://h.test/a#access_token=t", "https://h.test/a"),
        ("https://h.test/go?to=https%3A%2F%2Fi.test%2F%3Fsig%3Ds", "https://h.test/go"),
        ({"https://u:p@h.test": ["\ud800https://h.test/?key=s", 3]}, {"https://h.test": ["https://h.test/", 3]}),
        ("a signature=x is no address", "a signature=x is no address"),
    ],
)
def test_addresses_in_published_values_have_no_credentials(value, clean):
    assert published(value) == clean


def test_a_source_has_no_query():
    assert without_queries("made from https://u@h.test/a?id=3#f") == "made from https://h.test/a"


def test_long_hostile_texts_take_no_quadratic_time():
    for text in ("a.a." * 20_000, "a://b:" * 2_000, "https://h/?" * 30_000, "&" * 100_000):
        assert isinstance(published(f"https://h/?{text}"), str) and isinstance(published(text), str)
