"""The text of one radiology report: its sections, its findings, its impression."""

from __future__ import annotations

import re
from dataclasses import dataclass

from smalltolarge.clinical.groups import FINDINGS, IMPRESSION, Rules, plain

START = "FINAL REPORT"
MASK = "___"
"""What stands for a name, a date or a place that was taken out."""

_OVER, _CONT = "(Over)", "(Cont)"
# None of these may take long on any text: what is repeated cannot begin anew inside itself.
_MASKED = re.compile(r"\[\*\*(?:[^*\[]|\[(?!\*\*)|\*(?!\*\]))*\*\*\]")
_RULE = re.compile(r"^[ \t]*[_=-]{5,}[ \t\r]*$", re.MULTILINE)
_HEADER = re.compile(r"\n([A-Z ()/,-]+):(?=\s|$)")
_WORD = re.compile(r"[a-z]{2}")


@dataclass(frozen=True, slots=True)
class Pair:
    """What a report found, and what it concludes."""

    findings: str
    impression: str


def sections(text: str, rules: Rules) -> list[tuple[str, str]]:
    """Give the sections of a final report as (proper name, body), in lower case.

    What stands before the first header is left out. A text without a final report has none.
    """
    start = text.find(START)
    if start < 0:
        return []
    whole = _MASKED.sub(MASK, _RULE.sub("", without_page_breaks(text[start:])))
    begun: list[tuple[str, re.Match[str]]] = []
    for header in _HEADER.finditer(whole):
        name = rules.header(plain(header[1]))
        # the line right below a header that stands alone is its text, even if it looks like one
        alone = bool(begun) and begun[-1][1].end() == header.start()
        if not alone or name in (FINDINGS, IMPRESSION):
            begun.append((name, header))
    ends = [*(header.start() for _, header in begun), len(whole)][1:]
    return [
        (name, plain(whole[header.end() : end]))
        for (name, header), end in zip(begun, ends, strict=True)
    ]


def without_page_breaks(text: str) -> str:
    """Take out what stands between the pages of a long report: from (Over) to (Cont)."""
    kept, at, last = [], 0, text.rfind(_CONT)
    while (over := text.find(_OVER, at)) >= 0:
        kept.append(text[at:over])
        at = over + len(_OVER)
        if at <= last:
            at = text.find(_CONT, at) + len(_CONT)
    return "".join([*kept, text[at:]])


def pair(text: str, group: str, rules: Rules) -> Pair | str:
    """Give the findings and the impression of a report, or the reason why there are none."""
    if START not in text:
        return "no final report"
    found = sections(text, rules)
    names = [name for name, _ in found]
    impressions = names.count(IMPRESSION)
    if impressions != 1:
        return "several impressions" if impressions else "no impression"
    impression = found[names.index(IMPRESSION)][1]
    choices = [found[place][1] for place in rules.findings(group, names)]
    if not choices:
        return "no findings"
    findings = next(filter(_WORD.search, choices), choices[0])
    for name, content in ((FINDINGS, findings), (IMPRESSION, impression)):
        if not content:
            return f"empty {name}"
        if not _WORD.search(content):
            return f"{name} without a word"
    return Pair(findings, impression)
