"""All settings of a training in one typed model: what the paper leaves open is a field here."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Order = Literal["xyz", "hilbert", "z"]
Precision = Literal["auto", "float32", "bfloat16"]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Share = Annotated[float, Field(ge=0, lt=1)]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class Model(_Settings):
    """What the network is. `mini` is for CPUs, the others have Uni3D's layouts."""

    size: Literal["mini", "tiny", "small", "base", "large"] = "mini"
    gaussians: int = Field(1024, ge=16)
    """Gaussians of an object that are looked at, n."""
    patches: int = Field(64, ge=4)
    """Patches an object is taken apart into, g."""
    neighbours: int = Field(32, ge=4)
    """Gaussians a patch has, k."""
    centres: Literal["stored", "computed"] = "stored"
    """Where patches are: at the first g Gaussians, which stand in farthest-point order, or at g computed anew."""
    tokens: Literal["points", "attributes", "gaussians"] = "gaussians"
    """points: position and colour alone, as Uni3D; attributes: all attributes through Uni3D's encoder; gaussians: the
    paper's GS Tokenizer, two branches added up."""
    orders: tuple[Order, ...] = ("xyz", "hilbert", "z")
    """Orders that a patch's Gaussians stand in before the tokenizer's convolutions; their tokens are averaged."""
    drop_path: Share = 0.0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for name in ("patches", "neighbours"):
            if getattr(self, name) > self.gaussians:
                raise ValueError(f"{name} {getattr(self, name)} is more than there are gaussians, {self.gaussians}")
        if not self.orders or len(set(self.orders)) < len(self.orders):
            raise ValueError(f"orders {list(self.orders)}: one at least, and each once")
        return self


class Data(_Settings):
    """What is read of the dataset, and in which order."""

    split: str = "train"
    seed: Seed = 0
    subset: Literal["first", "drawn"] = "first"
    """Which n of an object's Gaussians: the first of the farthest-point order, or n drawn anew each time."""
    views: int = Field(5, ge=1)
    """Views of an object that a step looks at, K."""
    others: int = Field(0, ge=0)
    """For each object of a step so many more, drawn from the rows in memory: what the teacher saw and read of them is
    told apart from the step's objects too. They cost little, and do what a larger batch would."""
    without: tuple[dict[str, str], ...] = ()
    """Rows that match every column of one of these are never trained: [{category: chair}]."""
    weak_captions: Literal["keep", "skip"] = "keep"
    """Captions that the dataset's index marks as weak: those with the teacher's lowest scores."""
    shuffle_rows: int = Field(4096, ge=1)
    """Rows that lie in memory at once to be mixed; the row groups they come from are drawn from all shards."""
    lanes: int = Field(8, ge=1)
    """Parts that a batch is put together from, each with row groups of its own, where there are more rows than that:
    as many processes read a part of the data each. 1: every process reads all."""
    readers: int = Field(2, ge=1)
    """Threads that read ahead; what a step sees does not depend on them."""


class Augment(_Settings):
    """How each object is changed each time it is seen."""

    scale: tuple[float, float] = (0.8, 1.25)
    shift: float = Field(0.1, ge=0)
    rotation: Literal["none", "up", "all"] = "up"
    """about the axis that points up, or any way"""
    color_drop: float = Field(0.5, ge=0, le=1)
    """The share of objects whose colours are replaced by a mid grey."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale {list(self.scale)}: the smaller one first, and above 0")
        return self


class Loss(_Settings):
    text: float = Field(1.0, ge=0)
    image: float = Field(1.0, ge=0)
    """Weights of the two losses."""
    voting: Literal["none", "paper", "softmax"] = "paper"
    """How views count: alike; each by its cosine to the text; by a softmax of these cosines."""
    voting_temperature: float = Field(0.05, gt=0)
    """Of the softmax."""
    start_scale: float = Field(1 / 0.07, gt=0)
    most_scale: float = Field(100.0, gt=0)
    """The number that cosines are multiplied by: where it starts, and the most that it may learn to be."""

    @model_validator(mode="after")
    def _has_some(self) -> Self:
        if not self.text and not self.image:
            raise ValueError("text and image are both 0: nothing is left to learn")
        if self.start_scale > self.most_scale:
            raise ValueError(f"start_scale {self.start_scale:g} is above most_scale {self.most_scale:g}")
        return self


class Optimiser(_Settings):
    kind: Literal["adamw", "muon"] = "adamw"
    """muon: for the matrices within layers; adamw for all else."""
    rate: float = Field(1e-3, gt=0)
    decay: float = Field(0.05, ge=0)
    betas: tuple[Share, Share] = (0.9, 0.98)
    layer_decay: float = Field(1.0, gt=0, le=1)
    """Each layer towards the input learns so much slower than the next."""
    warm_share: Share = 0.05
    """Of the steps, in which the rate rises; then it falls by a cosine."""
    clip: float = Field(1.0, gt=0)
    """The norm that gradients are cut to."""


class Training(_Settings):
    """Every setting of a training."""

    model: Model = Model()
    data: Data = Data()
    augment: Augment = Augment()
    loss: Loss = Loss()
    optimiser: Optimiser = Optimiser()
    batch: int = Field(64, ge=2)
    """Objects of a step, all processes together."""
    epochs: float = Field(50.0, gt=0)
    steps: int | None = Field(None, ge=1)
    """How long; where steps are given, epochs do not count."""
    seed: Seed = 0
    ema: Share = 0.0
    """Share of its past that a running mean of the weights keeps each step; 0: none. It is what is evaluated."""
    precision: Precision = "auto"
    """auto: bfloat16 on a GPU, and on a CPU that has instructions for it."""
    compile: bool = False
    """By torch.compile: faster on a GPU, after a minute or more."""
    start_from: str | None = None
    """A checkpoint of Uni3D (.pt) or of this program, whose weights are taken where they fit."""
    check_every: int = Field(200, ge=1)
    """Steps between two looks at the validation split."""
    save_seconds: float = Field(120.0, gt=0)
    """Between two checkpoints."""
