"""What the campaign looks for, and what it counts."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from manifests.text import LONGEST
from tests.fuzz.cases import Case

# Reasons that say that the product failed and not the file.
FORBIDDEN = (
    "exception", "crashed", "exited", "timeout", "out_of_memory", "worker_lost", "open_failed", "store_failed",
    "disk_full", "missing_input",
)  # fmt: skip
_NOT_SHOWN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # categories of Unicode: controls, formats, surrogates, ends of lines
_SHOWN = "\u00ad\u200c\u200d"  # of those: what joins or parts letters


@dataclass(frozen=True)
class Finding:
    name: str  # of a case; of a build, where no case is to blame alone
    what: str
    detail: str = ""


@dataclass
class Results:
    """Outcomes by the format of a case, and findings."""

    outcomes: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    findings: list[Finding] = field(default_factory=list)
    slowest: list[tuple[float, str]] = field(default_factory=list)
    peak_bytes: int = 0  # of any process but the driver

    def note(self, case: Case, outcome: str, seconds: float) -> None:
        self.outcomes[case.format][outcome] += 1
        self.slowest = sorted([*self.slowest, (round(seconds, 2), case.name)], reverse=True)[:10]

    def add(self, other: Results) -> None:
        for form, counted in other.outcomes.items():
            self.outcomes[form] += counted
        self.findings += other.findings
        self.slowest = sorted([*self.slowest, *other.slowest], reverse=True)[:10]
        self.peak_bytes = max(self.peak_bytes, other.peak_bytes)

    def table(self) -> str:
        """Outcomes in lines, formats in columns."""
        total: Counter[str] = sum(self.outcomes.values(), Counter())
        forms = list(self.outcomes)
        lines = [f"{'':24}" + "".join(f"{form:>11}" for form in (*forms, "all"))]
        for outcome, count in sorted(total.items(), key=lambda item: (item[0] != "ok", -item[1])):
            counts = [self.outcomes[form][outcome] or "" for form in forms]
            lines.append(f"{outcome:24}" + "".join(f"{number:>11}" for number in (*counts, count)))
        sums = [sum(self.outcomes[form].values()) for form in forms]
        lines.append(f"{'all':24}" + "".join(f"{number:>11}" for number in (*sums, sum(sums))))
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        return {
            "outcomes": {form: dict(counted) for form, counted in self.outcomes.items()},
            "findings": [vars(finding) for finding in self.findings],
            "slowest": self.slowest,
            "peak_bytes": self.peak_bytes,
        }


def faults_of_text(name: str, text: str, what: str) -> list[Finding]:
    """Text that a person or a program could not read: too long, unprintable, or not Unicode."""
    shown = ascii(text[:200])
    if len(text) > LONGEST:
        return [Finding(name, f"{what} has {len(text):,} characters, more than {LONGEST:,}", shown)]
    if any(unicodedata.category(letter) in _NOT_SHOWN and letter not in _SHOWN for letter in text):
        return [Finding(name, f"{what} cannot be shown", shown)]
    return []
