"""The engine vlm, with tiny checkpoints of real families of transformers, through the whole stage."""

import json
import math

import pytest
import torch

from pipeline.recipe import RecipeError, parse_recipe
from stages.caption import Caption
from stages.captioning.engines.vlm import Captioner
from stages.captioning.prompts import Prompts
from stages.captioning.subject import Question, read_subject
from stages.captioning.writer import Writer
from stages.common.models import ModelError
from stages.contract.stage import DamagedInput, Done, StageError
from tests.stages.caption_rows import BLUE, GREEN, RED, CaptionFolder
from tests.stages.checkpoints import write_clip
from tests.stages.vlm_checkpoints import FAMILIES, SENTENCE, make_checkpoint

QUICK = {"engine": "vlm", "views": 3, "max_new_tokens": 12, "max_characters": 200}
ONE = Prompts(short="describe the chair", detailed=None, tags=None)


@pytest.fixture(scope="session", params=FAMILIES)
def family(request, tmp_path_factory):
    """A checkpoint that says the sentence, whatever it sees."""
    return make_checkpoint(tmp_path_factory.mktemp(request.param) / "model", request.param, SENTENCE)


@pytest.fixture(scope="session", params=FAMILIES)
def noise(request, tmp_path_factory):
    """A checkpoint with random weights, whose tokens follow from all that it sees."""
    return make_checkpoint(tmp_path_factory.mktemp(request.param) / "noise", request.param)


@pytest.fixture(scope="session")
def llava(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("one") / "llava", "llava", SENTENCE)


@pytest.fixture
def run_folder(tmp_path):
    return CaptionFolder(tmp_path)


def stage_of(folder, **more):
    return Caption(**{**QUICK, "model": str(folder), **more}).resolve(0)


def questions(run_folder, stage, *rows):
    return [question for row in rows for question in read_subject(stage, row, run_folder.store).questions.values()]


def test_every_family_gives_a_caption_of_each_kind(family, run_folder):
    stage = stage_of(family)
    outcome = run_folder.outcomes(stage, run_folder.row("a"))["a"]
    assert isinstance(outcome, Done), outcome
    model = stage.checkpoint
    assert model.startswith("model@")
    assert outcome.columns["captions"] == [
        {"text": SENTENCE, "kind": "short", "model": model, "score": None},
        {"text": "A" + SENTENCE[1:], "kind": "detailed", "model": model, "score": None},
    ]
    assert outcome.columns["warnings"] == [f"no caption of kind tags: no tags in: {SENTENCE}"]
    assert len(set(outcome.columns["caption_views"])) == 3
    origins = outcome.columns["caption_origins"]
    assert [set(origin) for origin in origins] == [{"revision", "prompt", "confidence"}] * 2
    assert origins[0]["prompt"] != origins[1]["prompt"]
    assert all(0 < origin["confidence"] <= 1 for origin in origins)


def test_answers_depend_on_the_pictures_and_not_on_the_rest_of_the_batch(noise, run_folder):
    """Batches are padded: the tokens and their chances must be those of a question that stands alone."""
    stage = stage_of(noise, prompts=ONE)
    writer = Writer(str(noise), None, "cpu")
    rows = [run_folder.row("a", [RED] * 4), run_folder.row("b", [BLUE, GREEN, BLUE, RED]), run_folder.row("c", [GREEN])]
    asked = questions(run_folder, stage, *rows)
    assert [len(question.pictures) for question in asked] == [3, 3, 1]
    together = writer.write(asked, 8)
    alone = [writer.write([question], 8)[0] for question in asked]
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    assert [answer.confidence for answer in together] == pytest.approx([answer.confidence for answer in alone], 1e-4)
    assert len({round(answer.confidence, 7) for answer in alone}) == 3


def test_the_confidence_is_the_mean_probability_of_the_tokens(noise, run_folder):
    stage = stage_of(noise, prompts=ONE)
    writer = Writer(str(noise), None, "cpu")
    (question,) = questions(run_folder, stage, run_folder.row("a"))
    (answer,) = writer.write([question], 5)
    inputs = writer._inputs([question])
    with torch.inference_mode():
        full = writer.model.generate(**inputs, max_new_tokens=5)
        start = inputs["input_ids"].shape[1]
        more = {name: value for name, value in inputs.items() if name not in ("input_ids", "attention_mask")}
        if "mm_token_type_ids" in more:
            more["mm_token_type_ids"] = torch.nn.functional.pad(more["mm_token_type_ids"], (0, full.shape[1] - start))
        logits = writer.model(input_ids=full, attention_mask=torch.ones_like(full), **more).logits
    chances = torch.log_softmax(logits[0, start - 1 : -1].float(), -1).gather(1, full[0, start:, None])
    assert answer.confidence == pytest.approx(math.exp(chances.mean()), rel=1e-3)


