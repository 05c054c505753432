r"""Find the answer in a text: the one that is stated last.

A formula, and what is boxed, is read as one word. A statement is ``\boxed{X}``, ``the answer is X``,
``Answer: X``, ``#### X``, ``A: X`` at the start of a line, ``X is the answer``; a correction after
it counts (``13, no wait 12``). Where nothing is stated, the last sentence that has a value is the
statement. Of a sentence counts what its last verb or sign of equality says (``there are 2 of
them``), without reasons (``because 5 + 7 = 12``); otherwise its last value. What comes after the
start of another question, once an answer was stated, is not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

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

__all__ = ["Kind", "find_answer", "find_printed", "find_reference"]

_TAIL = 20_000
"""Characters at the end of a completion that are read; statements stand there."""
_LONGEST = 300
"""Characters of an answer."""
_MOST = 40
"""Statements, boxes or sentences, from the last one, that are looked at."""

_F, _B = "[\U000f0000-\U000ffffd]", "[\U00100000-\U0010fffd]"
"""What stands for a formula, and for what is boxed."""
_KEPT = re.compile(f"{_F}|{_B}")
_FORMULA = re.compile(
    r"\\begin\{(?P<name>[A-Za-z]{1,12}\*?)\}.{0,1500}?\\end\{(?P=name)\}"
    r"|\$\$(?:[^$\\]|\\.){1,1500}\$\$"
    # "$5 and $6", "$18 every day": a dollar sign before prose or a digit is money.
    r"|(?<!\\)\$(?!\s?[0-9][0-9.,]*\s+[A-Za-z]{2})(?:[^$\\]|\\.){1,600}\$(?![0-9])"
    r"|\\\(.{1,600}?\\\)|\\\[.{1,1500}?\\\]",
    re.DOTALL,
)
_ROWS = re.compile(
    r"\\begin\{((?:align|gather|eqnarray|split|equation|multline)(?:ed|at)?\*?)\}(?P<rows>.*?)\\end\{\1\}",
    re.DOTALL,
)
_BOX = re.compile(r"\\(?:boxed|fbox)\s{0,3}(?:\{|(?P<bare>[0-9]+|[A-Za-z]))")
_BOXES = (
    rf"{_B}(?:[ \t]*(?:[,;$ \t]|and|or|\\text\{{ ?(?:and|or)[^}}]{{0,3}}\}}|\\q?quad|\\[,;: ]"
    rf"|[A-Za-z] ?=){{1,12}}{_B}){{0,20}}"
)
_STATEMENT = re.compile(
    rf"(?P<boxes>{_BOXES})|(?P<hash>####)|^[ \t>*_]{{0,6}}A[*_ \t]{{0,4}}:"
    r"|(?:^|(?<=[.!?]\s)|(?<=[.!?]\s\s))(?P<so>(?:so|therefore|thus|hence|consequently)\b)"
    r"|\b(?P<after>(?:is|are)\s+(?:the|our|my)\s+(?:\w+\s+){0,2}answers?\b(?![*_ \t]*[:=\n]))"
    r"|(?<!to )\b(?:answers?|ans\.?|(?:correct|right) (?:option|choice))(?![A-Za-z])"
    rf"(?:[*_ \t]*\n|(?=\s*\(?[A-F]\)?[.\s]*$)|[^.:=|>\n{_F[1:-1]}{_B[1:-1]}]{{0,80}}?"
    r"(?:(?<![A-Za-z])(?:is|are|was|be|equals|(?:evaluates|comes) to)(?![A-Za-z])|[:=|>]"
    rf"|\bof\s+(?=[-0-9$]|{_F})))",
    re.IGNORECASE | re.MULTILINE,
)
_NEXT_QUESTION = re.compile(
    r"\n[ \t]*(?:#{2,4}[ \t]*(?:Instruction|Input|Question|Problem|Human|User|Task)\b"
    r"|\*{0,2}(?:Q|Question|Problem|Instruction|Human|User)[ \t]?[0-9]{0,3}[.:]"
    r"|Below is an instruction)|<\|(?:im_start|im_end|endoftext|eot_id|end)\|>|</s>",
    re.IGNORECASE,
)
_ASIDE = re.compile(
    r"<<[^<>\n]{0,200}>>|\[asy\](?:(?!\[asy\]).){0,5000}?\[/asy\]", re.DOTALL
)
_REMARK = re.compile(r"\W*(?:please )?(?:note|notice|check|confidence|equality)\b", re.IGNORECASE)
_ROW = re.compile(r"^\|[ \t]+(.{1,300}?)[ \t]+\|[ \t]*$", re.MULTILINE)
_MONEY = re.compile(r"\$\\\$\$(?=\s?[0-9])")
_DOUBLED = re.compile(
    r"(?<!\\)\\\\(?:(\\)\\(?!\\)|(?=[A-Za-z]{3}|(?:pi|pm|le|ge|ne|in)(?![A-Za-z])|[%$()\[\]](?![0-9.]+(?:pt|e[mx]))))"
)
"""A backslash out of a JSON text; two before a letter or two start a row."""
_SENTENCE = re.compile(
    r"(?<=[^0-9A-Z\s\\])[.!?](?=[*_)\"']{0,3}(?:\s|$))"
    rf"|(?<={_F})\.(?=[A-Z])|(?<=[0-9A-Z)\]}}$])[.!?](?=[*_]{{0,3}}(?:\s+(?:[A-Z(\\$]|{_F}|{_B})|\s*$))"
)
_FILLER = re.compile(
    r"(?:[\s:*_`>~≈=\"']|\.\.\.|\\approx|(?:is|are|be|equals?|equal to|given by|simply|just|only"
    r"|about|approximately|approx\.?|exactly|therefore|thus|so|then|now|indeed|clearly|which|it"
    r"|it's|that|there|the|option|choice|answer|letter|value|number|roughly|around|actually"
    r"|probably|definitely|at (?:least|most)|a total of)(?![A-Za-z0-9])[,:]?)+",
    re.IGNORECASE,
)
_VERB = re.compile(
    r"(?<![A-Za-z])(?:is|are|was|were|be|equals?|equal to|becomes?|has|have|gets?|gives?|makes?"
    r"|a total of)"
    rf"(?![A-Za-z])|(?<=[A-Za-z)*\"'])[*_]*:(?=[*_\s]|$)|(?<={_F}):|\\implies|\\Rightarrow|⇒|→",
    re.IGNORECASE,
)
_EQUALITY = re.compile(_VERB.pattern + "|=", re.IGNORECASE)
_SAYS = re.compile(rf"(?:{_EQUALITY.pattern})\s*(?:{_FILLER.pattern})?[-$(]*(?:[0-9]|{_F}|{_B})", re.IGNORECASE)
_DENIAL = re.compile(r"\b(?:not|rather than|instead of|because|since)\b", re.IGNORECASE)
_SO = re.compile(
    r"(?:^|[\s,;])(?:so|thus|hence|therefore|giving|yielding"
    r"|which (?:means|gives|implies|simplifies to|yields))(?![A-Za-z])",
    re.IGNORECASE,
)
_PREMISE = re.compile(
    r"\W*(?:because|since|if|when|as|for|given|from|with|using)(?![A-Za-z])[^,]{1,200},\s",
    re.IGNORECASE,
)
_REASON = re.compile(
    r"(?:\s{0,2}[,;(–—]|\s)\s?(?:not|rather than|instead of|because|since|(?<=, )as(?! (?:above|before|desired))|which|where|when|so"
    r"|if|given that|but|and not|i\.e\.|that is|therefore|thus|hence"
    r"|to(?=\s(?!the\b)[a-z]))\s",
    re.IGNORECASE,
)
_CIRCUMSTANCE = re.compile(
    r"(?<![A-Za-z])(?:on|in|for|per|after|within|during|every|than|not|day|week|step|part|case"
    r"|question|problem)\s+\$?$",
    re.IGNORECASE,
)
_COMPARED = re.compile(r"\s*(?:more|less|fewer|times|of)(?![A-Za-z])", re.IGNORECASE)
_PART = re.compile(r"\s*(?:times|of)(?![A-Za-z])", re.IGNORECASE)
_SUM = re.compile(r"[0-9.]+(?:\s?[*×+]\s?[0-9.]+)+(?![0-9])")
_HEDGE = re.compile(
    r"[$]?[0-9][0-9.,]*(?<![.,])(?:-|–|\s(?:to|or|and)\s)[$]?[0-9][0-9.,]*(?<![.,])", re.IGNORECASE
)
_TIME = r"[0-9]{1,2}:[0-9]{2}\b(?:\s?[apAP]\.?[mM]\b\.?)?"
_DENIED = re.compile(
    r"(?:\bnot|n't|\bthan|\binstead of|\bwrong|\bincorrect)\s{1,2}[$\\(\[]{0,2}$", re.IGNORECASE
)
_NOT_BUT = re.compile(
    r"(?:not|n't)\s+[^,;.\n]{1,60}(?:,?\s+but\s+(?:rather\s+)?|[,;]\s*(?:it is|it's)\s+)",
    re.IGNORECASE,
)
_CORRECTION = re.compile(
    r"(?:(?<![A-Za-z])(?:wait|sorry|scratch that|i mean|i meant|correction|or rather|make that|oops"
    r"|hold on|let me correct(?: that| this)?|(?:that|this)(?:'s| is| was) (?:wrong|incorrect)"
    r"|my mistake)(?![A-Za-z])|(?:[,;.!(–—-]|\.\.\.)\s?(?:well,?\s)?(?:no|actually|rather|instead)"
    r"(?! than|[A-Za-z]))"
    r"(?:[^.\n]{0,80}?(?<![A-Za-z])(?:it|that|this|answer)(?:'s| is| was| should be| must be)"
    r"|(?:[\s,;:.!–—*]{1,3}(?:no|wait|sorry|actually|rather|i mean|i meant|make|scratch|the|correct"
    r"|right|final|answer|that|correction|option|choice|instead|to|so)(?![A-Za-z])){0,12})"
    r"[\s,;:.=*–—]{0,4}(?P<value>.{1,120})",
    re.IGNORECASE,
)
_ATOM = (
    rf"{_TIME}|{_F}(?!-[a-z])|{_B}|\\(?:text|mathrm|textbf|mbox)\s?\{{[^{{}}]{{0,200}}\}}|\\[A-Za-z]+|\\[^A-Za-z\s]"
    r"|(?<![A-Za-z])(?:[A-Za-z]|sqrt|sin|cos|tan|log|ln|exp|pi|oo|or|and|[xyzw]{2,3})(?![A-Za-z'])"
    r"|[-0-9+*/^_=<>()\[\]{}|!:%&,;.±√∞π°·×÷≤≥≠∪∈≈²³]|\$(?=[0-9])"
)
_MATH = re.compile(rf"(?:{_ATOM}|\s)+")
_VALUES = re.compile(rf"{_F}|{_B}|[0-9]+")
_VALUE = re.compile(rf"{_F}|{_B}|[0-9]|\\[A-Za-z]")
_PRINTED = re.compile(r"^(?:[A-Za-z][^:(\[{]{0,60}:\s|[=>-]+>)\s*")
_SENTENCE_OF_WORDS = re.compile(r"[A-Za-z]{2,} (?!and|or)(?:\S+ ){0,2}[A-Za-z]{2,}(?![A-Za-z(])")
_LETTERED = re.compile(
    r"(?<![A-Za-z0-9])(?:\(\s?(?P<a>[A-Fa-f])\s?\)|(?:option|choice)\s?:?\s*\(?(?P<b>[A-Fa-f])\b\)?)",
    re.IGNORECASE,
)
_SYMBOL = re.compile(r"\\?[A-Za-z]+")
_TRUTH = re.compile(r"\b(?:True|False|Yes|No)\b", re.IGNORECASE)
_DAY = re.compile(
    r"\b(?:(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day|January|February|March|April|May|June|July"
    r"|August|September|October|November|December)\b"
)
_EMPTY = {"correct", "right", "wrong", "incorrect", "clear", "obvious", "below", "above"}
_SEVERAL = re.compile(r"\bcommas?\b|\bsemicolons?\b|\ball (?:\w+ ){0,2}(?:values|solutions)\b")


def find_answer(completion: str, kind: Kind, question: str) -> str | None:
    """Give the last answer that a text states; None: it has none."""
    reader = _Reader(completion[-_TAIL:], kind, question)
    found = reader.stated() or reader.concluded()
    # One of two is no answer, though an unknown of two is.
    return None if found and kind == "unknowns" and re.search(r"\bor\b", found) else found


def find_printed(printed: str, kind: Kind, question: str) -> str | None:
    """Give the answer that a program printed last."""
    lines = [line.strip() for line in printed[-_TAIL:].split("\n")]
    lines = [line for line in lines if line and line not in ("None", "nan", "inf", "-inf")]
    if not lines:
        return None
    first = len(lines) - 1
    # An array is printed over several lines.
    while first and "".join(lines[first:]).count("[") < "".join(lines[first:]).count("]"):
        first -= 1
    shown = _short(_PRINTED.sub("", " ".join(lines[first:])))
    if kind == "unknowns" or _SENTENCE_OF_WORDS.search(shown):
        reader = _Reader("\n".join(lines), kind, question)
        return reader.stated() or reader.concluded() or shown
    if kind in ("number", "numglue"):
        numbers = list(find_numbers(without_latex(shown)))
        if len(numbers) == 1 and not re.search(r"[A-Za-z)]\s*[-+*/^]|[-+*/^]\s*[A-Za-z(]", shown):
            return _written(without_latex(shown), numbers[0])
    return shown or None


def find_reference(solution: str, question: str) -> str | None:
    """Give the answer to a question out of its published solution, where it is boxed."""
    reader = _Reader(solution, "latex", "")
    boxes = list(dict.fromkeys(reader.boxed))
    return ", ".join(boxes if _SEVERAL.search(question) else boxes[-1:]) or reader.concluded()


class _Reader:
    """A text in which every formula and every box is one character."""

    def __init__(self, text: str, kind: Kind, question: str) -> None:
        self.kind, self.question = kind, question
        self.offered = options(question) if kind in ("mixed", "numglue") else {}
        self.given = {number.value for number in find_numbers(without_latex(question[-4000:]))}
        self.boxed: list[str] = []
        self._formulas: list[str] = []
        text = _MONEY.sub(r"\\$", text).replace("</answer>", "\n")
        text = _DOUBLED.sub(r"\\\1", _KEPT.sub("", plain(_ASIDE.sub("", text))))
        text = _ROW.sub(lambda row: re.sub(r"\s+\|\s+", ": ", row[1]), text)
        text = self._without_boxes(text)
        text = _FORMULA.sub(self._formula, text)
        if kind not in ("latex", "mixed"):
            text = re.sub(r"\\\\|\\(?:begin|end)\{[^{}]{1,12}\}", "\n", text).replace("&", " ")
        self.text = text

    def _without_boxes(self, text: str) -> str:
        parts, end = [], 0
        for box in list(_BOX.finditer(text))[-_MOST:]:
            inner = box["bare"] or _braced(text, box.end())
            if box.start() >= end and inner is not None and inner.strip():
                parts += [text[end : box.start()], chr(0x100000 + len(self.boxed))]
                end = box.end() + (0 if box["bare"] else len(inner) + 1)
                self.boxed.append(inner.strip())
        return "".join([*parts, text[end:]])

    def _formula(self, match: re.Match[str]) -> str:
        if boxes := re.findall(_BOXES, match[0]):
            return str(boxes[-1])
        if self.kind not in ("latex", "mixed"):
            return match[0]
        inner = re.sub(r"^(?:\$\$?|\\[(\[])|(?:\$\$?|\\[)\]])$", "", match[0])
        inner = re.sub(_ROWS, lambda rows: _last_rows(rows["rows"]), inner)
        inner = re.split(r"\\(?:Rightarrow|Longrightarrow|implies)(?![A-Za-z])", inner)[-1].strip()
        ended = inner.rstrip(".,;")
        self._formulas.append(ended.strip())
        after = inner[len(ended) :] + ("\n" if match[0].startswith(("$$", "\\[", "\\begin")) else "")
        return chr(0xF0000 + len(self._formulas) - 1) + after

    def _whole(self, text: str) -> str:
        """Write a text as it was, without dollar signs around formulas."""

        def whole(match: re.Match[str]) -> str:
            place = ord(match[0])
            return self.boxed[place - 0x100000] if place >= 0x100000 else self._formulas[place - 0xF0000]

        return _short(_KEPT.sub(whole, text))

    def stated(self) -> str | None:
        """Give the answer of the last statement, before a next question."""
        statements = list(_STATEMENT.finditer(self.text))
        text = self.text
        for statement in statements[:_MOST]:
            if self._says(statement, text) is not None:
                if following := _NEXT_QUESTION.search(text, statement.end()):
                    text = text[: following.start()]
                break
        # A conclusion ("So there are 2") and an answer in words ("This answer is unique") count
        # after a statement, but not after a box.
        later, in_words = None, None
        for statement in reversed([one for one in statements if one.end() <= len(text)][-_MOST:]):
            found = self._says(statement, text)
            if found == "":
                # "The answer is not 5" takes back what was said before.
                self.text = text[statement.end() :]
                return None
            if statement["so"]:
                later = later or found
            elif found and (statement["boxes"] or self.kind != "latex" or _VALUE.search(found)):
                return found if statement["boxes"] else later or in_words or found
            elif statement.end() + 150 > len(text.rstrip()):
                in_words = in_words or later or found
        return in_words

    def concluded(self) -> str | None:
        """Give the value of the last sentence that has one."""
        if self.offered and (letter := self._chosen_anywhere()):
            return letter
        sentences = [one for one in _sentences(self.text)][-_MOST:]
        sentences = [one for one in sentences if not _REMARK.match(one)] or sentences
        for place, sentence in enumerate(reversed(sentences)):
            sentence = self._corrected(sentence)
            before = sentences[: len(sentences) - place - 1]
            if self.kind == "unknowns" and (both := self._unknowns([*before[-1:], sentence])):
                return both
            if found := self._value(sentence, is_stated=False, is_last=place == 0):
                return found
        return None

    def _chosen_anywhere(self) -> str | None:
        for match in reversed(list(_LETTERED.finditer(self.text))):
            if (letter := (match["a"] or match["b"]).upper()) in self.offered:
                return letter
        last = next(iter(reversed(list(_sentences(self.text)))), "")
        return chosen(self.text, self.offered) or named(self._whole(last), self.offered)

    def _says(self, statement: re.Match[str], text: str) -> str | None:
        if _DENIED.search(text[max(0, statement.start() - 20) : statement.start()]):
            return None
        if statement["boxes"]:
            boxes = map(self._whole, re.findall(_B, statement["boxes"]))
            inner = ", ".join(dict.fromkeys(boxes))
            return lettered(without_latex(inner).strip(), self.offered) or inner
        if statement["after"]:
            before = text[max(0, statement.start() - 300) : statement.start()]
            return self._value(_last(before), is_stated=False, is_last=False)
        rest = text[statement.end() : statement.end() + 2000].lstrip(" \t*_:\"'")
        lines = [line for line in rest.strip().split("\n") if line.strip()] or [""]
        line = lines[0][:1500]
        if statement["so"]:
            return self._value(_SENTENCE.split(line)[0], is_stated=False, is_last=False)
        if statement["hash"] and not self._starts_with_value(line):
            # A heading, unless it is all that comes.
            is_answer = len(lines) == 1 and self.kind in ("latex", "mixed", "numglue")
            return self._words(line, 3) if is_answer else None
        line = self._corrected(re.sub(r"\s+", " ", line))
        if self.kind == "unknowns":
            both = self._unknowns([_SENTENCE.split(one)[0] for one in (*lines[1:2], line)])
            if both:
                return both
        return self._value(_SENTENCE.split(line)[0], is_stated=True)

    def _starts_with_value(self, text: str) -> bool:
        text = text[match.end() :] if (match := _FILLER.match(text)) else text
        if self.kind in ("latex", "mixed") and _MATH.fullmatch(text):
            return True
        pattern = rf"(?:[A-Za-z] ?= ?)?[-$(\[{{*]*(?:\.?[0-9]|{_F}|{_B}|\\)|{_TRUTH.pattern}|{_DAY.pattern}"
        return bool(re.match(pattern, text) or lettered(text, self.offered))

    def _corrected(self, line: str) -> str:
        """Give what follows the last correction that states a value."""
        for _ in range(5):
            for match in _CORRECTION.finditer(line):
                number = leading_number(without_latex(match["value"]).lstrip(" *$(_[{"))
                states = number is not None or self._starts_with_value(match["value"])
                if states and not _COMPARED.match(match["value"], number.end if number else 0):
                    line = line[match.start("value") :]
                    break
            else:
                return line
        return line

    def _value(self, phrase: str, *, is_stated: bool, is_last: bool = True) -> str | None:
        """Give what a phrase says; ``is_stated``: it begins after a verb."""
        phrase = phrase.strip().strip("*_`").strip()
        if match := _NOT_BUT.match(phrase):
            phrase = phrase[match.end() :]
        if re.match(r"not\b", phrase, re.IGNORECASE):
            return ""
        phrase = _without_reason(phrase, is_stated)
        if self.offered and (letter := self._option(phrase)):
            return letter
        match self.kind:
            case "number" | "unknowns":
                return _number(self._whole(phrase), is_stated, self.given)
            case "latex":
                return self._expression(phrase, is_stated, is_last)
            case "mixed":
                truths = _TRUTH.findall(phrase)
                return truths[-1] if truths else self._expression(phrase, is_stated, is_last)
            case "numglue":
                if day := _DAY.search(phrase):
                    return day[0]
                found = _number(self._whole(phrase), is_stated, self.given)
                return found or (self._words(phrase, 6) if is_stated or is_last else None)

    def _option(self, phrase: str) -> str | None:
        started = phrase[match.end() :] if (match := _FILLER.match(phrase)) else phrase
        return lettered(started, self.offered) or (
            named(self._whole(phrase), self.offered) if self.kind == "numglue" else None
        )

    def _expression(self, phrase: str, is_stated: bool, is_last: bool) -> str | None:
        parts = [_FILLER.sub("", part, count=1) if _FILLER.match(part) else part for part in _VERB.split(phrase)]
        for part in reversed(parts[0 if is_stated else 1 :]):
            if (match := _MATH.match(part)) and (found := self._run(match)):
                return found
        # "$127$ is the least prime"
        if (match := _MATH.fullmatch(parts[0])) and (found := self._run(match)):
            if not _SYMBOL.fullmatch(found):
                return found
        runs = [(match, run) for match in _MATH.finditer(phrase) if (run := self._run(match))]
        if runs:
            return max(enumerate(runs), key=lambda one: (self._weight(*one[1]), one[0]))[1][1]
        if is_stated or (is_last and (len(parts) > 1 or phrase == self.text.strip(" .\n"))):
            return self._words(parts[-1], 8 if is_stated else 3)
        return None

    def _weight(self, match: re.Match[str], found: str) -> tuple[bool, bool, bool]:
        before = match.string[max(0, match.start() - 20) : match.start()]
        given = rf"(?<![0-9A-Za-z]){re.escape(found)}(?![0-9A-Za-z])"
        return (
            not _SYMBOL.fullmatch(found),
            not re.search(given, self.question),
            not _CIRCUMSTANCE.search(before),
        )

    def _run(self, match: re.Match[str]) -> str | None:
        """Give a run of mathematics without what only leads on to the words after it."""
        run, rest = match[0], match.string[match.end() :]
        is_all = not rest.strip() and not match.string[: match.start()].strip()
        if rest.strip():
            run = re.sub(r"(?:\s(?:and|or|[A-Za-z])|[\s(\[,=:*<>/-])+$", "", run)
            if scale := re.match(r"\s*(?:hundred|thousand|million|billion)\b", rest):
                run += f" {scale[0].strip()}"
        run = re.sub(r"^(?:[\s*_,;:=)\]]|and\s|or\s)+|(?:[\s*_.,;:]|\sand|\sor)+$", "", run)
        if not _VALUE.search(run) and not (is_all and re.search("[A-Za-z]", run)):
            return None
        found = self._whole(run)
        if found.count("=") > 1 and not re.search(r",|\b(?:and|or)\b", found):
            found = found.rsplit("=", 1)[1].strip() or found
        return found or None

    def _words(self, phrase: str, most: int) -> str | None:
        phrase = self._whole(phrase).strip(" *_`.,;:!\"'")
        if not phrase or words(phrase) in _EMPTY or len(phrase.split()) > most:
            return None
        return phrase

    def _unknowns(self, sentences: list[str]) -> str | None:
        """Give two numbers that are stated together, or each in a sentence of its own."""
        phrase = _DENIAL.split(without_latex(self._whole(sentences[-1])))[0]
        numbers = list(find_numbers(phrase))
        if len(numbers) > 2:
            numbers = [number for number in numbers if number.value not in self.given]
        is_sum = re.search(r"[0-9)]\s*[+*/×÷-]\s*\$?[0-9(]", phrase)
        if len(numbers) == 2 and not is_sum:
            between = phrase[numbers[0].end : numbers[1].start]
            separator = " or " if re.search(r"\bor\b", between) else ", "
            return separator.join(_written(phrase, number) for number in numbers)
        values = list(filter(None, map(_labelled, map(self._whole, sentences[-2:]))))
        return ", ".join(values) if len(values) == 2 else None


def _labelled(sentence: str) -> str | None:
    """Give the number of ``b = 24 - 15 = 9``, ``Larger: 15`` or ``9``."""
    text = without_latex(sentence).strip(" -*_$.,;")
    if not (verb := _EQUALITY.search(text)):
        number = leading_number(text)
        return text if number and number.end == len(text) else None
    is_label = not re.search("[0-9]", text[: verb.start()])
    return _number(text[verb.end() :], True, set()) if is_label else None


def _last_rows(text: str) -> str:
    """Give the last equation of a derivation in rows, or the last ones if each is an unknown's."""
    rows = [row.replace("&", "").strip() for row in re.split(r"\\\\(?:\[.{1,9}\])?", text)]
    rows = [row for row in rows if row]
    solved: dict[str, str] = {}
    for row in reversed(rows):
        unknown = re.fullmatch(r"([A-Za-z](?:_\w)?)\s*=[^=]*", row)
        if not unknown or unknown[1] in solved:
            break
        solved[unknown[1]] = row.rstrip(".,;")
    last = rows[-1].lstrip("= ") if rows else ""
    return ", ".join(reversed(solved.values())) if len(solved) > 1 else last


