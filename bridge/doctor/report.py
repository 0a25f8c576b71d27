"""What the administrator reads: one line a check, and what to do below what failed; or JSON."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Sequence
from typing import Any, TextIO

from bridge.doctor.findings import Finding, Outcome, Remark
from bridge.doctor.words import Words

_MARKS: dict[Outcome, str] = {"ok": "✓", "warning": "!", "failed": "✗", "not_checked": "–"}
_WIDTH = 100


class Printer:
    """Writes findings as they come; on a terminal also what is being looked at."""

    def __init__(self, words: Words, out: TextIO | None = None) -> None:
        self._words = words
        self._out = out or sys.stdout
        self._section = ""
        self._live = self._out.isatty()

    def begins(self, check: str) -> None:
        """A check begins."""
        section = check.partition(".")[0]
        if section != self._section:
            self._section = section
            print(f"\n{self._words.title(section)}", file=self._out)
        if self._live:
            self._out.write(f"  … {self._words.title(check)}")
        self._out.flush()

    def found(self, finding: Finding) -> None:
        """It has ended."""
        if self._live:
            self._out.write("\r\x1b[2K")
        for line in lines(finding, self._words):
            print(line, file=self._out)
        self._out.flush()

    def ends(self, findings: Sequence[Finding]) -> None:
        """The last line: how many of which outcome."""
        counts = dict.fromkeys(_MARKS, 0)
        for finding in findings:
            counts[finding.outcome] += 1
        print(f"\n{self._words.summary(counts)}", file=self._out)


def lines(finding: Finding, words: Words) -> list[str]:
    """A finding as text."""
    mark, title = _MARKS[finding.outcome], words.title(finding.check)
    said = [(one, words.said(one)) for one in finding.remarks]
    if finding.outcome in {"ok", "not_checked"}:
        detail = "; ".join(sentence for _, sentence in said if sentence)
        return _wrapped(f"  {mark} {title}" + (words.colon + detail if detail else ""), "      ")
    shown = [f"  {mark} {title}"]
    for remark, sentence in said:
        if sentence and remark.outcome in {"warning", "failed"}:
            shown += _wrapped(f"      {sentence}", "      ")
            shown += _wrapped(f"      → {words.remedy(remark)}", "        ")
    return shown


def _wrapped(text: str, indent: str) -> list[str]:
    # Settings and addresses are copied from here: nothing is broken inside a word.
    return textwrap.wrap(
        text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def as_json(findings: Sequence[Finding], words: Words) -> str:
    """The whole report for a program. `version` changes when a key is renamed or removed."""
    worst = "failed" if any(one.outcome == "failed" for one in findings) else "ok"
    report = {
        "version": 1,
        "status": worst,
        "checks": [
            {
                "check": finding.check,
                "title": words.title(finding.check),
                "outcome": finding.outcome,
                "seconds": round(finding.seconds, 3),
                "remarks": [_remark(one, words) for one in finding.remarks],
            }
            for finding in findings
        ],
    }
    return json.dumps(report, ensure_ascii=False, indent=2)


def _remark(remark: Remark, words: Words) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "key": remark.key,
        "outcome": remark.outcome,
        "said": words.said(remark),
    }
    if remark.outcome in {"warning", "failed"}:
        shown["remedy"] = words.remedy(remark)
    return shown
