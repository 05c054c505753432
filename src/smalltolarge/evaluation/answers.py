r"""Find the answer in a completion: the last one it states.

A statement is ``the answer is X``, ``Answer: X``, ``#### X``, ``A: X`` at the start of a line, or
``\boxed{X}``; a correction inside of it counts (``13, no wait 12``), and what only follows is
dropped (``12, not 13``). Without a statement an answer is what the field calls flexible: the last
number; in LaTeX the last formula; where the question has options, the last option named. What comes
after the start of another question, which a model that goes on and on writes itself, is not read.
"""

from __future__ import annotations

import re

from smalltolarge.evaluation.choices import chosen, lettered, named, options
from smalltolarge.evaluation.equivalence import Kind
from smalltolarge.evaluation.forms import words
from smalltolarge.evaluation.numerals import (
    Number,
    find_numbers,
    find_worded,
    leading_number,
    plain,
    without_latex,
)

__all__ = ["Kind", "find_answer", "find_printed"]

_TAIL = 20_000
"""Characters at the end of a completion that are read; statements stand there."""
_LONGEST = 300
"""Characters of an answer."""

_NEXT_QUESTION = re.compile(
    r"\n[ \t]*(?:#{2,4}[ \t]*(?:Instruction|Input|Question|Problem|Human|User|Task)\b"
    r"|\*{0,2}(?:Q|Question|Problem|Instruction|Human|User)[ \t]?[0-9]{0,3}[.:]"
    r"|Below is an instruction)|<\|(?:im_start|im_end|endoftext|eot_id|end)\|>|</s>",
    re.IGNORECASE,
)
_STATEMENT = re.compile(
    r"(?P<hash>####)"
    r"|(?P<boxed>\\(?:boxed|fbox)\s{0,3}(?:\{|(?=[0-9A-Za-z])))"
    r"|(?P<a>^[ \t>*_]{0,6}A[*_ \t]{0,4}:)"
    r"|(?<!\bto )\b(?:answers?|ans\.?)(?![A-Za-z])[*_ \t]{0,4}(?:(?:,[^,.:=\n]{1,40},)?"
    r"[^.,:=$\n]{0,60}?(?<![A-Za-z])(?:is|are|was|be|equals)(?![A-Za-z])|[*_ \t]{0,4}="
    r"|(?:\([^()\n]{0,40}\)|(?:to|in|of|for)\b[^.:=\n]{0,40})?[*_ \t]{0,4}:|[*_ \t]{0,4}\n"
    r"|(?=[ \t]{0,3}(?:(?:option|choice)\b|\(?[A-Ea-e]\)?[ \t]*[.]?[ \t]*$)))",
    re.IGNORECASE | re.MULTILINE,
)
_FILLER = re.compile(
    r"(?:[\s:*_`>~≈=]|\.\.\.|(?:is|are|be|equals?|equal to|given by|simply|just|only|about"
    r"|approximately|approx\.?|exactly|therefore|thus|so|then|now|indeed|clearly|which|it|it's"
    r"|the|option|choice|answer|letter|value|number|roughly|around|actually|probably|definitely"
    r"|a total of|option:|choice:)(?![A-Za-z0-9])[,:]?)+",
    re.IGNORECASE,
)
_STRONG = (
    r"no,? wait|wait,? no|wait|sorry|scratch that|i mean|i meant|correction|or rather|make that"
    r"|oops|hold on|let me correct(?: that| this)?|(?:that|this)(?:'s| is| was) (?:wrong|incorrect)"
    r"|my mistake|no,? sorry"
)
_CORRECTION = re.compile(
    rf"(?:(?<![A-Za-z])(?:{_STRONG})(?![A-Za-z])"
    r"|(?:[,;.!(–—-]|\.\.\.)\s?(?:well,?\s)?(?:no|actually|rather|instead)(?! than|[A-Za-z]))"
    r"(?:[\s,;:.!–—*]{1,3}(?:no|wait|sorry|actually|rather|i mean|i meant|it|it's|its|that|that's"
    r"|is|should|be|must|the|correct|right|final|answer|was|to|make|scratch|correction|option"
    r"|choice|instead|so|in fact)(?![A-Za-z])){0,12}[\s,;:=*–—]{0,4}(?P<value>.{1,120})",
    re.IGNORECASE,
)
_NOT_BUT = re.compile(
    r"(?:not|n't)\s+[^,;.\n]{1,60}(?:,?\s+but\s+(?:rather\s+)?|[,;]\s*(?:it is|it's)\s+)",
    re.IGNORECASE,
)
_DROPPED = re.compile(
    r"(?:\s{0,2}[,;(–—]|\s)\s?(?:not|rather than|instead of|because|since|as|which|where|when|so"
    r"|for|if|given that|but|and not|i\.e\.|that is|after|per|therefore|thus|hence)\s.*",
    re.IGNORECASE | re.DOTALL,
)
_DENIED = re.compile(r"(?:not|than|instead of)\s+\$?$", re.IGNORECASE)
_SENTENCE = re.compile(
    r"(?<=[^0-9A-Z\s])[.!?](?=\s|$)|(?<=[0-9A-Z)\]}$])[.!?](?=\s+[A-Z(\\$]|\s*$)"
)
_CALCULATOR = re.compile(r"<<[^<>\n]{0,200}>>")
_FORMULA = re.compile(
    r"\$\$(?P<a>[^$]{1,600})\$\$|(?<!\\)\$(?P<b>(?:[^$\\]|\\.){1,600})\$|\\\((?P<c>.{1,600}?)\\\)"
    r"|\\\[(?P<d>.{1,600}?)\\\]",
    re.DOTALL,
)
_ANOTHER_FORMULA = re.compile(r"(?:\s*(?:,\s*(?:and|or)?|and|or|\\cup|\\text\{ ?or ?\})\s*)(?=\$)")
_LETTERED = re.compile(
    r"(?<![A-Za-z0-9])(?:\(\s?(?P<a>[A-Fa-f])\s?\)|(?:option|choice)\s?:?\s*\(?(?P<b>[A-Fa-f])\b\)?)",
    re.IGNORECASE,
)
_NAMED_DAY = re.compile(
    r"\b(?:(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day|January|February|March|April|May|June|July"
    r"|August|September|October|November|December)\b"
)
_TRUTH = re.compile(r"\b(?:True|False|Yes|No)\b", re.IGNORECASE)
_MATHEMATICS = re.compile(r"[$\\0-9(\[{|+-]|[A-Za-z](?![A-Za-z])")
_PROSE = re.compile(r"[^0-9$\\]*[A-Za-z]{2}[^0-9$\\]*")
_EMPTY = {"correct", "right", "wrong", "incorrect", "unknown", "clear", "obvious", "below", "above"}


