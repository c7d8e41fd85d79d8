"""The lists of packages that images install by hash agree with pyproject.toml and constraints.txt: `make hashes`."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
_ENTRY = re.compile(
    r"^([a-z0-9.-]+)(?:\[[a-z,]+\])?==(\S+)[^\n]*\\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE
)


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _hashed(*lists: str) -> dict[str, str]:
    """The versions in these lists, by name."""
    found: dict[str, str] = {}
    for name in lists:
        text = (ROOT / "docker" / name).read_text()
        entries = _ENTRY.findall(text)
        assert len(entries) == sum(line[0] not in " #" for line in text.splitlines()), f"{name}: an entry has no hash"
        found |= {package: version for package, version, _ in entries}
    return found


def _constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if not line.startswith("#"))
    return {_normalised(name): version for name, version in pairs}


@pytest.mark.parametrize("name", ["torch.txt", "requirements.txt"])
def test_an_image_has_the_versions_of_the_constraints(name):
    constraints = _constraints()
    hashed = _hashed(name)
    assert hashed
    assert {package: constraints.get(package, version) for package, version in hashed.items()} == hashed


def test_an_image_has_all_that_is_needed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["gpu"], *extras["s3"]]
    names = {_normalised(re.split(r"[\[<>=~!; ]", each)[0]) for each in wanted}
    assert names - set(_hashed("torch.txt", "requirements.txt")) == set()


@pytest.mark.slow
def test_every_pinned_package_is_installed_without_a_compiler():
    """A bare machine has none. PyOpenGL comes as sources alone, which are Python."""

    def install(*packages: str) -> subprocess.CompletedProcess[str]:
        words = ["install", "--dry-run", "--ignore-installed", "--no-deps", "--quiet", "--only-binary=:all:"]
        command = [sys.executable, "-m", "pip", *words, "--no-binary=PyOpenGL", *packages]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)

    if install("iniconfig").returncode:
        pytest.skip("needs a package index")
    done = install("-r", str(ROOT / "constraints.txt"))
    assert done.returncode == 0, done.stderr
