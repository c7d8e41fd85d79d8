"""The losses against loops written out in float64, on one process and on two."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F

from stages.clip_gs.batch import Batch, Others
from stages.clip_gs.ranks import Ranks
from stages.clip_gs.settings import Loss
from stages.clip_gs.training.losses import compute_losses
from stages.clip_gs.training.losses.image import votes_of
from tests.stages.clip_gs_objects import batch

COUNT, DIMENSION, VIEWS = 8, 12, 3
VOTING = ("none", "paper", "softmax")


def seen_by(batch: Batch, seed: int = 0) -> torch.Tensor:  # [B, D] of length 1
    noise = torch.randn(batch.texts.shape, generator=torch.Generator().manual_seed(seed))
    return F.normalize(batch.texts + 0.3 * noise, dim=-1)


def with_duplicates() -> Batch:
    """Objects 0 and 3 are the same, 1 and 2 have the same caption, 5 to 7 too; 4 has that of 7, but shows another."""
    objects, meanings = torch.arange(COUNT), torch.arange(COUNT)
    objects[3] = 0
    meanings[2], meanings[6], meanings[7] = 1, 5, 5
    own = torch.stack([meanings, meanings], dim=1)
    own[4, 1] = 5
    return replace(batch(COUNT, 4, DIMENSION, VIEWS), objects=objects, meanings=meanings, own_meanings=own)


def with_others(examples: Batch, each: int = 2) -> Batch:
    """Some of which show what an object of the batch shows, or say what it says."""
    drawn = batch(COUNT * each, 4, DIMENSION, VIEWS, seed=5)
    shape = (COUNT, each)
    objects, meanings = drawn.objects + 100, drawn.meanings + 100
    objects[3], objects[11], meanings[6], meanings[12] = 0, 4, 1, 5
    others = Others(drawn.views[:, 0], drawn.texts, objects, meanings)
    return replace(examples, others=others.each(lambda tensor: tensor.unflatten(0, shape)))


def entropy_both_ways(
    seen: list, others: list, own: int, apart: list[list[bool]], scale: float, beside: list | None = None
) -> float:
    """Minus half the logarithm of the own one's share among others and those beside, and of the own object's among
    objects."""

    def likeness(one: list, other: list) -> float:
        return scale * sum(a * b for a, b in zip(one, other, strict=True))

    mine = likeness(seen[own], others[own])
    among = [j for j in range(len(seen)) if j == own or apart[own][j]]
    asked = [j for j in range(len(seen)) if j == own or apart[j][own]]
    alike = [likeness(seen[own], others[j]) for j in among] + [likeness(seen[own], each) for each in beside or ()]
    by_row = math.log(sum(map(math.exp, alike))) - mine
    by_column = math.log(sum(math.exp(likeness(seen[j], others[own])) for j in asked)) - mine
    return (by_row + by_column) / 2


def slow(vectors: torch.Tensor, examples: Batch, scale: float, loss: Loss) -> dict[str, float]:
    seen, texts, views = (each.double().tolist() for each in (vectors, examples.texts, examples.views))
    other_object = [[a != b for b in examples.objects] for a in examples.objects]
    other_words = [[b not in a for b in examples.meanings.tolist()] for a in examples.own_meanings.tolist()]
    both = [[a and b for a, b in zip(*rows, strict=True)] for rows in zip(other_object, other_words, strict=True)]
    count = len(seen)
    beside_texts: list[list] = [[] for _ in seen]
    beside_views: list[list] = [[] for _ in seen]
    if examples.others:
        them = examples.others.each(lambda tensor: tensor.flatten(0, 1).tolist())
        for own in range(count):
            for place, number in enumerate(them.objects):
                if number == examples.objects[own]:
                    continue
                beside_views[own].append(them.views[place])
                if them.meanings[place] not in examples.own_meanings[own].tolist():
                    beside_texts[own].append(them.texts[place])
    text = sum(entropy_both_ways(seen, texts, own, both, scale, beside_texts[own]) for own in range(count)) / count
    image = 0.0
    for own in range(count):
        cosines = [sum(a * b for a, b in zip(view, texts[own], strict=True)) for view in views[own]]
        warm = [math.exp(cosine / loss.voting_temperature) for cosine in cosines]
        votes = {
            "none": [1 / VIEWS] * VIEWS,
            "paper": [max(0.0, cosine) / VIEWS for cosine in cosines],
            "softmax": [each / sum(warm) for each in warm],
        }[loss.voting]
        for number, vote in enumerate(votes):
            seen_views = [each[number] for each in views]
            image += vote * entropy_both_ways(seen, seen_views, own, other_object, scale, beside_views[own]) / count
    return {"text": loss.text * text, "image": loss.image * image}


def alone(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


@pytest.mark.parametrize("examples", [with_duplicates(), with_others(with_duplicates())], ids=["batch", "others"])
@pytest.mark.parametrize("voting", VOTING)
def test_losses_are_those_of_the_loops(voting: str, examples: Batch) -> None:
    loss = Loss(voting=voting, text=0.7, image=1.3)
    vectors = seen_by(examples)
    parts = compute_losses(vectors, examples, torch.tensor(9.0), loss, alone)
    expected = slow(vectors, examples, 9.0, loss)
    assert {name: parts.terms[name].item() for name in expected} == pytest.approx(expected, rel=1e-5)


def test_what_is_the_same_is_no_other() -> None:
    """With an equal object or caption elsewhere in the batch, and without it, the others' losses are the same."""
    examples = batch(2, 4, DIMENSION, VIEWS)
    twins = replace(examples, objects=torch.zeros(2, dtype=torch.int64))
    parts = compute_losses(seen_by(examples), twins, torch.tensor(20.0), Loss(), alone)
    assert parts.terms["text"] == 0 and parts.terms["image"] == 0  # there are no negatives left
    zeros = torch.zeros(2, dtype=torch.int64)
    same_words = replace(examples, meanings=zeros, own_meanings=zeros[:, None])
    parts = compute_losses(seen_by(examples), same_words, torch.tensor(20.0), Loss(), alone)
    assert parts.terms["text"] == 0 and parts.terms["image"] > 0  # their pictures are not the same