def find_answer(completion: str, kind: Kind, question: str) -> str | None:
    """Give the last answer that a text states; None: it has none."""
    text = _before_next_question(completion)
    text = plain(_CALCULATOR.sub("", text[-_TAIL:]))
    in_words: str | None = None
    for statement in reversed(list(_STATEMENT.finditer(text))[-40:]):
        found = _stated(text, statement, kind, question)
        if found and kind == "latex" and not statement["boxed"] and _PROSE.fullmatch(found):
            # "This answer is unique" after a boxed one: words count where nothing is boxed.
            in_words = in_words or found
        elif found and not (in_words and not statement["boxed"]):
            return found
    return in_words or _unstated(text, kind, question) or None


def find_printed(printed: str, kind: Kind, question: str) -> str | None:
    """Give the answer that a program printed: its last line that is not empty."""
    line = next((line for line in reversed(printed[-_TAIL:].split("\n")) if line.strip()), "")
    line = line.strip()
    if not line:
        return None
    statements = list(_STATEMENT.finditer(line))
    if statements:
        for statement in reversed(statements[-40:]):
            found = _stated(line, statement, kind, question)
            if found:
                return found
    if line in ("None", "nan", "inf", "-inf", "[]", "{}", "set()", "()"):
        return line if kind in ("latex", "mixed") and line[0] in "[{s(" else None
    return _short(line) or None


