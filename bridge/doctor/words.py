"""The sentences of the doctor in one language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bridge.doctor import en, fr
from bridge.doctor.findings import Outcome, Remark
from bridge.text import Language


@dataclass(frozen=True, slots=True)
class Catalogue:
    """One language: titles by check, what was found and what to do by key of the remark."""

    titles: Mapping[str, str]
    said: Mapping[str, str]
    remedies: Mapping[str, str]
    summary: str
    colon: str


CATALOGUES: Mapping[Language, Catalogue] = {
    "fr": Catalogue(fr.TITLES, fr.SAID, fr.REMEDIES, fr.SUMMARY, fr.COLON),
    "en": Catalogue(en.TITLES, en.SAID, en.REMEDIES, en.SUMMARY, en.COLON),
}


class Words:
    """Titles of sections and checks, what was found, and what to change where."""

    def __init__(self, language: Language) -> None:
        self._catalogue = CATALOGUES[language]

    def title(self, name: str) -> str:
        """Of a section or a check."""
        return self._catalogue.titles[name]

    def said(self, remark: Remark) -> str:
        """What was found; '' where all that can be said is that it is well."""
        values = dict(remark.values)
        if remark.key == "because":
            values["check"] = self.title(str(values["check"]))
        return self._catalogue.said[remark.key].format_map(values)

    def remedy(self, remark: Remark) -> str:
        """What to change where."""
        return self._catalogue.remedies[remark.key].format_map(remark.values)

    @property
    def colon(self) -> str:
        """What stands between a title and its detail."""
        return self._catalogue.colon

    def summary(self, counts: Mapping[Outcome, int]) -> str:
        """The report in one line."""
        return self._catalogue.summary.format_map(
            {str(name): count for name, count in counts.items()}
        )
