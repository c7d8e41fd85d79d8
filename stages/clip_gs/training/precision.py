"""In which precision the network reckons."""

from __future__ import annotations

import torch

from stages.clip_gs.settings import Precision


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """auto: bfloat16 on a GPU, and on a CPU that has instructions for it; others are slower with it."""
    short = precision == "bfloat16" or (precision == "auto" and (device.type == "cuda" or _has_bfloat16()))
    return torch.autocast(device.type, torch.bfloat16, enabled=short)


def _has_bfloat16() -> bool:
    told = torch.cpu.get_capabilities()
    return bool(told.get("avx512_bf16") or told.get("amx_bf16"))
