"""Convert the artifacts of embed and align to bytes and back: vectors of length 1 in a .npy file."""

from __future__ import annotations

import io

import numpy as np

from manifests.outcomes import DamagedFile
from stages.artifacts.bundle import damage_of


def to_bytes(vectors: np.ndarray) -> bytes:
    """[n, D] float16"""
    buffer = io.BytesIO()
    np.save(buffer, vectors.astype(np.float16), allow_pickle=False)
    return buffer.getvalue()


def from_bytes(data: bytes) -> np.ndarray:
    """[n, D] float16; DamagedFile if the file is damaged or holds something else."""
    with damage_of("the array"):
        file = io.BytesIO(data)
        if np.lib.format.read_magic(file) != (1, 0):
            raise DamagedFile("it is not a .npy file of version 1.0")
        shape, by_columns, dtype = np.lib.format.read_array_header_1_0(file)
        if dtype != np.float16 or len(shape) != 2 or by_columns:
            raise DamagedFile(f"the array is {dtype} with {len(shape)} dimensions; expected float16 with 2")
        vectors = np.frombuffer(data, "<f2", offset=file.tell()).reshape(shape)
        if not np.isfinite(vectors).all():
            raise DamagedFile("the array has a number that is infinite or NaN")
        return vectors
