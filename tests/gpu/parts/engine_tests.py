"""The tests that are marked gpu; in a rehearsal the same files' tests of the batched engine on the CPU."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as xml

from tests.gpu.part import Part, module, read_arguments

_FILES = ("test_fit_engines.py", "test_fit_batched.py", "test_clip_gs_model.py")


def main(part: Part) -> None:
    report = part.scratch / "tests.xml"
    chosen = ["-m", "gpu"] if part.device == "cuda" else ["-k", "torch and (plain or company)"]
    files = [f"tests/stages/{name}" for name in _FILES]
    command = module("pytest", "-q", "-p", "no:cacheprovider", *chosen, f"--junitxml={report}", *files)
    code = subprocess.run(command).returncode
    suite = xml.parse(report).getroot().find("testsuite")
    counts = {name: int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped")}
    lost = [case.get("name") for case in suite.iter("testcase") if case.find("failure") is not None]
    passed = counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"]
    part.figures.put(passed=passed, failed=counts["failures"] + counts["errors"], failed_tests=lost)
    if code or not passed:
        raise SystemExit(f"pytest ended with exit code {code}, and {passed} tests passed")


if __name__ == "__main__":
    main(read_arguments())
