"""Text that others wrote: what UTF-8 cannot encode, what a terminal obeys, how long it is, and what is secret."""

import pytest

from manifests.text import LONGEST, MOST, encodable, masked, message, messages, public_address


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
        ("naïve 木 😀", "naïve 木 😀"),
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
        ("chairs/what?.glb", "chairs/what?.glb"),
    ],
)
def test_a_public_address_has_no_user_and_no_query(uri, public):
    assert public_address(uri) == public