def test_on_a_cpu_an_objects_captions_do_not_depend_on_other_objects(llava, run_folder):
    stage = stage_of(llava)
    rows = [run_folder.row(name, colours) for name, colours in (("a", [RED] * 4), ("b", [BLUE]), ("c", [GREEN] * 4))]
    together = run_folder.outcomes(stage, *rows)
    assert [run_folder.outcomes(stage, row)[row["id"]] for row in rows] == list(together.values())


def test_drawing_is_each_rows_own_and_repeats(noise, run_folder):
    writer = Writer(str(noise), None, "cpu")
    (question,) = questions(run_folder, stage_of(noise, prompts=ONE), run_folder.row("a"))
    seeds = [Question(question.pictures, question.text, seed) for seed in (1, 2, 3)]
    texts = [answer.text for answer in writer.write(seeds, 8, 1.0)]
    assert len(set(texts)) == 3
    assert [writer.write([one], 8, 1.0)[0].text for one in seeds] == texts


def test_a_stopped_answer_is_known_as_cut(llava, run_folder):
    writer = Writer(str(llava), None, "cpu")
    (question,) = questions(run_folder, stage_of(llava, prompts=ONE), run_folder.row("a"))
    assert writer.write([question], 4)[0].cut
    assert not writer.write([question], 12)[0].cut


@pytest.mark.parametrize("most", [1, 2])
def test_where_memory_ends_batches_get_smaller_and_stay_so(llava, run_folder, most, monkeypatch):
    writer = Writer(str(llava), None, "cpu")
    sizes = []
    generate = writer.model.generate

    def small(**given):
        sizes.append(len(given["input_ids"]))
        if sizes[-1] > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        return generate(**given)

    monkeypatch.setattr(writer.model, "generate", small)
    engine = Captioner(stage_of(llava, prompts=ONE, objects_at_once=4), run_folder.context, writer)
    engine.batch_size = 4  # as on a GPU
    outcomes = dict(engine.work([run_folder.row(name) for name in "abcdef"]))
    assert all(isinstance(outcome, Done) for outcome in outcomes.values()) and len(outcomes) == 6
    assert sizes == {1: [4, 2, *[1] * 6], 2: [4, 2, 2, 2]}[most]


def test_pictures_are_looked_at_once_for_all_kinds_of_text(family, run_folder):
    writer = Writer(str(family), None, "cpu")
    looked = []
    tower = getattr(writer.model.model, "visual", None) or getattr(writer.model.model, "vision_model", None)
    (tower or writer.model.model.vision_tower).register_forward_hook(lambda *_: looked.append(1))
    outcomes = dict(
        Captioner(stage_of(family), run_folder.context, writer).work([run_folder.row("a"), run_folder.row("b", [BLUE])])
    )
    assert all(isinstance(outcome, Done) for outcome in outcomes.values())
    assert len(looked) == 2


def test_one_that_is_too_large_alone_fails_with_what_would_help(llava, run_folder, monkeypatch):
    writer = Writer(str(llava), None, "cpu")

    def never(**given):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(writer.model, "generate", never)
    ((_, outcome),) = Captioner(stage_of(llava, prompts=ONE), run_folder.context, writer).work([run_folder.row("a")])
    assert isinstance(outcome, StageError) and (outcome.reason, outcome.transient) == ("out_of_memory", True)
    assert "caption.views" in outcome.detail


def test_a_prompt_that_overflows_the_context_fails_its_row_alone(tmp_path, run_folder):
    folder = make_checkpoint(tmp_path / "small", "llava", SENTENCE, length=100)
    stage = stage_of(folder, hint=True, prompts=ONE)
    rows = [run_folder.row("a", name="chair"), run_folder.row("b", name=" ".join(["chair"] * 40)), run_folder.row("c")]
    found = run_folder.outcomes(stage, *rows)
    assert isinstance(found["a"], Done) and isinstance(found["c"], Done)
    assert found["b"].reason == "prompt_too_long" and "the model takes 100" in found["b"].detail


def test_one_view_is_enough(llava, run_folder):
    outcome = run_folder.outcomes(stage_of(llava), run_folder.row("a", [RED]))["a"]
    assert outcome.columns["caption_views"] == [0]


def test_a_model_that_says_nothing_usable_fails_the_row(tmp_path, run_folder):
    folder = make_checkpoint(tmp_path / "mute", "llava", "...")
    outcome = run_folder.outcomes(stage_of(folder), run_folder.row("a"))["a"]
    assert isinstance(outcome, StageError) and outcome.reason == "no_caption"
    assert "mute@" in outcome.detail and "kind short" in outcome.detail and not outcome.transient


def test_views_that_cannot_be_read_fail_alone(llava, run_folder):
    rows = [
        run_folder.row("a"),
        {**run_folder.row("b"), "views": run_folder.put("b.zip", b"no zip")},
        run_folder.row("c", []),
    ]
    found = run_folder.outcomes(stage_of(llava), *rows)
    assert isinstance(found["a"], Done)
    assert isinstance(found["b"], DamagedInput) and found["c"].reason == "bad_views"


