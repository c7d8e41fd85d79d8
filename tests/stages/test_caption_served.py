"""The engine served, with a real HTTP server on this machine that fails in the ways that servers do."""

import base64
import io
import math
import time
from email.utils import formatdate

import pytest
from PIL import Image

from pipeline.recipe import RecipeError, parse_recipe
from stages.caption import Caption
from stages.captioning import endpoint as endpoints
from stages.captioning.prompts import Prompts
from stages.contract.stage import DamagedInput, Done, StageError
from tests.stages.caption_rows import BLUE, RED, CaptionFolder
from tests.stages.chat_server import SAID, Reply, Server, answer

KEY = "sk-very-secret-0123456789"
ONE = Prompts(short="What is it?", detailed=None, tags=None)


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(endpoints, "_FIRST_SECONDS", 0.01)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture
def run_folder(tmp_path):
    return CaptionFolder(tmp_path)


def ask(run_folder, server, *rows, **more):
    with server.running() as endpoint:
        stage = Caption(**{"engine": "served", "model": "some/model", "endpoint": endpoint, "prompts": ONE, **more})
        return run_folder.outcomes(stage, *(rows or (run_folder.row("a"),)))


def test_the_captions_of_the_row_stand_beside_those_of_the_engine(run_folder):
    row = run_folder.row("a", category="chair", caption='[{"text": "My chair.", "kind": "mine"}, "a seat"]')
    server = Server(choose=lambda body: answer(SAID))
    own = [("My chair.", "mine", None), ("a seat", "metadata", None)]
    written = (SAID, "short", "some/model")
    for sources, expected in {
        ("engine", "row"): [written, *own],
        ("row", "engine"): [*own, written],
        ("engine",): [written],
    }.items():
        columns = ask(run_folder, server, row, sources=sources)["a"].columns
        captions = [(caption["text"], caption["kind"], caption["model"]) for caption in columns["captions"]]
        assert captions == expected
        assert [origin is None for origin in columns["caption_origins"]] == [model is None for *_, model in captions]
        Caption(engine="served", model="m", endpoint="http://h").check_outcome("key", columns)


def test_a_rows_words_enter_its_key_only_where_it_has_any_that_are_used():
    def key(row, **more):
        return Caption(engine="served", model="m", endpoint="http://h/v1", **more).key(row, ["r"])

    plain, worded = {"uri": "chair.glb"}, {"uri": "chair.glb", "caption": "A chair."}
    assert key(plain) == key(plain, sources=["engine"]) == key(worded, sources=["engine"])
    others = key(worded), key({**worded, "caption": "A seat."}), key(worded, sources=["row", "engine"])
    assert len({key(plain), *others}) == 4


@pytest.mark.parametrize("sources", [[], ["row"], ["engine", "engine"]])
def test_sources_without_the_engine_are_refused(sources):
    recipe = {"caption": {"engine": "served", "model": "m", "endpoint": "http://h/v1", "sources": sources}}
    with pytest.raises(RecipeError, match=r"caption.sources: .*expected \[engine, row\]"):
        parse_recipe(recipe)


