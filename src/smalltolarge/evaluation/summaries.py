"""Clinical summaries: pairs of a prompt and its reference read, summaries scored against them.

ROUGE is the package rouge-score with Porter's stemmer, as vilmedic has it, whose recipe the
radiology data follows; BLEU is sacrebleu as it comes. Both see the texts as ``plain`` gives them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from smalltolarge.errors import DataError, RecipeError, printable
from smalltolarge.examples.conversation import ConversationReader, encode
from smalltolarge.examples.inputs import rows_of
from smalltolarge.examples.layout import Layout
from smalltolarge.examples.problems import Flaw, Refused, place, shown

SECTIONS: Mapping[str, str] = {
    "ALLERGY": "allergies",
    "ASSESSMENT": "assessment",
    "CC": "chief complaint",
    "DIAGNOSIS": "diagnosis",
    "DISPOSITION": "disposition",
    "EDCOURSE": "emergency department course",
    "EXAM": "physical examination",
    "FAM/SOCHX": "family and social history",
    "GENHX": "history of present illness",
    "GYNHX": "gynecologic history",
    "IMAGING": "imaging",
    "IMMUNIZATIONS": "immunizations",
    "LABS": "laboratory results",
    "MEDICATIONS": "medications",
    "OTHER_HISTORY": "other history",
    "PASTMEDICALHX": "past medical history",
    "PASTSURGICAL": "past surgical history",
    "PLAN": "plan",
    "PROCEDURES": "procedures",
    "ROS": "review of systems",
}
"""The section headers of MTS-Dialog (Ben Abacha et al., EACL 2023), in words."""

_HEADER = re.compile(r"\s*impression\s*:", re.IGNORECASE)
_NOTES = Layout("prompt-completion", {"prompt": "dialogue", "completion": "section_text"})
_SECTION = "section_header"
_LAYOUTS: Mapping[frozenset[str], Layout] = {
    frozenset({"instruction", "output"}): Layout(
        "alpaca", {"instruction": "instruction", "input": "input", "output": "output"}
    ),
    frozenset({"findings", "impression"}): Layout(
        "prompt-completion", {"prompt": "findings", "completion": "impression"}
    ),
    frozenset({"dialogue", "section_text", _SECTION}): _NOTES,
}
"""Which columns make which pairs."""


def plain(text: str) -> str:
    """Give a text as it is scored: without a leading "IMPRESSION:", with single blanks.

    Nothing else is changed. Summaries and references alike go through it in ``rouge`` and ``bleu``;
    texts that are scored by other means (BERTScore) should too.
    """
    return " ".join(_HEADER.sub("", text, count=1).split() if _HEADER.match(text) else text.split())


def rouge(summary: str, reference: str) -> dict[str, float]:
    """Give the F-measures rouge1, rouge2 and rougeL of one summary, 0 to 1 (Lin 2004).

    Words are runs of a-z and 0-9 in lower case, those of more than three letters stemmed; rougeL
    takes the text as one sentence. A text without a word scores 0, and so does rouge2 where either
    text has a single word.

    Raises
    ------
    RecipeError
        rouge-score is not installed.
    """
    found = _rouge_scorer().score(target=plain(reference), prediction=plain(summary))
    return {name: float(score.fmeasure) for name, score in found.items()}


def bleu(summaries: Sequence[str], references: Sequence[str]) -> tuple[float, str]:
    """Give the corpus BLEU of n summaries, 0 to 100, and sacrebleu's signature (Post 2018).

    Upper and lower case differ. Where all summaries are shorter than four words it is 0, whatever
    they say: there is no run of four words to be right.

    Raises
    ------
    DataError
        There are none, or not as many summaries as references.
    RecipeError
        sacrebleu is not installed.
    """
    if len(summaries) != len(references):
        raise DataError(
            f"{len(summaries):,} summaries and {len(references):,} references: every summary needs "
            "the one reference of its prompt."
        )
    if not summaries:
        raise DataError("there are no summaries to score")
    try:
        from sacrebleu.metrics import BLEU
    except ModuleNotFoundError as error:
        raise _not_installed(error) from error
    # force: radiology data comes with blanks before full stops, of which sacrebleu would warn
    metric = BLEU(force=True)
    found, wanted = ([plain(text) for text in side] for side in (summaries, references))
    score = float(metric.corpus_score(found, [wanted]).score)
    return min(score, 100.0), str(metric.get_signature())  # 100.00000000000004 where all is right


@cache
def _rouge_scorer() -> Any:
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ModuleNotFoundError as error:
        raise _not_installed(error) from error
    return RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)


def _not_installed(error: ModuleNotFoundError) -> RecipeError:
    return RecipeError(
        f"scoring summaries needs the package {error.name!r}: pip install 'smalltolarge[eval]'"
    )


def load_pairs(path: Path) -> list[tuple[str, str]]:
    """Read (prompt, reference) pairs from a JSONL, JSON or CSV file, plain or packed (gz, zst).

    Its columns are one of

    * instruction, output and perhaps input, or findings and impression (what ``s2l prepare mimic``
      writes): the prompt is the user's turn that training on the file has, no heading added.
    * section_header, section_text and dialogue (MTS-Dialog): the prompt asks for the section, named
      in words, and gives the dialogue; the reference is the section's text. Line ends become
      ``\\n`` alone, since the parts of MTS-Dialog differ in them.

    Raises
    ------
    DataError
        It is no such file, or a row lacks a prompt or a reference; for a row the message names the
        line (of a CSV file the one on which the record begins) and the column.
    """
    name = str(path)
    kind, rows = rows_of(path)
    pairs: list[tuple[str, str]] = []
    columns: frozenset[str] | None = None
    for line, start, _, row in rows:
        try:
            if isinstance(row, Flaw):
                raise Refused(row.reason, row.field, row.found, row.wanted)
            if columns is None:
                columns = _recognised(row, name)
            pairs.append(_pair(row, columns))
        except Refused as refused:
            raise DataError(refused.flaw.told(place(name, kind, line, start))) from refused
    if not pairs:
        raise DataError(f"{printable(name, 200)} holds no rows. Pairs to summarise are needed.")
    return pairs


def _recognised(row: Mapping[str, Any], name: str) -> frozenset[str]:
    """Tell by the first row which columns the pairs of a file are made of."""
    fitting = [columns for columns in _LAYOUTS if columns <= row.keys()]
    if len(fitting) == 1:
        return fitting[0]
    wanted = "; or ".join(", ".join(sorted(columns)) for columns in _LAYOUTS)
    found = printable(", ".join(map(str, row)) or "none", 200)
    how = "more than one of these sets" if fitting else "none of these sets"
    raise DataError(
        f"{printable(name, 200)}: its columns ({found}) hold {how}: {wanted}. Pairs to summarise "
        "have the columns of one."
    )


def _pair(row: dict[str, Any], columns: frozenset[str]) -> tuple[str, str]:
    layout = _LAYOUTS[columns]
    turns = ConversationReader(layout, besides=["split"]).read(row)
    if [turn.role for turn in turns] != ["user", "assistant"]:
        roles = ", ".join(turn.role for turn in turns)
        raise Refused("not text", "", f"turns: {roles}", "one prompt and one reference")
    try:
        encode(turns)
    except UnicodeEncodeError as error:
        text = shown(error.object[max(error.start - 20, 0) : error.start + 20])
        raise Refused("not valid Unicode", "", f"a lone surrogate in {text}", "Unicode") from None
    prompt, reference = (turn.content for turn in turns)
    if layout is not _NOTES:
        return prompt, reference
    return _asked_for(row.get(_SECTION), _unix(prompt)), _unix(reference)


def _asked_for(header: object, dialogue: str) -> str:
    words = SECTIONS.get(header.strip().upper()) if isinstance(header, str) else None
    if words is None:
        raise Refused(
            "unknown section",  # type: ignore[arg-type]  # a reason of these files alone
            _SECTION,
            shown(header),
            f"one of {', '.join(SECTIONS)}",
        )
    return (
        f'Summarize this conversation of a doctor and a patient as the section "{words}" of a '
        f"clinical note.\n\n{dialogue}"
    )


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n")