def _before_next_question(text: str) -> str:
    for match in _NEXT_QUESTION.finditer(text):
        if text[: match.start()].strip():
            return text[: match.start()]
    return text


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text[:_LONGEST].strip()


def _stated(text: str, statement: re.Match[str], kind: Kind, question: str) -> str | None:
    start = statement.end()
    if statement["boxed"]:
        if text[start - 1] != "{":
            return re.split(r"(?<=[A-Za-z])|(?![0-9])", text[start : start + 20], maxsplit=1)[0]
        inner = _short(_braced(text, start) or "")
        if kind in ("numglue", "mixed") and (offered := options(question)):
            return lettered(without_latex(inner).strip(), offered) or inner or None
        return inner or None
    rest = text[start : start + 4000]
    rest = rest.lstrip(" \t*_:")
    if not rest.strip():
        return None
    if rest.startswith("\n"):
        rest = rest.strip()
    if kind == "latex" or (kind == "mixed" and re.match(r"[\s*]*[$\\]", rest)):
        formula = re.match(r"(?:[\s*:=]|approximately|about|\\approx)*(?=\$\$|\\\[)", rest)
        line = rest if formula else rest.split("\n")[0]
        multiline = _FORMULA.match(line.lstrip())
        if multiline and "\n" in multiline[0]:
            line = line.lstrip()[: multiline.end()]
        elif not formula:
            # A matrix may go over several lines.
            joined = _FORMULA.match(rest.lstrip())
            line = rest.lstrip()[: joined.end()] if joined and "\n" in joined[0] else line
    else:
        line = rest.split("\n")[0]
    line = re.sub(r"\s+", " ", line[:1500])
    if match := _NOT_BUT.match(line.lstrip()):
        line = line.lstrip()[match.end() :]
    line = _corrected(line, kind, question)
    return _value(line, kind, question)


def _corrected(line: str, kind: Kind, question: str) -> str:
    """Give what follows the last correction that states a value."""
    for _ in range(5):
        for match in _CORRECTION.finditer(line):
            value = match["value"]
            if kind == "latex" or kind == "mixed":
                states = bool(_MATHEMATICS.match(value)) or bool(_TRUTH.match(value))
            else:
                states = _leading(value) is not None
            if not states and (offered := options(question)):
                states = lettered(value, offered) is not None
            if not states and kind == "numglue":
                states = bool(_NAMED_DAY.match(value))
            counts = re.match(r"\S+\s(?:more|less|fewer|times|of)\b", value)
            if states and not counts:
                line = line[match.start("value") :]
                break
        else:
            return line
    return line


def _leading(text: str) -> Number | None:
    return leading_number(without_latex(text).lstrip(" *$(_[{"))


def _first_sentence(text: str) -> str:
    match = _SENTENCE.search(text)
    return (text[: match.start()] if match else text).strip()


def _value(line: str, kind: Kind, question: str) -> str | None:
    match kind:
        case "number":
            return _number(line)
        case "latex":
            return _latex(line)
        case "mixed":
            return _mixed(line, question)
        case "numglue":
            return _numglue(line, question)
        case "unknowns":
            return _unknowns(line)


