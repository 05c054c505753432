"""The text of one radiology report: its sections, its findings, its impression."""

from __future__ import annotations

import re
from dataclasses import dataclass

from smalltolarge.clinical.groups import FINDINGS, IMPRESSION, Rules

START = "FINAL REPORT"
MASK = "___"
"""What stands for a name, a date or a place that was taken out."""

_OVER, _CONT = "(Over)", "(Cont)"
# None of these may take long on any text: what is repeated cannot begin anew inside itself.
_MASKED = re.compile(r"\[\*\*(?:[^*\[\]]|\*(?!\*\]))*\*\*\]")
_RULE = re.compile(r"^[ \t]*[_=-]{5,}[ \t\r]*$", re.MULTILINE)
_HEADER = re.compile(r"^ {0,3}([A-Z](?:[A-Z ()/,-]{0,150}[A-Z)])?) {0,3}:(?=\s|$)", re.MULTILINE)
_WORD = re.compile(r"[a-z]{2}")


@dataclass(frozen=True, slots=True)
class Pair:
    """What a report found, and what it concludes."""

    findings: str
    impression: str


def sections(text: str) -> list[tuple[str, str]]:
    """Give the sections of a final report as (header, body), in lower case with single blanks.

    What stands before the first header is left out. A text without a final report has none.
    """
    whole = without_page_breaks(text)
    start = whole.find(START)
    if start < 0:
        return []
    whole = _MASKED.sub(MASK, _RULE.sub("", whole[start + len(START) :]))
    found = list(_HEADER.finditer(whole))
    ends = [*(header.start() for header in found), len(whole)][1:]
    return [
        (_plain(header[1]), _plain(whole[header.end() : end]))
        for header, end in zip(found, ends, strict=True)
    ]


def without_page_breaks(text: str) -> str:
    """Take out what stands between the pages of a long report: from (Over) to (Cont)."""
    kept, at, last = [], 0, text.rfind(_CONT)
    while (over := text.find(_OVER, at)) >= 0:
        kept.append(text[at:over])
        at = over + len(_OVER)
        if at <= last:
            at = text.find(_CONT, at) + len(_CONT)
    return "\n".join([*kept, text[at:]])


def pair(text: str, group: str, rules: Rules) -> Pair | str:
    """Give the findings and the impression of a report, or the reason why there are none."""
    if START not in text:
        return "no final report"
    found = sections(text)
    headers = [rules.header(header) for header, _ in found]
    impressions = headers.count(IMPRESSION)
    if impressions != 1:
        return "several impressions" if impressions else "no impression"
    impression = found[headers.index(IMPRESSION)][1]
    where = rules.findings(group, headers)
    if where is None:
        return "no findings"
    findings = found[where][1]
    for name, content in ((FINDINGS, findings), (IMPRESSION, impression)):
        if not content:
            return f"empty {name}"
        if not _WORD.search(content):
            return f"{name} without a word"
    return Pair(findings, impression)


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
