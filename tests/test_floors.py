"""The floors of the house: imports run downwards only, and looking at the packages loads nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from pipeline.recipe import KINDS

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ("manifests", "stages", "pipeline", "tests")  # from the ground up
HEAVY = ("torch", "ray", "gsplat", "transformers", "OpenGL", "pyrender", "trimesh", "numba", "datasets")


def names_imported(path: Path) -> set[str]:
    """Modules, and what is imported from them: `a.b` and `a.b.c` of `from a.b import c`."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path}: a relative import"
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def imports_of(path: Path) -> set[str]:
    return {name.split(".")[0] for name in names_imported(path)}


@pytest.mark.parametrize("floor", FLOORS)
def test_imports_run_downwards_only(floor: str) -> None:
    above = set(FLOORS[FLOORS.index(floor) + 1 :])
    files = list((ROOT / floor).rglob("*.py"))
    assert files
    for path in files:
        wrong = imports_of(path) & above
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)} from above"


def test_stages_never_import_ray() -> None:
    for path in (ROOT / "stages").rglob("*.py"):
        assert "ray" not in imports_of(path), path


def test_no_module_imports_itself_through_others() -> None:
    files = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for floor in FLOORS[:3]
        for path in (ROOT / floor).rglob("*.py")
        if path.name != "__init__.py"
    }
    imported = {name: names_imported(path) & files.keys() for name, path in files.items()}
    TopologicalSorter(imported).prepare()  # CycleError names the cycle


def test_importing_the_packages_loads_nothing_heavy() -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for floor in FLOORS[:3]
        for path in sorted((ROOT / floor).glob("*.py"))
        if path.stem not in ("__init__", "__main__", "ray_placement")
    ]
    code = f"import sys, {', '.join(modules)}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr


# Where a stage is named: the recipe has a line for each. `caption` is also a column of source lists, `fit` a method of
# Ray's trainer.
NAMING = {
    ("manifests/adapters/abo.py", "caption"),
    ("manifests/adapters/gso.py", "caption"),
    ("manifests/captions.py", "caption"),
    ("manifests/source_row.py", "caption"),
    ("pipeline/recipe.py", "ingest"),
    ("pipeline/recipe.py", "pack"),
    ("pipeline/training/on_ray.py", "fit"),
}


def words_of(path: Path) -> set[str]:
    """The strings and attributes of a file."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    strings = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return strings | {node.attr for node in nodes if isinstance(node, ast.Attribute)}


@pytest.mark.parametrize("floor", ["manifests", "pipeline"])
def test_no_stage_is_named_outside_stages_and_recipe(floor: str) -> None:
    paths = {str(path.relative_to(ROOT)): path for path in (ROOT / floor).rglob("*.py")}
    named = {(name, word) for name, path in paths.items() for word in words_of(path) & KINDS.keys()}
    assert named <= NAMING