def _number(line: str) -> str | None:
    text = without_latex(line).replace("**", " ").strip()
    filler = _FILLER.match(text)
    started = text[filler.end() :] if filler else text
    started = started.lstrip(" $*(\"'`_[{") if not started.startswith(("$-", "(-")) else started[1:]
    sentence = _first_sentence(started)
    if match := re.match(r"[^=\n]{1,200}=", sentence):
        after = sentence[sentence.rindex("=") + 1 :]
        before = match[0]
        is_sum = re.fullmatch(r"(?:[A-Za-z]\w?|(?:[-+*/×x().,0-9\s$%]|\bof\b)+)=", before.strip())
        if is_sum and (number := leading_number(after.lstrip(" $"))):
            return _written(after.lstrip(" $"), number)
    if match := re.match(r"[0-9]{1,2}:[0-9]{2}\b(?:\s?[ap]\.?m\b\.?)?", started, re.IGNORECASE):
        return match[0]
    if match := re.match(r"\$?[0-9.,]+\s?(?:-|–|to)\s?\$?[0-9][0-9.,]*", started):
        return match[0].rstrip(".,")
    number = leading_number(started)
    sum_ = re.match(r"[0-9.]+(?:\s?[*×+]\s?[0-9.]+)+(?![0-9])", started)
    if sum_ and (number is None or sum_.end() > number.end):
        return sum_[0].rstrip(".")
    if number is None:
        stated = [
            one
            for one in find_numbers(sentence)
            if not _DENIED.search(sentence[max(0, one.start - 12) : one.start])
        ] or find_worded(sentence)
        if not stated:
            return None
        return _written(sentence, stated[-1])
    return _written(started, number)


def _written(text: str, number: Number) -> str:
    return _short(text[number.start : number.end]).rstrip(".,")


def _latex(line: str) -> str | None:
    text = line.strip()
    filler = _FILLER.match(text)
    text = (text[filler.end() :] if filler else text).strip()
    boxed = re.search(r"\\(?:boxed|fbox)\s*\{", text)
    if boxed:
        return _short(_braced(text, boxed.end()) or "") or None
    formula = _FORMULA.match(text)
    if formula:
        end = formula.end()
        while another := _ANOTHER_FORMULA.match(text, end):
            following = _FORMULA.match(text, another.end())
            if following is None:
                break
            end = following.end()
        return _short(_undressed(text[:end])) or None
    sentence = _first_sentence(text)
    sentence = _DROPPED.sub("", sentence) if len(sentence) < 1500 else sentence
    inside = list(_FORMULA.finditer(sentence))
    if inside:
        return _short(_undressed(inside[-1][0])) or None
    sentence = sentence.strip(" *_`.,;:!")
    if not sentence or words(sentence) in _EMPTY or len(sentence.split()) > 12:
        if numbers := list(find_numbers(without_latex(sentence))):
            return _written(without_latex(sentence), numbers[-1])
        return None
    if not re.search(r"[0-9\\]", sentence) and len(sentence.split()) > 4:
        return None
    return _short(sentence) or None


