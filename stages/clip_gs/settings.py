"""Define all settings of a training; what the paper leaves open is a field here."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

SerialOrder = Literal["xyz", "hilbert", "z"]
Precision = Literal["auto", "float32", "bfloat16"]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Share = Annotated[float, Field(ge=0, lt=1)]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class Model(_Settings):
    """The network."""

    size: Literal["mini", "tiny", "small", "base", "large"] = "mini"
    """mini is for CPUs; the others have Uni3D's layouts."""
    gaussians: int = Field(1024, ge=16)
    """Gaussians of an object that the network sees, n."""
    patches: int = Field(64, ge=4)
    """Patches that an object is divided into, g."""
    neighbours: int = Field(32, ge=4)
    """Gaussians in a patch, k."""
    centres: Literal["stored", "computed"] = "stored"
    """Centres of the patches: the first g Gaussians, which are in farthest-point order, or g farthest points computed
    for each object."""
    tokens: Literal["points", "attributes", "gaussians"] = "gaussians"
    """points: position and colour only, as in Uni3D; attributes: all attributes through Uni3D's encoder; gaussians: the
    paper's GS Tokenizer, the sum of two branches."""
    orders: tuple[SerialOrder, ...] = ("xyz", "hilbert", "z")
    """Orders of a patch's Gaussians before the tokenizer's convolutions; the tokens of all orders are averaged."""
    drop_path: Share = 0.0
    """Probability of skipping the last block for an object; earlier blocks are skipped less (stochastic depth)."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for name in ("patches", "neighbours"):
            if getattr(self, name) > self.gaussians:
                raise ValueError(f"{name} {getattr(self, name)} is more than gaussians, {self.gaussians}")
        if not self.orders or len(set(self.orders)) < len(self.orders):
            raise ValueError(f"orders {list(self.orders)}: expected at least one, and each at most once")
        return self


class Data(_Settings):
    """What is read from the dataset, and in which order."""

    split: str = "train"
    """The split that is trained on."""
    seed: Seed = 0
    """Seed of the order of rows, and of the views, captions and Gaussians that are drawn."""
    subset: Literal["first", "drawn"] = "first"
    """Which n Gaussians of an object: the first in farthest-point order, or a new random n each time."""
    views: int = Field(5, ge=1)
    """Views of an object in a step, K."""
    others: int = Field(0, ge=0)
    """Further objects for each object of a step, drawn from the rows in memory. Their views and captions are extra
    negatives: they cost little, and act like a larger batch."""
    without: tuple[dict[str, str], ...] = ()
    """Rows that match every column of one of these are never trained: [{category: chair}]."""
    weak_captions: Literal["keep", "skip"] = "keep"
    """Whether captions that index.json marks as weak, those with the teacher's lowest scores, are used."""
    shuffle_rows: int = Field(4096, ge=1)
    """Rows that are in memory at once to be shuffled; their row groups are drawn from all shards."""
    lanes: int = Field(8, ge=1)
    """Parts of a batch, each from its own row groups, so that several processes each read a part of the data. 1: every
    process reads everything."""
    readers: int = Field(2, ge=1)
    """Threads that read ahead; they do not change what a step sees."""


class Augment(_Settings):
    """How each object is changed each time it is seen."""

    scale: tuple[float, float] = (0.8, 1.25)
    """Limits of the random scale."""
    shift: float = Field(0.1, ge=0)
    """Largest random shift along each axis, in radii of the unit sphere."""
    rotation: Literal["none", "up", "all"] = "up"
    """Random rotation: none, about the axis that points up, or about any axis."""
    color_drop: float = Field(0.5, ge=0, le=1)
    """Share of objects whose colours are replaced by a mid grey."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale {list(self.scale)}: expected two numbers above 0, the smaller one first")
        return self


class LossWeights(_Settings):
    """The terms of the loss: the field NAME is the weight of the term in training/losses/NAME.py."""

    text: float = Field(1.0, ge=0)
    """Weight of the contrastive loss between objects and texts."""
    image: float = Field(1.0, ge=0)
    """Weight of the contrastive loss between objects and views."""

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each term, by name."""
        return {name: getattr(self, name) for name in LossWeights.model_fields}


class Loss(LossWeights):
    """The loss: a weighted sum of terms that compare objects with the teacher's vectors of texts and views."""

    voting: Literal["none", "paper", "softmax"] = "paper"
    """Weight of each view: none: equal; paper: its cosine to the text; softmax: a softmax of these cosines."""
    voting_temperature: float = Field(0.05, gt=0)
    """Temperature of that softmax."""
    start_scale: float = Field(1 / 0.07, gt=0)
    """Initial value of the learnt number that cosines are multiplied by."""
    most_scale: float = Field(100.0, gt=0)
    """Upper bound of that number."""

    @model_validator(mode="after")
    def _has_some(self) -> Self:
        if not any(self.weights.values()):
            raise ValueError(f"{', '.join(self.weights)} are all 0: expected at least one above 0")
        if self.start_scale > self.most_scale:
            raise ValueError(f"start_scale {self.start_scale:g} is above most_scale {self.most_scale:g}")
        return self


class Optimiser(_Settings):
    """How the weights are updated."""

    kind: Literal["adamw", "muon"] = "adamw"
    """muon: Muon for the matrices within layers, and AdamW for everything else."""
    rate: float = Field(1e-3, gt=0)
    """Largest learning rate."""
    decay: float = Field(0.05, ge=0)
    """Weight decay."""
    betas: tuple[Share, Share] = (0.9, 0.98)
    """AdamW's decay rates of the two running means."""
    layer_decay: float = Field(1.0, gt=0, le=1)
    """Factor on the learning rate for each layer further from the output."""
    warm_share: Share = 0.05
    """Share of the steps in which the rate rises; afterwards it falls along a cosine."""
    clip: float = Field(1.0, gt=0)
    """Largest norm of the gradient; longer gradients are scaled down."""


class Training(_Settings):
    """Every setting of a training."""

    model: Model = Model()
    data: Data = Data()
    augment: Augment = Augment()
    loss: Loss = Loss()
    optimiser: Optimiser = Optimiser()
    batch: int = Field(64, ge=2)
    """Objects in a step, over all processes."""
    epochs: float = Field(50.0, gt=0)
    """Length of the training, in passes over the split."""
    steps: int | None = Field(None, ge=1)
    """Length of the training in steps; takes the place of epochs."""
    seed: Seed = 0
    """Seed of the initial weights, of augmentation and of stochastic depth."""
    ema: Share = 0.0
    """Decay of an exponential moving average of the weights, which is then what is evaluated; 0: none."""
    precision: Precision = "auto"
    """auto: bfloat16 on a GPU and on a CPU that has instructions for it, else float32."""
    compile: bool = False
    """Whether torch.compile is used: faster on a GPU, after a minute or more."""
    start_from: str | None = None
    """A checkpoint of Uni3D (.pt) or of this project, whose weights are used where their shapes fit."""
    check_every: int = Field(200, ge=1)
    """Steps between two evaluations on the validation split."""
    save_seconds: float = Field(120.0, gt=0)
    """Seconds between two checkpoints."""
