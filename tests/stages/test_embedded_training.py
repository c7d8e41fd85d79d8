"""Training of the embedded models: it learns, it goes on as if it had never stopped, and what it saves is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from stages.captioning.prompts import Prompts
from stages.common.training import history
from stages.common.training.checkpoint import CheckpointError
from stages.corpus import captions
from stages.corpus.corpus import Corpus
from stages.embedded.training import captioner, clip, evaluation, loop, making, meaning, objects, tokens
from stages.embedded.training.pictures import Library, drawn
from stages.render import Render

SIDE, VIEWS = 24, 3
TINY = clip.Shape(patch=8, width=32, depth=2, heads=2, text_width=32, text_depth=1, dimension=16, side=SIDE)
TINY_CAPTIONER = captioner.Shape(width=32, depth=2, heads=2, inner=48)


@pytest.fixture(scope="module")
def library() -> Library:
    """Objects whose pictures are one colour each, a different one for each main colour."""
    corpus = Corpus(count=1, seed=5)
    rows = [{**corpus.model(index)[0], "number": index, "covered": [1] * VIEWS} for index in range(24)]
    tints = np.random.default_rng(0).integers(0, 256, (64, 3))
    pictures = np.empty((len(rows), VIEWS, SIDE, SIDE, 3), np.uint8)
    for place, row in enumerate(rows):
        pictures[place] = tints[clip.COLORS.index(row["color"])]
    return Library(rows, [pictures], np.array([(0, place) for place in range(len(rows))]))


@pytest.fixture(scope="module")
def vocabulary(library: Library):
    rng = np.random.default_rng(0)
    texts = [write(row, rng) for row in library.rows for write in (captions.phrase, captions.tags)]
    return tokens.learn([*texts, *Prompts().asked().values()], 500)


def clip_task(library: Library, vocabulary) -> clip.ClipTask:
    return clip.ClipTask(TINY, library, tokens.for_clip(vocabulary), 12, seed=3)


def captioner_task(library: Library, vocabulary) -> captioner.CaptionerTask:
    tokenizer = tokens.for_captioner(vocabulary)
    torch.manual_seed(0)
    eyes = clip.new_model(TINY, tokens.for_clip(vocabulary))
    model = captioner.new_model(TINY_CAPTIONER, eyes, tokenizer, seed=3)
    return captioner.CaptionerTask(model, library, tokenizer, 8, seed=3)


TASKS = pytest.mark.parametrize("new_task", [clip_task, captioner_task])


def curve(folder: Path) -> list[history.Line]:
    return [{**line, "seconds": 0} for line in history.read(folder / history.FILE)]


@TASKS
def test_the_loss_falls(library: Library, vocabulary, tmp_path: Path, new_task) -> None:
    seen: list[float] = []
    loop.train(
        new_task(library, vocabulary), loop.Schedule(40, 5e-3, 5e-3), tmp_path, lambda step, loss: seen.append(loss)
    )
    assert np.mean(seen[-5:]) < 0.8 * np.mean(seen[:5])
    assert len(curve(tmp_path)) == 40


@TASKS
def test_a_stopped_run_goes_on_with_the_same_curve(library: Library, vocabulary, tmp_path: Path, new_task) -> None:
    schedule = loop.Schedule(8, 2e-3, 2e-3)

    def stop(step: int, loss: float) -> None:
        if step == 5:
            raise KeyboardInterrupt

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    loop.train(new_task(library, vocabulary), schedule, whole, lambda step, loss: None)
    with pytest.raises(KeyboardInterrupt):
        loop.train(new_task(library, vocabulary), schedule, parts, stop, save_seconds=0.0)
    begun: list[int] = []
    loop.train(new_task(library, vocabulary), schedule, parts, lambda step, loss: begun.append(step))
    assert begun == [6, 7, 8]
    assert curve(parts) == curve(whole)


def test_a_checkpoint_of_another_run_is_refused(library: Library, vocabulary, tmp_path: Path) -> None:
    loop.train(clip_task(library, vocabulary), loop.Schedule(2, 1e-3, 1e-3), tmp_path, lambda step, loss: None)
    with pytest.raises(CheckpointError, match="another schedule"):
        loop.train(clip_task(library, vocabulary), loop.Schedule(4, 1e-3, 1e-3), tmp_path, lambda step, loss: None)
    with pytest.raises(CheckpointError, match="another model"):
        loop.train(captioner_task(library, vocabulary), loop.Schedule(2, 1e-3, 1e-3), tmp_path, lambda step, loss: None)


def test_lines_after_the_checkpoint_are_written_again(library: Library, vocabulary, tmp_path: Path) -> None:
    schedule = loop.Schedule(4, 1e-3, 1e-3)

    def stop(step: int, loss: float) -> None:
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.train(clip_task(library, vocabulary), schedule, tmp_path, stop, save_seconds=0.0)
    with (tmp_path / history.FILE).open("a") as file:
        file.write('{"step": 3, "seconds": 9.9, "contrast": 1}\n{"step": 4, "sec')  # and then the machine stopped
    loop.train(clip_task(library, vocabulary), schedule, tmp_path, lambda step, loss: None)
    assert [line["step"] for line in curve(tmp_path)] == [1, 2, 3, 4]
    assert all(line["contrast"] != 1 for line in curve(tmp_path))


def test_the_clip_loads_as_a_teacher(library: Library, vocabulary, tmp_path: Path) -> None:
    from stages.embedding.teacher import Teacher

    task = clip_task(library, vocabulary)
    clip.save(task.model.eval(), tokens.for_clip(vocabulary), tmp_path)
    teacher = Teacher(str(tmp_path), None, "cpu")
    pictures = library.pictures(np.arange(4), np.zeros(4, int))
    vectors = teacher.embed_pictures(teacher.prepare([Image.fromarray(picture) for picture in pictures]))
    with torch.inference_mode():
        expected = task.model.get_image_features(pixel_values=clip.normalised(pictures, task.device)).pooler_output
    expected = torch.nn.functional.normalize(expected, dim=-1).numpy()
    assert np.abs(vectors - expected).max() < 5e-3
    assert teacher.embed_texts(["a red chair", "椅子"]).shape == (2, TINY.dimension)


def test_the_captioner_loads_as_a_writer(library: Library, vocabulary, tmp_path: Path) -> None:
    from stages.captioning.subject import Question
    from stages.captioning.writer import Writer

    task = captioner_task(library, vocabulary)
    captioner.save(task.model.eval(), task.tokenizer, tmp_path)
    pictures = [Image.fromarray(picture) for picture in library.pictures(np.zeros(2, int), np.arange(2))]
    writer = Writer(str(tmp_path), None, "cpu")
    (answer,) = writer.write([Question(pictures, "Describe it.", 0)], 6)
    assert 0 < answer.confidence <= 1


def test_it_is_taught_what_the_chat_template_gives(library: Library, vocabulary, tmp_path: Path) -> None:
    from transformers import AutoProcessor

    task = captioner_task(library, vocabulary)
    captioner.save(task.model, task.tokenizer, tmp_path)
    processor = AutoProcessor.from_pretrained(tmp_path)
    prompt = Prompts().asked()["short"]
    given, _ = task.line(2, prompt, "a red chair")
    picture = {"type": "image", "image": Image.new("RGB", (64, 64))}
    asked = [{"role": "user", "content": [picture, picture, {"type": "text", "text": prompt}]}]
    shown = processor.apply_chat_template(asked, add_generation_prompt=True, tokenize=True, return_dict=True)
    assert list(np.ravel(shown["input_ids"])) == given


def test_any_script_has_a_spelling(vocabulary) -> None:
    tokenizer = tokens.for_clip(vocabulary)
    text = " ein grüner Stuhl, 緑の椅子"
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True).strip() == text.strip()


def test_the_best_text_is_judged_by_its_meaning(library: Library) -> None:
    rows = library.rows[:6]
    texts = [captions.name(row) for row in rows]
    assert evaluation.caption_figures(rows, texts) == {
        "objects": 6, "category": 1.0, "color": 1.0, "pattern": 1.0, "true": 1.0,
    }  # fmt: skip
    wrong = ["a purple thing", *texts[1:]]
    found = evaluation.caption_figures(rows, wrong)
    assert found["category"] == found["true"] == pytest.approx(5 / 6)


def test_what_is_true_of_an_object_is_never_its_wrong_text(library: Library) -> None:
    rows = [row for row in library.rows if row["pattern"] == "plain"][:3]
    texts = [captions.name(rows[0]), captions.name(rows[0]), f"a {rows[2]['category']}"]
    right, wrong = clip.verdicts(texts, [meaning.truth(row) for row in rows])
    assert right[0].tolist() == [True, True, False] and not wrong[0, :2].any()
    assert right.diagonal().all() and not (right & wrong).any()


def test_pictures_are_what_the_product_shows_a_model(tmp_path: Path) -> None:
    """Drawn once by the training's process and once by the stage, both away from torch."""
    reported: list[tuple[int, int]] = []
    found = drawn(tmp_path, objects.TRAIN, 3, 2, 64, 1, lambda done, count: reported.append((done, count)), length=3)
    assert reported == [(0, 1), (1, 1)] and 1 <= len(found) <= 3
    code = """
import sys, numpy as np
from pathlib import Path
from stages.embedded.training.objects import TRAIN
from stages.embedded.training.renders import directions
from stages.artifacts import bundle
from stages.render import Render
from stages.rendering.drawing import Renderer
class Seen(Render):
    def directions(self): return directions(int(sys.argv[1]), 2)
stage = Seen(views=2)
row = {"mesh_name": "a.glb", "format": "glb"}
archive = bundle.pack({"a.glb": TRAIN.corpus().make(int(sys.argv[1]))[1]})
Path(sys.argv[2]).write_bytes(stage.render(row, archive, Renderer(stage.size, stage.samples)).artifact)
"""
    given = [str(found.rows[0]["number"]), str(tmp_path / "views.zip")]
    subprocess.run([sys.executable, "-c", code, *given], check=True, env=os.environ | Render.environment)
    from stages.artifacts.views import Views

    views = Views.from_bytes((tmp_path / "views.zip").read_bytes())
    process = clip.image_processor(64)
    expected = process(images=views.pictures(), return_tensors="pt")["pixel_values"]
    assert torch.allclose(
        clip.normalised(found.pictures(np.zeros(2, int), np.arange(2)), torch.device("cpu")), expected
    )
    covered = [int(np.count_nonzero(view[..., 3])) for view in views.color_pixels()]
    assert found.rows[0]["covered"] == covered
    again: list[tuple[int, int]] = []
    drawn(tmp_path, objects.TRAIN, 3, 2, 64, 1, lambda done, count: again.append((done, count)), length=3)
    assert again == [(1, 1)]