def _undressed(text: str) -> str:
    text = text.strip()
    for opening, closing in (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")):
        if text.startswith(opening) and text.endswith(closing) and len(text) > 2 * len(opening):
            inner = text[len(opening) : -len(closing)]
            return inner.strip() if "$" not in inner.replace("\\$", "") else text
    return text


def _mixed(line: str, question: str) -> str | None:
    text = line.strip()
    filler = _FILLER.match(text)
    text = (text[filler.end() :] if filler else text).strip()
    offered = options(question)
    if offered and (letter := lettered(text, offered)):
        return letter
    if truth := _TRUTH.match(text):
        return truth[0]
    if text.startswith(("$", "\\")):
        return _latex(text)
    sentence = _first_sentence(text)
    sentence = _DROPPED.sub("", sentence).strip(" *_`.,;:!")
    if not sentence or words(sentence) in _EMPTY:
        return None
    return _short(sentence) or None


def _numglue(line: str, question: str) -> str | None:
    text = line.strip().lstrip("*_ ")
    offered = options(question)
    if offered:
        filler = re.match(r"(?:option|choice|letter|the|is|:|\s|\*)+(?![A-Za-z])", text, re.I)
        started = text[filler.end() :] if filler else text
        if letter := lettered(started, offered):
            return letter
        if stated := named(_DENIAL.sub("", _first_sentence(text)), offered):
            return stated
    if day := _NAMED_DAY.search(_DROPPED.sub("", _first_sentence(text))):
        return day[0]
    if (number := _number(line)) is not None:
        return number
    sentence = _DROPPED.sub("", _first_sentence(text)).strip(" *_`.,;:!\"'")
    if not sentence or words(sentence) in _EMPTY or len(sentence.split()) > 6:
        return None
    return _short(sentence) or None


def _unknowns(line: str) -> str | None:
    text = without_latex(line).replace("**", " ")
    sentence = _DENIAL.sub("", _first_sentence(text)).strip(" *_`,;:")
    numbers = list(find_numbers(sentence)) or find_worded(sentence)
    if not numbers:
        return _number(line)
    if len(numbers) == 1:
        return _number(sentence) or _written(sentence, numbers[0])
    return _short(sentence) or None


_DENIAL = re.compile(
    r"\s{0,2}[,;(–—]?\s{0,2}(?:not|rather than|instead of|because|since)\s.*",
    re.IGNORECASE | re.DOTALL,
)


def _unstated(text: str, kind: Kind, question: str) -> str | None:
    offered = options(question) if kind in ("mixed", "numglue") else {}
    if offered:
        for match in reversed(list(_LETTERED.finditer(text))):
            letter = (match["a"] or match["b"]).upper()
            if letter in offered:
                return letter
        if chosen(text, offered):
            return chosen(text, offered)
        if stated := named(_last_sentence(text), offered):
            return stated
    if kind == "latex" and (formulas := list(_FORMULA.finditer(text))):
        return _short(_last_of_chain(_undressed(formulas[-1][0]))) or None
    if kind == "mixed" and len(text) < 200 and "\n" not in text.strip():
        # An answer alone, as these questions have it.
        return _mixed(text, question)
    if kind == "mixed" and (truths := _TRUTH.findall(_last_sentence(text))):
        return str(truths[-1])
    if kind == "numglue" and (days := _NAMED_DAY.findall(_last_sentence(text))):
        return str(days[-1])
    written = without_latex(text)
    if kind == "unknowns" and (both := _two_of_last_sentence(written, question)):
        return both
    numbers = list(find_numbers(written))
    if numbers:
        return _written(written, numbers[-1])
    worded = find_worded(written)
    if worded and (len(worded) > 1 or len(text) < 200):
        return _written(written, worded[-1])
    if kind == "latex" and 0 < len(text.strip()) <= 80:
        return _latex(text)
    if kind == "numglue" and 0 < len(text.split()) <= 4:
        return _short(text.strip(" .*"))
    return None


def _last_sentence(text: str) -> str:
    line = text.rstrip().rsplit("\n", 1)[-1][-1500:]
    parts = [part for part in _SENTENCE.split(line) if part.strip()]
    return parts[-1] if parts else ""


def _two_of_last_sentence(text: str, question: str) -> str | None:
    """Give two numbers that are stated together, what the question gives being left out."""
    sentence = _last_sentence(text)
    numbers = list(find_numbers(sentence))
    if len(numbers) > 2:
        given = {number.value for number in find_numbers(without_latex(question))}
        numbers = [number for number in numbers if number.value not in given]
    is_sum = re.search(r"[0-9)]\s*[+*/×÷-]\s*\$?[0-9(]", sentence)
    if len(numbers) != 2 or is_sum:
        return None
    return _short(sentence[numbers[0].start : numbers[1].end])


def _last_of_chain(formula: str) -> str:
    sides = formula.split("=")
    return sides[-1].strip() if len(sides) > 2 and sides[-1].strip() else formula


def _braced(text: str, start: int) -> str | None:
    """Give what stands before the brace that closes the one before ``start``."""
    depth = 1
    for place in range(start, min(len(text), start + 3000)):
        if text[place] in "{}" and text[place - 1] != "\\":
            depth += 1 if text[place] == "{" else -1
            if depth == 0:
                return text[start:place]
    return None
