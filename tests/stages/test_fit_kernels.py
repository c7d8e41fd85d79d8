"""gsplat's kernels: which toolkit compiles them, and the errors where they cannot be used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from stages.fitting import kernels
from stages.fitting.engines.gsplat import BatchedEngine


def write_toolkit(folder: Path, release: str) -> Path:
    """A folder with an nvcc that prints its version and its folder, as the real one does."""
    (folder / "bin").mkdir(parents=True)
    nvcc = folder / "bin" / "nvcc"
    nvcc.write_text(
        f"#!/bin/sh\ncase $1 in\n--version) echo 'Cuda compilation tools, release {release}, V{release}.88' ;;\n"
        f"--dryrun) echo '#$ TOP={folder}/bin/..' >&2 ;;\nesac\n"
    )
    nvcc.chmod(0o755)
    return folder


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An environment that names no toolkit; the folder is first on PATH."""
    for name in ("CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def test_the_toolkit_is_where_the_compiler_is_and_not_where_a_script_calls_it(bare: Path) -> None:
    home = write_toolkit(bare / "opt" / "cuda-13.0", "13.0")
    script = bare / "nvcc"
    script.write_text(f'#!/bin/sh\nexec {home}/bin/nvcc "$@"\n')
    script.chmod(0o755)
    assert kernels.toolkit("13.0") == home


def test_a_toolkit_that_is_named_is_taken(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_HOME", str(write_toolkit(bare / "mine", "13.2")))
    assert kernels.toolkit("13.0") == bare / "mine"


def test_a_toolkit_of_another_major_version_is_refused(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_HOME", str(write_toolkit(bare / "old", "12.8")))
    with pytest.raises(kernels.KernelsError, match=r"built with CUDA 13\.0, but .*nvcc belongs to CUDA 12\.8"):
        kernels.toolkit("13.0")


def test_without_a_compiler_it_says_where_it_looked(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_HOME", str(bare / "nothing"))
    with pytest.raises(kernels.KernelsError, match=r"nvcc was not found in .*nothing/bin: .*CUDA_HOME"):
        kernels.toolkit("13.0")


@pytest.mark.skipif(torch.cuda.is_available(), reason="tests the error on a machine without a GPU")
def test_gsplat_without_a_gpu_says_so_in_one_line() -> None:
    done = subprocess.run([sys.executable, "-m", "stages.fitting.kernels"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("gsplat: ")


def test_memory_that_torch_holds_and_does_not_use_counts_as_free(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"mem_get_info": (100, 1000), "memory_reserved": 700, "memory_allocated": 200}
    for name, value in known.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    monkeypatch.setattr("stages.fitting.engines.gsplat.bytes_of", lambda problem: 100)
    assert BatchedEngine(lambda: None, "cuda")._room_for(object()) == 3  # 0.6 of 600 bytes, 100 an object
