from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from stages.artifacts.splat import Splat


def splat(count: int, harmonics: int) -> Splat:
    random = np.random.default_rng(count)
    shapes = (count, 3), (count, 3), (count, 4), (count,), (count, harmonics, 3)
    return Splat(*(random.normal(size=shape).astype(np.float32) for shape in shapes))


@pytest.mark.parametrize(("count", "harmonics"), [(0, 1), (1, 1), (7, 4), (5, 16)])
def test_reads_back_what_it_wrote(count: int, harmonics: int) -> None:
    written = splat(count, harmonics)
    read = Splat.from_ply(written.to_ply())
    assert len(read) == count
    for name in ("means", "log_scales", "quaternions", "opacity_logits", "sh"):
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name))


def test_the_file_is_as_viewers_expect_it() -> None:
    written = splat(2, 4)
    header, body = written.to_ply().split(b"end_header\n")
    assert header.startswith(b"ply\nformat binary_little_endian 1.0\nelement vertex 2\nproperty float x\n")
    table = np.frombuffer(body, "<f4").reshape(2, 6 + 12 + 1 + 3 + 4)
    np.testing.assert_array_equal(table[:, :3], written.means)
    np.testing.assert_array_equal(table[:, 6:9], written.sh[:, 0])
    np.testing.assert_array_equal(table[:, 9:12], written.sh[:, 1:, 0])  # f_rest: all of red, then green, then blue
    np.testing.assert_array_equal(table[:, 18], written.opacity_logits)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (b"ply\n", b"obj\n", "not a PLY file"),
        (b"end_header\n", b"end\n", "not a PLY file"),
        (b"binary_little_endian", b"ascii", "expected 'binary_little_endian 1.0'"),
        (b"property float opacity\n", b"", "lacks the property opacity"),
        (b"property float rot_3", b"property double rot_3", "property float NAME"),
        (b"element vertex 3", b"element vertex 4", "expected 272"),
        (b"element vertex 3", b"element face 3", "element vertex COUNT"),
    ],
)
def test_refuses_files_that_are_not_splats(old: bytes, new: bytes, says: str) -> None:
    data = splat(3, 1).to_ply().replace(old, new, 1)
    with pytest.raises(ValueError, match=says):
        Splat.from_ply(data)


def test_says_whether_all_numbers_are_finite() -> None:
    good = splat(3, 1)
    assert good.is_finite()
    good.log_scales[1, 2] = np.nan
    assert not good.is_finite()


def test_needs_numpy_alone() -> None:
    code = "import stages.artifacts.splat, sys; print([m for m in ('torch', 'numba', 'pydantic') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