def test_pictures_and_prompts_are_sent_and_captions_come_back(run_folder):
    texts = {"Phrase?": SAID, "Sentences?": "A red chair. It has four legs.", "Tags?": "red, chair"}
    server = Server(choose=lambda body: answer(texts[body["messages"][0]["content"][-1]["text"]], chances=[-0.5, -1.5]))
    prompts = Prompts(short="Phrase?", detailed="Sentences?", tags="Tags?")
    outcome = ask(run_folder, server, prompts=prompts, revision="r1", views=2, picture_size=32, max_new_tokens=50)["a"]
    assert isinstance(outcome, Done), outcome
    assert outcome.columns["captions"] == [
        {"text": text, "kind": kind, "model": "some/model@r1", "score": None}
        for kind, text in zip(("short", "detailed", "tags"), texts.values(), strict=True)
    ]
    assert {origin["confidence"] for origin in outcome.columns["caption_origins"]} == {round(math.exp(-1), 6)}
    assert len(outcome.columns["caption_views"]) == 2 and "warnings" not in outcome.columns
    body = server.requests[0]
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("some/model", 50, 0)
    assert body["logprobs"] is True and "seed" not in body
    *pictures, _ = body["messages"][0]["content"]
    prefix, _, data = pictures[0]["image_url"]["url"].partition(",")
    picture = Image.open(io.BytesIO(base64.b64decode(data)))
    assert (prefix, len(pictures), picture.size) == ("data:image/png;base64", 2, (32, 32))
    assert picture.getpixel((0, 0)) == (255, 255, 255) and picture.getpixel((16, 16)) == RED
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_drawing_is_seeded_by_the_row(run_folder):
    server = Server(answer())
    ask(run_folder, server, run_folder.row("a"), run_folder.row("b"), temperature=0.7, in_flight=1)
    assert len({body["seed"] for body in server.requests}) == 2


@pytest.mark.parametrize(
    "trouble",
    [
        Reply(429),
        Reply(429, headers={"Retry-After": "0.02"}),
        Reply(429, headers={"Retry-After": "Sun, 01 Nov 2026 00:00:00 GMT"}),
        Reply(429, headers={"Retry-After": "soon"}),
        Reply(500, b"<html>Internal Server Error</html>", {"Content-Type": "text/html"}),
        Reply(503),
        Reply(200, b'{"choices": [{"mess', cut=True),
        Reply(200, b'{"choices": [{"mess'),
        Reply(200, b"[" * 100_000),
        Reply(200, b"<html>busy</html>", {"Content-Type": "text/html"}),
        Reply(200, b'{"choices": []}'),
        Reply(200, b'{"choices": [{"message": null}]}'),
        Reply(200, b"[1, 2]"),
        Reply(200, b"\xff\xfe"),
        Reply(200, b"x" * 5_000_000),
    ],
    ids=lambda reply: f"{reply.status} {reply.headers or reply.body[:20]}",
)
def test_failures_that_may_pass_are_tried_again(run_folder, trouble):
    server = Server(trouble, trouble, answer())
    outcome = ask(run_folder, server)["a"]
    assert isinstance(outcome, Done), outcome
    assert outcome.columns["captions"][0]["text"] == SAID
    assert len(server.requests) == 3


def test_json_is_judged_by_its_content(run_folder):
    assert isinstance(ask(run_folder, Server(answer(headers={"Content-Type": "text/plain"})))["a"], Done)


@pytest.mark.parametrize("wait", ["86400", formatdate(time.time() + 86400, usegmt=True)], ids=["seconds", "date"])
def test_a_wait_that_the_server_asks_for_is_not_begun_beyond_the_deadline(run_folder, wait):
    server = Server(Reply(429, b'{"error": {"message": "come back tomorrow"}}', {"Retry-After": wait}), answer())
    outcome = ask(run_folder, server)["a"]
    assert (outcome.reason, outcome.transient) == ("endpoint_failed", True)
    assert "come back tomorrow" in outcome.detail and len(server.requests) == 1


def test_tries_have_an_end(run_folder):
    server = Server(Reply(500, b'{"error": {"message": "out of cards"}}'))
    outcome = ask(run_folder, server, tries=3)["a"]
    assert (outcome.reason, outcome.transient, len(server.requests)) == ("endpoint_failed", True, 3)
    assert "gave up after 3 tries" in outcome.detail and "status 500: out of cards" in outcome.detail


def test_a_server_that_never_answers_costs_the_deadline_and_only_its_own_row(run_folder):
    def slow_for_blue(body):
        data = body["messages"][0]["content"][0]["image_url"]["url"].partition(",")[2]
        blue = Image.open(io.BytesIO(base64.b64decode(data))).getpixel((32, 32)) == BLUE
        return answer(never=blue)

    rows = [run_folder.row("slow", [BLUE] * 2), run_folder.row("a"), run_folder.row("b")]
    found = ask(run_folder, Server(choose=slow_for_blue), *rows, deadline_seconds=2)
    assert list(found)[-1] == "slow"  # the others have not waited
    assert isinstance(found["a"], Done) and isinstance(found["b"], Done)
    assert found["slow"].reason == "endpoint_failed" and "caption.deadline_seconds (2)" in found["slow"].detail