def test_accuracy_is_the_share_of_objects_whose_text_is_the_likest() -> None:
    examples = replace(batch(4, 4, DIMENSION, VIEWS), texts=torch.eye(4, DIMENSION))
    vectors = F.normalize(
        examples.texts + 2 * examples.texts[[0, 1, 3, 2]], dim=-1
    )  # the last two are nearer to the other's
    assert compute_losses(vectors, examples, torch.tensor(9.0), Loss(), alone).accuracy == 0.5
    meanings = torch.tensor([0, 1, 2, 2])
    examples = replace(examples, meanings=meanings, own_meanings=meanings[:, None])
    assert compute_losses(vectors, examples, torch.tensor(9.0), Loss(), alone).accuracy == 1


@pytest.mark.parametrize("voting", VOTING)
def test_views_vote_by_their_cosine_to_the_text(voting: str) -> None:
    text = F.normalize(torch.tensor([[1.0, 1.0, 0.0]]), dim=-1)
    views = torch.tensor([[[1.0, 0, 0], [0, 0, 1.0], [-1.0, 0, 0]]])  # near, unrelated, contrary
    votes = votes_of(views, text, Loss(voting=voting, voting_temperature=0.5))[0].tolist()
    half = 0.5**0.5
    total = sum(math.exp(cosine / 0.5) for cosine in (half, 0, -half))
    assert votes == pytest.approx(
        {
            "none": [1 / 3] * 3,
            "paper": [half / 3, 0, 0],
            "softmax": [math.exp(cosine / 0.5) / total for cosine in (half, 0, -half)],
        }[voting]
    )


def test_the_scale_is_limited_and_learns_on_either_side() -> None:
    examples = batch(COUNT, 4, DIMENSION, VIEWS)
    wrong = seen_by(examples).roll(1, 0)  # a lower scale would be better
    for start in (4.0, 150.0):
        logit = torch.tensor(math.log(start), requires_grad=True)
        parts = compute_losses(wrong, examples, logit.exp(), Loss(most_scale=100), alone)
        expected = compute_losses(wrong, examples, torch.tensor(min(start, 100.0)), Loss(most_scale=100), alone)
        assert parts.terms["text"].item() == pytest.approx(expected.terms["text"].item(), rel=1e-5)
        parts.terms["text"].backward()
        assert logit.grad > 0


def test_the_losses_are_made_in_full_precision_under_autocast() -> None:
    examples = batch(COUNT, 4, DIMENSION, VIEWS)
    expected = compute_losses(seen_by(examples), examples, torch.tensor(90.0), Loss(), alone)
    with torch.autocast("cpu", torch.bfloat16):
        found = compute_losses(seen_by(examples), examples, torch.tensor(90.0), Loss(), alone)
    assert found == expected


def learn(ranks: Ranks) -> dict[str, torch.Tensor]:
    """This rank's part of the batch: losses, and gradients of a small network and of the temperature."""
    examples = with_others(with_duplicates())
    rows = slice(ranks.rank * COUNT // ranks.world, (ranks.rank + 1) * COUNT // ranks.world)
    inputs = seen_by(examples)[rows]
    weights = torch.randn(DIMENSION, DIMENSION, generator=torch.Generator().manual_seed(1)).requires_grad_()
    logit = torch.tensor(2.0, requires_grad=True)
    own = examples.each(lambda tensor: tensor[rows])
    parts = compute_losses(F.normalize(inputs @ weights, dim=-1), own, logit.exp(), Loss(), ranks.gather)
    parts.total.backward()
    return {**{name: part.detach() for name, part in parts.terms.items()}, "weights": weights.grad, "logit": logit.grad}


def learn_as_a_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    found = learn(Ranks(rank, 2, torch.device("cpu")))
    for name in ("weights", "logit"):  # as DistributedDataParallel does
        dist.all_reduce(found[name])
        found[name] /= 2
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(learn_as_a_rank, (str(tmp_path),), nprocs=2)
    expected = learn(Ranks(0, 1, torch.device("cpu")))
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, atol=1e-6, rtol=1e-5)
