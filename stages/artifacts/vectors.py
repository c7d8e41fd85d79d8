"""Convert the artifacts of embed and align to bytes and back: vectors of length 1 in a .npy file."""

from __future__ import annotations

import io

import numpy as np


def to_bytes(vectors: np.ndarray) -> bytes:
    """[n, D] float16"""
    buffer = io.BytesIO()
    np.save(buffer, vectors.astype(np.float16), allow_pickle=False)
    return buffer.getvalue()


def from_bytes(data: bytes) -> np.ndarray:
    """[n, D] float16; ValueError if the file is damaged or holds something else."""
    try:
        vectors = np.load(io.BytesIO(data), allow_pickle=False)
    except EOFError as error:
        raise ValueError("the file is empty") from error
    if vectors.dtype != np.float16 or vectors.ndim != 2:
        raise ValueError(f"the array is {vectors.dtype} with {vectors.ndim} dimensions; expected float16 with 2")
    return vectors