def test_nobody_there(run_folder):
    with Server(answer()).running() as gone:
        pass
    stage = Caption(engine="served", model="m", endpoint=gone, prompts=ONE, tries=2)
    outcome = run_folder.outcomes(stage, run_folder.row("a"))["a"]
    assert (outcome.reason, outcome.transient) == ("endpoint_failed", True)
    assert gone in outcome.detail


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_not_accepted_is_final_and_never_shown(run_folder, status, caplog, capfd):
    body = f'{{"error": {{"message": "Incorrect API key provided: {KEY}"}}}}'
    server = Server(Reply(status, body.encode(), {"WWW-Authenticate": KEY}))
    outcome = ask(run_folder, server)["a"]
    assert (outcome.reason, outcome.transient, len(server.requests)) == ("not_authorised", False, 1)
    assert "OPENAI_API_KEY" in outcome.detail
    assert KEY not in outcome.detail + caplog.text + "".join(capfd.readouterr())


@pytest.mark.parametrize("status", [400, 429, 500])
def test_a_server_that_repeats_the_key_is_not_quoted(run_folder, status):
    outcome = ask(run_folder, Server(Reply(status, f"no {KEY}".encode())), tries=1)["a"]
    assert "no (the key)" in outcome.detail and KEY not in outcome.detail
    cut = ask(run_folder, Server(Reply(status, b"x" * 190 + KEY.encode())), tries=1)["a"]
    assert "(the key" in cut.detail and KEY[:9] not in cut.detail


@pytest.mark.parametrize(
    ("reply", "reason", "message"),
    [
        (Reply(404, b'{"error": {"message": "The model does not exist"}}'), "endpoint_refused", "does not exist"),
        (Reply(400, b'{"message": "maximum context length is 4096"}'), "prompt_too_long", "is 4096"),
        (Reply(307, headers={"Location": "http://127.0.0.1:1/elsewhere"}), "endpoint_refused", "status 307"),
        (Reply(422, b"[]"), "endpoint_refused", "status 422"),
    ],
)
def test_other_errors_are_final_at_once(run_folder, reply, reason, message):
    server = Server(reply)
    outcome = ask(run_folder, server)["a"]
    assert isinstance(outcome, StageError)
    assert (outcome.reason, outcome.transient, len(server.requests)) == (reason, False, 1)
    assert message in outcome.detail


@pytest.mark.parametrize("text", [None, "", "I'm sorry, I cannot help with that.", "chair " * 50])
def test_an_answer_without_a_caption_is_a_reason(run_folder, text):
    outcome = ask(run_folder, Server(answer(text)))["a"]
    assert isinstance(outcome, StageError) and outcome.reason == "no_caption"
    assert "some/model" in outcome.detail


def test_a_stopped_answer_loses_its_loose_end(run_folder):
    outcome = ask(run_folder, Server(answer("a tall lamp with a gre", finish="length")))["a"]
    assert outcome.columns["captions"][0]["text"] == "a tall lamp with a"


@pytest.mark.parametrize("chances", [None, [], ["x"]])
def test_without_probabilities_there_is_no_confidence(run_folder, chances):
    outcome = ask(run_folder, Server(answer(chances=chances)), log_probabilities=False)["a"]
    assert outcome.columns["caption_origins"][0]["confidence"] is None


def test_many_are_in_flight_and_no_more_than_asked(run_folder):
    server = Server(answer(), at_once=4)
    rows = [run_folder.row(f"row{number}") for number in range(12)]
    found = ask(run_folder, server, *rows, in_flight=4)
    assert all(isinstance(outcome, Done) for outcome in found.values()) and len(found) == 12
    assert server.busiest == 4


