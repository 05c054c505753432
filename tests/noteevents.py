"""Invented radiology notes, written as MIMIC-III's NOTEEVENTS file writes its own."""

from __future__ import annotations

import csv
import gzip
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

HEADER = (
    "ROW_ID", "SUBJECT_ID", "HADM_ID", "CHARTDATE", "CHARTTIME", "STORETIME", "CATEGORY",
    "DESCRIPTION", "CGID", "ISERROR", "TEXT",
)  # fmt: skip
FINDINGS = ("FINDINGS", "FINDIGNS", "FIDINGS", "FINDING", "FINDINGS AND  TECHNIQUE", "FINDINS")
IMPRESSION = ("IMPRESSION", "IMPRESION", "IMRPESSION", "IMPRESSIONS", "IMPRESSION AND PLAN")
EXAMINATIONS = (
    ("CT HEAD W/O CONTRAST", "CT_head", "HEAD CT WITHOUT CONTRAST"),
    ("CT ABD & PELVIS WITH CONTRAST", "CT_abdomen-pelvis", "CT OF THE ABDOMEN WITH IV CONTRAST"),
    ("CTA CHEST W&W/O C &RECONS", "CT_chest", "CTA CHEST"),
    ("MR HEAD W & W/O CONTRAST", "MR_head", "MRI OF THE HEAD"),
    ("CT C-SPINE W/O CONTRAST", "CT_spine", "CERVICAL SPINE CT"),
    ("MR-ANGIO NECK WITHOUT CONTRAST", "MR_neck", "MRA OF THE NECK"),
)
"""A DESCRIPTION, its group, and a header that such notes have instead of FINDINGS."""
_ORGANS = ("ventricle", "liver", "left lung base", "aortic arch", "right kidney", "disc space")
_STATES = ("unremarkable", "slightly larger than before", "not well seen", "free of fluid")


@dataclass(frozen=True)
class Quirks:
    """In what ways one note is unlike a plain one."""

    findings: str = "FINDINGS"
    impression: str = "IMPRESSION"
    wet_read: bool = False
    pages: int = 1
    unfinished_page: bool = False
    rule_at_end: bool = False
    header_alone: bool = False
    other_sections: bool = False
    crlf: bool = False
    impression_first: bool = False


def report(findings: str, impression: str, quirks: Quirks = Quirks()) -> str:
    """Write one note: its head, a rule, and the final report with lines that begin with a blank."""
    line_end = "\r\n" if quirks.crlf else "\n"
    head = ["[**2150-4-6**] 8:15 PM", " EXAMINATION  Clip # [**Clip Number (Radiology) 812**]"]
    head += [" Reason: please look", " " + "_" * 60]
    lines = list(head)
    if quirks.wet_read:
        lines += [
            " WET READ: ABC [**2150-4-6**] 9:00 PM",
            " IMPRESSION: a first look",
            " " + "_" * 60,
        ]
    lines.append("                                 FINAL REPORT")
    if quirks.other_sections:
        lines += [" HISTORY: pain; see below.", "", " TECHNIQUE: slices from top to bottom", ""]
    body = _section(quirks.findings, findings, quirks)
    turn = ["", "                               (Over)", "", *head]
    turn += [
        "                                 FINAL REPORT",
        " IMPRESSION: none of the body",
        " (Cont)",
    ]
    for page in range(1, quirks.pages):
        body[page:page] = turn
    if quirks.unfinished_page:
        body.append("                               (Over)")
    middle = [" BONE WINDOWS: no fracture", ""] if quirks.other_sections else []
    end = _section(quirks.impression, impression, quirks)
    if quirks.impression_first:
        body, end = end, body
    lines += [*body, "", *middle, *end]
    if quirks.rule_at_end:
        lines += ["", " " + "_" * 40]
    return line_end.join(lines) + line_end


def _section(header: str, body: str, quirks: Quirks) -> list[str]:
    wrapped = [f" {line}" for line in textwrap.wrap(body, 50, break_on_hyphens=False)]
    if quirks.header_alone:
        return [f" {header}:", *wrapped]
    return [f" {header}: {wrapped[0].strip()}", *wrapped[1:]]


def said(text: str) -> str:
    """Give a text as it comes out of a report."""
    return " ".join(text.lower().split())


def row(number: int, subject: int, text: str, **fields: str) -> list[str]:
    """Give one row; by name, what is not as in most radiology notes."""
    values = dict.fromkeys(HEADER, "") | {
        "ROW_ID": str(number),
        "SUBJECT_ID": str(subject),
        "CHARTDATE": "2150-04-06 00:00:00",
        "CHARTTIME": "2150-04-06 20:15:00",
        "CATEGORY": "Radiology",
        "DESCRIPTION": "CT HEAD W/O CONTRAST",
        "TEXT": text,
    }
    return list((values | fields).values())


def write(path: Path, rows: Iterable[list[str]]) -> Path:
    """Write rows with a header, packed where the name says so."""
    packed = path.suffix == ".gz"
    with gzip.open(path, "wt") if packed else path.open("w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows(rows)
    return path


def notes(n: int, seed: int = 0) -> Iterator[list[str]]:
    """Make n good radiology rows of n / 3 patients, with quirks of every kind."""
    draw = Random(seed)
    for number in range(1, n + 1):
        description, _, named = draw.choice(EXAMINATIONS)
        quirks = Quirks(
            findings=draw.choice([*FINDINGS, named]),
            impression=draw.choice(IMPRESSION),
            wet_read=draw.random() < 0.3,
            pages=draw.choice([1, 1, 2, 3]),
            rule_at_end=draw.random() < 0.3,
            header_alone=draw.random() < 0.3,
            other_sections=draw.random() < 0.5,
        )
        findings = " ".join(
            f"The {draw.choice(_ORGANS)} is {draw.choice(_STATES)}." for _ in range(4)
        )
        impression = f"Number {number}: {draw.choice(_STATES)}, as of [**2150-4-{number % 28}**]."
        yield row(
            number,
            10_000 + draw.randrange(max(n // 3, 1)),
            report(f'{findings} "Stable" \\ as before.', impression, quirks),
            DESCRIPTION=description,
            HADM_ID=draw.choice(["", "123456"]),
        )