def test_a_second_round_begins_lower_and_ends_at_nothing() -> None:
    once, twice = loop.Schedule(50, 1e-3, 1e-3), loop.Schedule(50, 1e-3, 1e-3, late_steps=20)
    assert [twice.share_at(step) for step in range(50)] == [once.share_at(step) for step in range(50)]
    late = [twice.share_at(step) for step in range(50, twice.all_steps)]
    assert len(late) == 20 and late[0] == 0.5 and late == sorted(late, reverse=True) and 0 < late[-1] < 0.01


def test_in_the_second_round_words_of_patterns_count_for_more(library: Library, vocabulary) -> None:
    task = captioner_task(library, vocabulary)
    heavy = captioner._tokens_of(["striped", "it"], task.tokenizer)
    assert [task.tokenizer.decode([piece]) for piece in heavy] == [" striped"]
    late = captioner.CaptionerTask(task.model, library, task.tokenizer, 8, seed=3, late_from=1)
    assert torch.equal(late.losses(0)["words"], task.losses(0)["words"])
    assert not torch.equal(late.losses(1)["words"], task.losses(1)["words"])


def test_the_whole_way_from_pictures_to_cards(library: Library, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(making, "CLIP_SHAPE", TINY)
    monkeypatch.setattr(making, "CAPTIONER_SHAPE", TINY_CAPTIONER)
    libraries = dict.fromkeys(("train", "instances", "combinations"), library)
    for name in ("clip", "captioner"):
        making.make(name, libraries, tmp_path / "run", tmp_path / "out" / name, "cpu", steps=2, batch=8)
        card = (tmp_path / "out" / name / "README.md").read_text()
        figures = yaml.safe_load((tmp_path / "out" / name / "figures.yaml").read_text())
        assert "2 steps" in card and f"{figures['instances']['category']:.3f}" in card
        assert (tmp_path / "out" / name / "model.safetensors").stat().st_size < 10e6
