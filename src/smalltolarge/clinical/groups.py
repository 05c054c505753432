"""Kinds of radiology examinations: which there are, and by what names a note tells its own."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from smalltolarge.errors import DataError, printable

FINDINGS, IMPRESSION = "findings", "impression"


class Published:
    """What the published recipe made of one group of MIMIC-III v1.4."""

    def __init__(self, notes: int, train: int, validate: int, test: int) -> None:
        self.notes, self.train, self.validate, self.test = notes, train, validate, test
        self.pairs = train + validate + test
        self.held_out = not train
        """The group is for tests only."""


GROUPS: Mapping[str, Published] = {
    "CT_head": Published(38_807, 25_122, 3_140, 3_141),
    "CT_spine": Published(6_447, 4_414, 551, 553),
    "CT_chest": Published(15_248, 10_229, 1_278, 1_280),
    "CT_abdomen-pelvis": Published(18_289, 12_792, 1_599, 1_599),
    "MR_head": Published(11_897, 5_851, 731, 732),
    "CT_neck": Published(1_599, 912, 114, 115),
    "CT_sinus": Published(1_747, 0, 0, 1_268),
    "MR_pelvis": Published(352, 0, 0, 254),
    "MR_neck": Published(359, 0, 0, 231),
    "MR_abdomen": Published(1_389, 0, 0, 1_062),
    "MR_spine": Published(4_144, 0, 0, 2_822),
}
"""The groups in the order in which the published split shuffles them."""

_PLACES = {
    "head": r"HEAD|BRAIN",
    "sinus": r"SINUS(?:ES)?|MANDIBLE|MAXILLOFACIAL",
    "spine": r"SPINE",
    "neck": r"NECK",
    "chest": r"CHEST|THORAX",
    "abdomen": r"ABD|ABDOMEN",
    "pelvis": r"PELVIS",
}
_KINDS = {"CT": re.compile(r"\bCTA?\b"), "MR": re.compile(r"\bMR[AIV]?\b")}
_BY_PLACE = {place: re.compile(rf"\b(?:{words})\b") for place, words in _PLACES.items()}
_NO_STUDY = re.compile(r"GUID|BIOPSY|\bBX\b|DRAIN|ASPIR|INTERVENTION|ABLAT|OUTSIDE|REFERENCE|\bINJ")
_REGIONS = {
    "head": {"head", "brain"},
    "sinus": {"sinus", "sinuses", "paranasal", "maxillofacial", "facial", "mandible"},
    "spine": {"spine", "cervical", "thoracic", "lumbar", "lumbosacral"},
    "neck": {"neck"},
    "chest": {"chest", "thorax", "thoracic"},
    "abdomen": {"abdomen", "abdominal"},
    "pelvis": {"pelvis", "pelvic"},
}
_LETTERS = re.compile(r"[a-z]+")
_WAYS = {"ct", "cta", "mr", "mri", "mra", "mrv", "angiogram", "angiography", "angio", "perfusion"}
_BESIDE = {
    *_WAYS, "a", "additional", "administration", "after", "and", "before", "c", "contrast",
    "emergency", "enhanced", "enhancement", "findings", "following", "for", "from", "gado",
    "gadolinium", "in", "intravenous", "iv", "l", "limited", "no", "non", "noncontrast", "o", "of",
    "on", "only", "or", "oral", "post", "pre", "reconstruction", "reconstructions", "rectal", "s",
    "scan", "soft", "t", "the", "tissue", "tissues", "vasculature", "vessels", "arterial", "w",
    "with", "without",
}  # fmt: skip


class Rules:
    """Our own rules: they go by words, so that they also know names that nobody listed."""

    name = "rules of this package"

    def group(self, description: str) -> str | None:
        """Give the group of an examination by its DESCRIPTION."""
        return _group(" ".join(description.upper().split()))

    def header(self, header: str) -> str:
        """Give the proper name of a section's header (lower case, single blanks)."""
        return _header(header)

    def findings(self, group: str, headers: Sequence[str]) -> list[int]:
        """Say which sections may hold the findings, the first choice first.

        Those so called come before those that are named after the study.
        """
        named = [number for number, header in enumerate(headers) if _names_study(header, group)]
        return [*_places(FINDINGS, headers), *named]


