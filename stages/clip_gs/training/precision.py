"""Choose the precision in which the network computes."""

from __future__ import annotations

import torch

from stages.clip_gs.settings import Precision


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """`auto` is bfloat16 on a GPU, and on a CPU with instructions for it; on other CPUs it would be slower."""
    short = precision == "bfloat16" or (precision == "auto" and (device.type == "cuda" or _has_bfloat16()))
    return torch.autocast(device.type, torch.bfloat16, enabled=short)


def _has_bfloat16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
