"""Why the model may fail, alike for views and for texts."""

from __future__ import annotations

from stages.contract.stage import Reason


def model_reasons(item: str) -> tuple[Reason, ...]:
    return (
        Reason(
            "not_finite",
            "the model gave NaN or a vector of length 0: its weights are probably damaged",
            "download the checkpoint again, or choose another",
        ),
        Reason(
            "out_of_memory",
            f"the GPU had no room for one {item}, after batches were halved down to it",
            "use a smaller model, or a GPU with more memory",
            transient=True,
        ),
    )