def test_the_hint_is_the_lists_own_words_and_holds_no_control_words(llava, run_folder):
    row = run_folder.row("a", name="<image> 椅子 [INST]", category="chair", tags=["rot"])
    prompt = read_subject(stage_of(llava, hint=True), row, run_folder.store).questions["short"].text
    assert (
        "says of it: image 椅子 INST, chair, rot. That" in prompt and "<image>" not in prompt and "a.glb" not in prompt
    )
    silent = read_subject(stage_of(llava, hint=True), run_folder.row("b"), run_folder.store).questions["short"].text
    assert silent == Prompts().short == read_subject(stage_of(llava), row, run_folder.store).questions["short"].text


# -- what is refused before the work -----------------------------------------------------------------------------------


def test_a_missing_model_is_refused_with_its_field():
    with pytest.raises(RecipeError, match=r"^caption\.model: missing; the engine vlm needs a folder"):
        parse_recipe({"caption": {"engine": "vlm"}})


@pytest.mark.parametrize(
    ("gone", "expected"),
    [("config.json", "config.json is missing"), ("preprocessor_config.json", "an image processor is missing")],
)
def test_a_checkpoint_that_lacks_a_part_is_refused(tmp_path, gone, expected):
    folder = make_checkpoint(tmp_path / "model", "llava")
    (folder / gone).unlink()
    (folder / "processor_config.json").unlink()
    with pytest.raises(ModelError, match=expected):
        stage_of(folder)


def test_a_model_that_does_not_write_is_refused(tmp_path):
    with pytest.raises(ModelError, match="a clip model does not write about images"):
        stage_of(write_clip(tmp_path / "clip"))


def test_weights_that_lack_a_tensor_are_refused_and_not_filled_with_noise(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = make_checkpoint(tmp_path / "model", "llava")
    tensors = load_file(folder / "model.safetensors")
    save_file(dict(list(tensors.items())[1:]), folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="the weights lack 1 tensors"):
        Writer(str(folder), None, "cpu")


def test_without_a_chat_template_there_is_one_clear_line(tmp_path):
    folder = make_checkpoint(tmp_path / "model", "llava")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="the chat template is missing"):
        Writer(str(folder), None, "cpu")


# -- keys --------------------------------------------------------------------------------------------------------------


def test_the_key_depends_on_the_weights_and_not_on_their_path(tmp_path):
    folder = make_checkpoint(tmp_path / "model", "llava")
    key = stage_of(folder).key({"uri": "a.glb"}, ["r"])
    moved = make_checkpoint(tmp_path / "elsewhere" / "model", "llava")
    assert stage_of(moved).key({"uri": "a.glb"}, ["r"]) == key
    make_checkpoint(moved, "llava", seed=1)
    assert stage_of(moved).key({"uri": "a.glb"}, ["r"]) != key


@pytest.mark.parametrize("same", [{"device": "gpu"}, {"objects_at_once": 3}, {"deadline_seconds": 5}, {"in_flight": 2}])
def test_where_and_how_it_runs_changes_no_key(llava, same):
    assert stage_of(llava, **same).key({}, ["r"]) == stage_of(llava).key({}, ["r"])


@pytest.mark.parametrize(
    "other", [{"views": 2}, {"prompts": ONE}, {"temperature": 0.5}, {"max_new_tokens": 9}, {"hint": True}]
)
def test_what_changes_captions_changes_the_key(llava, other):
    assert stage_of(llava, **other).key({}, ["r"]) != stage_of(llava).key({}, ["r"])


def test_the_sources_words_are_part_of_the_key_where_they_are_a_hint(llava):
    plain, hinted = stage_of(llava, sources=["engine"]), stage_of(llava, sources=["engine"], hint=True)
    assert plain.key({"name": "chair"}, ["r"]) == plain.key({"name": "table"}, ["r"])
    assert hinted.key({"name": "chair"}, ["r"]) != hinted.key({"name": "table"}, ["r"])


def test_the_keys_of_the_engine_metadata_are_what_they_were():
    """Datasets that exist keep their captions: this is the key that version 1 gave before there were other engines."""
    row = {"uri": "/here/things/chair/model.glb", "name": "seat"}
    assert Caption().key(row, ["r"]) == Caption().key(row, ["r"], failed=True) == "3a40425889e88c73516067e01c0a287f"
    assert json.loads(Caption()._identities[0])[2] == {"engine": "metadata", "max_characters": 2000}


def test_gpus_are_taken_where_there_are_some(llava):
    stage = Caption(**QUICK, model=str(llava))
    assert (stage.resolve(1).on_gpu, stage.resolve(0).on_gpu, Caption().resolve(1).on_gpu) == (True, False, False)