def _sentences(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        line = re.sub(r"^\s*[0-9]{1,2}[.)]\s+(?=\S)", "", line[-1500:])
        for sentence in _SENTENCE.split(line):
            if sentence.strip():
                yield sentence.strip()


def _last(text: str) -> str:
    return next(iter(reversed(list(_sentences(text)))), "")


def _without_reason(phrase: str, is_stated: bool) -> str:
    """Drop what follows what is said: ``12 because 5 + 7 = 12``."""
    if not is_stated:
        for so in reversed(list(_SO.finditer(phrase))):
            if _VALUE.search(phrase, so.end()):
                phrase = phrase[so.end() :]
                break
        if (premise := _PREMISE.match(phrase)) and _VALUE.search(phrase, premise.end()):
            phrase = phrase[premise.end() :]
    if not (reason := _REASON.search(phrase)):
        return phrase
    said, after = phrase[: reason.start()], phrase[reason.start() :]
    values = _VALUES.findall(said)
    if re.match(r"\W*which", after) and len(values) > 1 and _VERB.search(after):
        return phrase
    if is_stated:
        return said if said.strip() else phrase
    return said if _SAYS.search(said) or (_VALUE.search(said) and not _EQUALITY.search(after)) else phrase


def _number(phrase: str, is_stated: bool, given: set[Fraction]) -> str | None:
    """Give the number that a phrase says, with what makes it none: ``5 or 6``, ``3:30``."""
    text = re.sub(r"(?<![0-9A-Za-z)])\*\*|\*\*(?![0-9A-Za-z(])", " ", without_latex(phrase))
    verbs = [*_EQUALITY.finditer(text)]
    parts = [("=", 0)] if is_stated else []
    parts += [(verb[0], verb.end()) for verb in verbs]
    for verb, start in reversed(parts):
        filler = _FILLER.match(text, start)
        part = text[filler.end() if filler else start :].lstrip(" $*(\"'`_[{")
        number = leading_number(part)
        # "is 20% of 60" says another number.
        if number and (verb == "=" or not _PART.match(part, number.end)):
            total = _SUM.match(part)
            return total[0].rstrip(".") if total and total.end() > number.end else _written(part, number)
    numbers = list(find_numbers(text))
    if numbers:
        def weight(number: Number) -> tuple[bool, bool, int]:
            before = text[max(0, number.start - 20) : number.start]
            return number.value not in given, not _CIRCUMSTANCE.search(before), number.start

        return _written(text, max(numbers, key=weight))
    if is_stated and (worded := find_worded(text)):
        return _written(text, worded[-1])
    number = leading_number(text.strip())
    return text.strip() if number and number.end == len(text.strip()) else None


def _written(text: str, number: Number) -> str:
    for pattern in (_TIME, _HEDGE):
        for match in re.finditer(pattern, text):
            if match.start() <= number.start < match.end() and match.end() > number.end:
                return _short(match[0])
            if match.start() < number.start and match.end() >= number.end:
                return _short(match[0])
    return _short(text[number.start : number.end]).rstrip(".,")


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text[:_LONGEST].strip()


def _braced(text: str, start: int) -> str | None:
    """Give what stands before the brace that closes the one before ``start``."""
    depth = 1
    for place in range(start, min(len(text), start + 3000)):
        if text[place] in "{}" and text[place - 1] != "\\":
            depth += 1 if text[place] == "{" else -1
            if depth == 0:
                return text[start:place]
    return None