def test_a_row_that_cannot_be_shown_asks_nothing(run_folder):
    server = Server(answer())
    found = ask(
        run_folder, server, {**run_folder.row("a"), "views": run_folder.put("a.zip", b"no zip")}, run_folder.row("b")
    )
    assert isinstance(found["a"], DamagedInput) and isinstance(found["b"], Done)
    assert len(server.requests) == 1


def test_a_worker_asks_batch_after_batch(run_folder):
    with Server(answer()).running() as endpoint:
        work = Caption(engine="served", model="m", endpoint=endpoint, prompts=ONE).open(run_folder.context)
        for name in ("a", "b"):
            assert isinstance(dict(work([run_folder.row(name)]))[name], Done)


def test_one_who_stops_listening_leaves_nothing_behind(run_folder):
    with Server(answer(), answer(never=True)).running() as endpoint:
        stage = Caption(engine="served", model="m", endpoint=endpoint, prompts=ONE, in_flight=2)
        outcomes = stage.open(run_folder.context)([run_folder.row(name) for name in "abc"])
        next(outcomes)
        outcomes.close()


@pytest.mark.parametrize("key", ["two words", "tab\there", "schlüssel"])
def test_a_variable_that_holds_no_key_is_refused_without_showing_it(run_folder, monkeypatch, key):
    monkeypatch.setenv("MY_KEY", key)
    stage = Caption(engine="served", model="m", endpoint="http://localhost:1/v1", api_key_variable="MY_KEY")
    with pytest.raises(ValueError, match="MY_KEY has characters that are not allowed in a key") as refused:
        stage.open(run_folder.context)
    assert key not in str(refused.value)


def test_without_a_key_none_is_sent(run_folder, monkeypatch):
    monkeypatch.setenv("EMPTY", " \n")
    server = Server(answer(), Reply(401))
    ask(run_folder, server, api_key_variable="EMPTY")
    assert "Authorization" not in server.headers[0]
    assert (
        "no key was sent; set the environment variable EMPTY"
        in ask(run_folder, server, api_key_variable="EMPTY")["a"].detail
    )


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"model": "m"}, "caption.endpoint: missing; the engine served needs a URL such as"),
        ({"endpoint": "http://h/v1"}, "caption.model: missing; the engine served needs the name"),
        (
            {"model": "m", "endpoint": "h:8000/v1"},
            "caption.endpoint: 'h:8000/v1' is not allowed: expected a URL such as",
        ),
        ({"model": "m", "endpoint": "http://u:p@h/v1"}, "expected a URL without user, password, query or fragment"),
        ({"model": "m", "endpoint": "http://h/v1?key=k"}, "expected a URL without user, password, query or fragment"),
        ({"model": "m", "endpoint": "http://h/v1", "api_key_variable": "sk-1"}, "caption.api_key_variable"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_their_field(settings, line):
    with pytest.raises(RecipeError) as refused:
        parse_recipe({"caption": {"engine": "served", **settings}})
    assert line in str(refused.value)


def test_the_key_is_no_part_of_a_recipe_and_the_place_no_part_of_a_key(monkeypatch):
    stage = Caption(engine="served", model="m", endpoint="http://h:1/v1/")
    assert KEY not in stage.model_dump_json() and stage.endpoint == "http://h:1/v1"
    for other in ({"endpoint": "http://other/v1"}, {"tries": 1}, {"deadline_seconds": 1}, {"in_flight": 1}):
        changed = Caption(**{**stage.model_dump(), **other})
        assert changed.key({}, ["r"]) == stage.key({}, ["r"])
        # A failure is worked again where the endpoint is another or patience is longer.
        assert (changed.key({}, ["r"], failed=True) == stage.key({}, ["r"], failed=True)) == ("in_flight" in other)
    for other in ({"model": "n"}, {"revision": "2"}, {"views": 2}, {"log_probabilities": False}):
        assert Caption(**{**stage.model_dump(), **other}).key({}, ["r"]) != stage.key({}, ["r"])
