"""The fuzz campaign itself: the same files for the same seed, and faults that it must see."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from manifests.records import FAILED, OK
from tests.fuzz import builds, decoders
from tests.fuzz.cases import AIMED, GENERATORS, Case, chosen, generators_of
from tests.fuzz.findings import Results, faults_of_text

_DIGEST = "from tests.fuzz.test_fuzz import digest; print(digest(3))"


def digest(seed: int) -> str:
    """The hash of the files of two cases of every generator."""
    total = hashlib.sha256()
    for form in GENERATORS:
        for generator in generators_of(form):
            for number in ("0", "1") if generator != AIMED else ():
                for name, data in Case(form, generator, number).files(seed).items():
                    total.update(name.encode() + b"\0" + data)
    return total.hexdigest()


def test_a_seed_gives_the_same_files_in_every_process() -> None:
    words, environment = [sys.executable, "-c", _DIGEST], {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run(words, cwd=builds.ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest(3) != digest(4)


def test_cases_have_names_from_which_they_are_made_again(tmp_path: Path) -> None:
    cases = chosen(600)
    assert len({case.name for case in cases}) == 600 and all(Case.parse(case.name) == case for case in cases)
    path = Case.parse("gltf/types/12").write(tmp_path, seed=0)
    assert (
        path.parent == tmp_path / "gltf/types/12" and path.read_bytes() in Case.parse("gltf/types/12").files(0).values()
    )
    for name in ("gltf/types", "gltf/nothing/1", "exe/types/1", "gltf/aimed/nothing", "gltf/types/one"):
        with pytest.raises(ValueError, match="expected FORMAT/GENERATOR/NUMBER"):
            Case.parse(name)


def _short_form() -> list[Case]:
    """Every aimed case that is not large, and random ones, 300 in all."""
    return [case for case in chosen(400) if not case.large][:300]


def test_decoders_withstand_random_cases() -> None:
    cases = [case for case in chosen(600, tuple(GENERATORS)) if case.generator != AIMED][:300]
    results = decoders.run(cases, seed=0)
    assert not results.findings and sum(results.outcomes["gltf"].values()) > 50


@pytest.mark.slow
def test_decoders_withstand_aimed_cases() -> None:
    results = decoders.run([case for case in _short_form() if case.generator == AIMED], seed=0)
    assert not results.findings and results.peak_bytes < builds.MEMORY_GB * 2**30


@pytest.mark.slow
def test_builds_withstand_aimed_and_random_cases(tmp_path: Path) -> None:
    cases = _short_form()
    assert len(cases) == 300
    results = builds.run(cases, seed=0, folder=tmp_path / "build")
    assert not results.findings and sum(map(sum, (counted.values() for counted in results.outcomes.values()))) == 300


def test_a_case_that_ends_the_process_is_found_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "_SECONDS", 30)
    cases = [Case("stl", "text", "0"), Case("stl", "aimed", "gone"), Case("stl", "text", "1")]
    results = decoders.run(cases, seed=0)
    assert [finding.name for finding in results.findings] == ["stl/aimed/gone"]
    assert results.outcomes["stl"]["process ended"] == 1 and sum(results.outcomes["stl"].values()) == 3


def _records(**changes: Any) -> dict[str, dict[str, dict[str, Any]]]:
    """Two good meshes at every stage, whose record at render is changed."""
    names = ("a", builds._CONTROL)
    found = {
        stage: {name: {"status": OK, "content": name if stage == "ingest" else ""} for name in names}
        for stage in builds._STAGES
    }
    found["render"]["a"] |= changes
    return found


def test_lost_rows_are_found() -> None:
    assert not list(builds._lost(_records(), ["a", builds._CONTROL]))
    assert "no outcome at ingest, such as b" in next(builds._lost(_records(), ["a", "b", builds._CONTROL]))
    assert "with the content of a have an outcome at fit" in next(builds._lost(_without("fit"), ["a", builds._CONTROL]))
    failed = _records()
    failed["fit"][builds._CONTROL]["status"] = FAILED
    assert list(builds._lost(failed, ["a", builds._CONTROL])) == ["a good mesh beside them failed"]


def _without(stage: str) -> dict[str, dict[str, dict[str, Any]]]:
    found = _records()
    del found[stage]["a"]
    return found


@pytest.mark.parametrize("reason", ["exception", "crashed", "timeout", "out_of_memory"])
def test_reasons_that_blame_the_product_are_findings(reason: str) -> None:
    results = Results()
    record = {"status": FAILED, "reason": reason, "error": "x", "columns": "", "seconds": 1.0}
    builds._note(Case("gltf", "types", "1"), {"ingest": record}, results)
    assert [finding.what for finding in results.findings] == [f"ingest: {reason}"]


@pytest.mark.parametrize("text", ["x" * 1001, "a\x1b[2Jb", "a\ud800b", "a\nb"])
def test_texts_that_cannot_be_shown_are_findings(text: str) -> None:
    assert faults_of_text("a", text, "a detail") and not faults_of_text("a", "é" * 1000, "a detail")


def test_a_decoder_that_raises_or_ends_is_a_finding() -> None:
    files = {"mesh.obj": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"}
    assert decoders.outcome_of(files) == "ok"
    assert decoders.outcome_of({"zip": b"not a zip"}) == "damaged"
    assert decoders.outcome_of({"splat": "text"}).startswith("EXCEPTION: TypeError")  # type: ignore[dict-item]
    with pytest.raises(decoders.Reached, match="subprocess.Popen"):
        decoders._watch("subprocess.Popen", ("gs", ["gs"], None, None))