class Tables(Rules):
    """The exact lists of somebody's recipe."""

    name = "given tables"

    def __init__(
        self,
        descriptions: Mapping[str, Sequence[str]],
        spellings: Mapping[str, Sequence[str]],
        priorities: Mapping[str, Sequence[str]],
    ) -> None:
        self._groups = {text: group for group, texts in descriptions.items() for text in texts}
        self._names = {plain(text): name for name, texts in spellings.items() for text in texts}
        self._priorities = priorities

    @classmethod
    def read(cls, path: Path) -> Tables:
        """Read lists from a JSON file: three objects from names to lists of texts.

        Raises
        ------
        DataError
            The file is no such file, or names a group that is not one of ours.
        """
        name = printable(path, 200)
        try:
            content: Any = json.loads(path.read_bytes())
        except OSError as error:
            raise DataError(f"{name} cannot be read: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise DataError(f"{name} is not JSON: {error}") from error
        parts = []
        for part in _TABLES:
            lists = content.get(part) if isinstance(content, dict) else None
            if not isinstance(lists, dict) or not all(_are_texts(v) for v in lists.values()):
                raise DataError(
                    f"{name}, {part}: an object from names to lists of texts is needed. The three "
                    f"objects of the file are {', '.join(_TABLES)}."
                )
            for group in lists:
                if part != _TABLES[1] and group not in GROUPS:
                    raise DataError(
                        f"{name}, {part}: no group is called {printable(group)}. Groups: "
                        f"{', '.join(GROUPS)}."
                    )
            parts.append(lists)
        return cls(*parts)

    def group(self, description: str) -> str | None:
        """Give the group of an examination by its DESCRIPTION, exactly as listed."""
        return self._groups.get(description)

    def header(self, header: str) -> str:
        """Give the proper name of a listed spelling."""
        return self._names.get(header, header)

    def findings(self, group: str, headers: Sequence[str]) -> list[int]:
        """Say which sections may hold the findings, in the order of the listed headers."""
        listed = self._priorities.get(group, ())
        return [number for name in listed for number in _places(name, headers)]


_TABLES = (
    "description_to_modality_anatomy",
    "section_header_typos",
    "findings_headers_by_priority",
)


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _places(name: str, headers: Sequence[str]) -> list[int]:
    return [number for number, header in enumerate(headers) if header == name]


def plain(text: str) -> str:
    """Write a text in lower case, with single blanks."""
    return " ".join(text.lower().split())


@lru_cache(4096)
def _group(description: str) -> str | None:
    kind = next((name for name, words in _KINDS.items() if words.search(description)), None)
    place = next((name for name, words in _BY_PLACE.items() if words.search(description)), None)
    if kind is None or place is None or _NO_STUDY.search(description):
        return None
    if kind == "CT" and place in ("abdomen", "pelvis"):
        place = "abdomen-pelvis"
    group = f"{kind}_{place}"
    return group if group in GROUPS else None


@lru_cache(4096)
def _header(header: str) -> str:
    # by its first word alone: a clinical impression is what was thought before the examination
    word = _LETTERS.search(header)
    for name in (FINDINGS, IMPRESSION):
        if word and word[0][0] == name[0] and difflib.get_close_matches(word[0], [name], 1, 0.8):
            return name
    return header


@lru_cache(4096)
def _names_study(header: str, group: str) -> bool:
    kind, _, places = group.partition("_")
    regions = set[str]().union(*(_REGIONS[place] for place in places.split("-")))
    words = set(_LETTERS.findall(header))
    others = words - regions - _BESIDE
    if group in ("CT_head", "MR_head"):
        others -= {"neck"}  # vessels of both are one study
    if words & regions:
        return not others
    bare = {"CT": {"ct", "cta"}, "MR": {"mr", "mri", "mra", "mrv"}}[kind]
    return bool(words & bare) and not others
