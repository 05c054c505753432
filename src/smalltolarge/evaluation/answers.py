r"""Find the answer in a text: the one that is stated last.

A formula, and what is boxed, is read as one word. A statement is ``\boxed{X}``, ``answer is X``,
``Answer: X``, ``#### X``, ``A: X`` at the start of a line, or ``X is the answer``; a correction
counts (``13, no wait 12``), and so does a conclusion after it (``So there are 12``). Where nothing
is stated, the last sentence that has a value is the statement. Of a sentence counts what its last
verb or sign of equality says (``there are 2 of them``), without reasons (``because 5 + 7 = 12``);
otherwise its last value, those of the question last of all. Once an answer was stated, nothing is
read after the start of another question.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from smalltolarge.evaluation.choices import lettered, named, options
from smalltolarge.evaluation.equivalence import Kind
from smalltolarge.evaluation.forms import words
from smalltolarge.evaluation.numerals import (
    COMPOUND,
    Number,
    find_numbers,
    find_worded,
    leading_number,
    plain,
    without_latex,
)

_TAIL = 20_000
"""Characters at the end of a completion that are read; statements stand there."""
_LONGEST = 300
"""Characters of an answer."""
_MOST = 20
"""Statements, boxes or sentences, from the last one, that are looked at."""


def _pattern(text: str, flags: int = 0) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE | flags)


_FORMULAS, _BOXED = 0xF0000, 0x100000
_F, _B = "[\U000f0000-\U000ffffd]", "[\U00100000-\U0010fffd]"
"""The characters that stand for a formula, and for what is boxed."""
_V = f"(?:{_F}|{_B}|[0-9]+|\\\\[A-Za-z]+)"
_VALUE = re.compile(_V)
_FORMULA = re.compile(
    r"\\begin\{(?P<name>[A-Za-z]{1,12}\*?)\}.{0,1500}?\\end\{(?P=name)\}"
    r"|\$\$(?:[^$\\]|\\.){1,1500}\$\$"
    # "$5 and $6", "$18 every day": a dollar sign before prose or a digit is money.
    r"|(?<!\\)\$(?!\s?[0-9][0-9.,]*\s+[A-Za-z]{2}(?![A-Za-z ]{0,30}(?<=[a-z])\$(?![0-9])))"
    r"(?:[^$\\]|\\.){1,600}\$(?![0-9])"
    r"|\\\(.{1,600}?\\\)|\\\[.{1,1500}?\\\]",
    re.DOTALL,
)
_ROWS = re.compile(
    r"\\begin\{((?:align|gather|eqnarray|split|equation|multline)(?:ed|at)?\*?)\}(.*?)[\s\\]*"
    r"\\end\{\1\}",
    re.DOTALL,
)
_ROW_END = re.compile(r"\\\\(?:\[.{1,9}\])?\s*")
_BOX = re.compile(r"\\(?:boxed|fbox)\s{0,3}(?:\{|(?P<bare>[0-9]+|[A-Za-z]))")
_BOXES = (
    rf"{_B}(?:[ \t]*(?:[,;$ \t]|and|or|\\text\{{ ?(?:and|or)[^}}]{{0,3}}\}}|\\q?quad|\\[,;: ]"
    rf"|[A-Za-z] ?=){{1,12}}{_B}){{0,20}}"
)
_STATEMENT = _pattern(
    rf"(?P<boxes>{_BOXES})|(?P<hash>####)|^[ \t>*_]{{0,6}}A[*_ \t]{{0,4}}:"
    r"|(?:^|(?<=[.!?]\s)|(?<=[.!?]\s\s))(?P<so>(?:so|therefore|thus|hence|consequently)\b)"
    r"|\b(?P<after>(?:is|are) +(?:the|our|my) +(?:\w+ +){0,2}answers?\b(?![*_ \t]*[:=\n]))"
    r"|(?<!to )\b(?:answers?|ans\.?|(?:correct|right) (?:option|choice))(?![A-Za-z])"
    rf"(?:[*_ \t]*\n|(?=\s*\(?[A-F]\)?[.\s]*$)|[^.:=|>\n{_F[1:-1]}{_B[1:-1]}]{{0,80}}?"
    r"(?:(?<![A-Za-z])(?:is|are|was|be|equals|(?:evaluates|comes) to)(?![A-Za-z])|[:=|>]"
    rf"|\bof\s+(?=[-0-9$]|{_F})))",
    re.MULTILINE,
)
_NEXT_QUESTION = _pattern(
    r"\n[ \t]*(?:#{2,4}[ \t]*(?:Instruction|Input|Question|Problem|Human|User|Task)\b"
    r"|\*{0,2}(?:Q|Question|Problem|Instruction|Human|User)[ \t]?[0-9]{0,3}[.:]"
    r"|Below is an instruction)"
)
_ASIDE = re.compile(
    r"<<[^<>\n]{0,200}>>|\[asy\](?:(?!\[asy\]).){0,5000}?\[/asy\]|</answer>", re.DOTALL
)
_GIVES_UP = _pattern(
    r"\b(?:I|we)(?:'m| am| are| was| were)? (?:cannot|can't|can not|could not|couldn't|unable to"
    r"|not able to) (?:\w+ )?(?:solve|answer|determine|complete|help)"
    r"|\b(?:I|we) (?:do not|don't) know"
)
_TABLE_ROW = re.compile(r"^\|[ \t]+(.{1,300}?)[ \t]+\|[ \t]*$", re.MULTILINE)
_DOUBLED = re.compile(
    r"(?<!\\)\\\\(?:(\\)\\(?!\\)|(?=[A-Za-z]{3}|(?:pi|pm|le|ge|ne|in)(?![A-Za-z])|[%$(\[)\]{},!]))"
)
"""Backslashes out of a JSON text. Two before a letter or two start a row."""
_SENTENCE = re.compile(
    r"(?<=[^0-9A-Z\s\\])[.!?](?=[*_)\"']{0,3}(?:\s|$))"
    rf"|(?<={_F})\.(?=[A-Z])"
    rf"|(?<=[0-9A-Z)\]}}$])[.!?](?=[*_]{{0,3}}(?:\s+(?:[A-Z(\\$]|{_F}|{_B})|\s*$))"
)
_FILLER = _pattern(
    r"(?:[\s:*_`>~≈=\"']|\.\.\.|\\approx|(?:is|are|be|equals?|equal to|given by|simply|just|only"
    r"|about|approximately|approx\.?|exactly|therefore|thus|so|then|now|indeed|clearly|which|it"
    r"|it's|that|there|the|option|choice|answer|letter|value|number|roughly|around|actually"
    r"|probably|definitely|at (?:least|most)|a total of)(?![A-Za-z0-9])[,:]?)+"
)
_VERB = _pattern(
    r"(?<![A-Za-z])(?:is|are|was|were|be|equals?|equal to|becomes?|has|have|gets?|gives?|makes?"
    rf"|a total of)(?![A-Za-z])|(?<=[A-Za-z)*\"'])[*_]*:(?=[*_\s]|$)|(?<={_F}):|⇒|→"
)
_EQUALITY = _pattern(_VERB.pattern + "|=")
_SAYS = _pattern(rf"(?:{_EQUALITY.pattern})\s*(?:{_FILLER.pattern})?[-$(]*{_V}")
_SO = _pattern(
    r"(?:^|[\s,;])(?:so|thus|hence|therefore|giving|yielding"
    r"|which (?:means|gives|implies|simplifies to|yields))(?![A-Za-z])"
)
_REASON = _pattern(
    r"(?:\s{0,2}[,;(–—]|\s)\s?(?:(?:and |but )?not|rather than|instead of|because|since|which|but"
    r"|(?<=, )as(?! (?:above|before|desired))|where|when|so|if|given that|i\.e\.|that is"
    r"|therefore|thus|hence|to(?=\s(?!the\b)[a-z]))\s"
)
_CIRCUMSTANCE = _pattern(
    r"(?<![A-Za-z])(?:on|in|for|per|after|within|during|every|than|not|day|week|step|part|case"
    r"|question|problem)\s+\$?$"
)
_COMPARED = _pattern(r"\s*(?:more|less|fewer|times|of)(?![A-Za-z])")
_SUM = re.compile(r"[0-9.]+(?:\s?[*×+]\s?[0-9.]+)+(?![0-9])")
_TIME = r"[0-9]{1,2}:[0-9]{2}\b(?:\s?[apAP]\.?[mM]\b\.?)?"
_AMOUNT = r"-?\$?[0-9][0-9.,/]*(?<![.,/])"
_WHOLE = re.compile(
    rf"{COMPOUND}|{_TIME}|{_AMOUNT}(?:(?:-|–|\s(?:to|or|and)\s){_AMOUNT}|\s?(?:\^|\*\*)[{{(]?-?[0-9]+[)}}]?)"
)
"""Numbers that say one thing together: a time, a range, one of two, a power, hours and minutes."""
_DENIED = _pattern(r"(?:\bnot|n't|\bthan|\binstead of|\bwrong|\bincorrect)\s{1,2}[$\\(\[]{0,2}$")
_NOT_BUT = _pattern(
    r"(?:not|n't)\s+[^,;.\n]{1,60}(?:,?\s+but\s+(?:rather\s+)?|[,;]\s*(?:it is|it's)\s+)"
)
_CORRECTION = _pattern(
    r"(?:(?<![A-Za-z])(?:wait|sorry|scratch that|i mean|i meant|correction|or rather|make that|oops"
    r"|hold on|let me correct(?: that| this)?|(?:that|this)(?:'s| is| was) (?:wrong|incorrect)"
    r"|my mistake)(?![A-Za-z])|(?:[,;.!(–—-]|\.\.\.)\s?(?:well,?\s)?(?:no|actually|rather|instead)"
    r"(?! than|[A-Za-z]))"
    r"(?:[^.\n]{0,80}?(?<![A-Za-z])(?:it|that|this|answer)(?:'s| is| was| should be| must be)"
    r"|(?:[\s,;:.!–—*]{1,3}(?:no|wait|sorry|actually|rather|i mean|i meant|make|scratch|the|correct"
    r"|right|final|answer|that|correction|option|choice|instead|to|so)(?![A-Za-z])){0,12})"
    r"[\s,;:.=*–—]{0,4}"
)
_MATH = re.compile(
    rf"(?:{_TIME}|{_F}(?!-[a-z])|{_B}|\\(?:text|mathrm|textbf|mbox)\s?\{{[^{{}}]{{0,200}}\}}|\s"
    r"|\\[A-Za-z]+|\\[^A-Za-z\s]|[0-9a-f]*[0-9][0-9a-f]*(?![A-Za-z])|\$(?=[0-9])"
    r"|(?<![A-Za-z])(?:[A-Za-z]|sqrt|sin|cos|tan|log|ln|exp|pi|oo|or|and|[xyzw]{2,3})(?![A-Za-z'])"
    r"|[-0-9+*/^_=<>()\[\]{}|!:%&,;.±√∞π°·×÷≤≥≠∪∈≈²³])+"
)
_TRUTH = _pattern(r"\b(?:True|False|Yes|No)\b")
_DAY = re.compile(
    r"\b(?:(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day|January|February|March|April|May|June|July"
    r"|August|September|October|November|December)\b"
)
_EMPTY = {"correct", "right", "wrong", "incorrect", "clear", "obvious", "below", "above"}
_SEVERAL = re.compile(r"\bcommas?\b|\bsemicolons?\b|\ball (?:\w+ ){0,2}(?:values|solutions)\b")
_LABEL = re.compile(r"^(?:[A-Za-z][^:(\[{]{0,60}:\s|[=>-]+>)\s*")
_PROSE = re.compile(r"[A-Za-z]{2,} (?!and|or)(?:\S+ ){0,2}[A-Za-z]{2,}(?![A-Za-z(])")


def find_answer(completion: str, kind: Kind, question: str) -> str | None:
    """Give the last answer that a text states; None: it has none."""
    reader = _Reader(completion[-_TAIL:], kind, question)
    return reader.stated() or reader.concluded()


def find_printed(printed: str, kind: Kind, question: str) -> str | None:
    """Give the answer that a program printed last."""
    lines = [line.strip() for line in printed[-_TAIL:].split("\n")]
    lines = [line for line in lines if line and line not in ("None", "nan", "inf", "-inf")]
    if kind in ("number", "unknowns"):
        lines = [line for line in lines if re.search("[0-9]", line)] or lines
    if not lines:
        return None
    first = len(lines) - 1
    # An array is printed over several lines.
    while first and "".join(lines[first:]).count("[") < "".join(lines[first:]).count("]"):
        first -= 1
    shown = _short(_LABEL.sub("", " ".join(lines[first:])))
    numbers = list(find_numbers(without_latex(shown)))
    # "3 hens and 4 eggs" says two values.
    is_prose = _PROSE.search(shown) and (" and " not in shown or _EQUALITY.search(shown))
    if kind == "unknowns" or is_prose:
        return find_answer("\n".join(lines), kind, question) or shown or None
    is_sum = re.search(r"[A-Za-z)]\s*[-+*/^]|[-+*/^]\s*[A-Za-z(]", shown)
    if kind in ("number", "numglue") and len(numbers) == 1 and not is_sum:
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
        self.is_math = kind in ("latex", "mixed")
        self.offered = options(question) if kind in ("mixed", "numglue") else {}
        self.boxed: list[str] = []
        self.formulas: list[str] = []
        text = plain(_ASIDE.sub(lambda aside: "\n" if aside[0][1] == "/" else "", text))
        text = _DOUBLED.sub(r"\\\1", re.sub(f"{_F}|{_B}", "", text))
        text = re.sub(r"\$\\\$\$(?=\s?[0-9])", r"\\$", text)
        text = _TABLE_ROW.sub(lambda row: re.sub(r"\s+\|\s+", ": ", row[1]), text)
        text = _FORMULA.sub(self._formula, self._without_boxes(text))
        if not self.is_math:
            text = re.sub(r"\\\\|\\(?:begin|end)\{[^{}]{1,12}\}", "\n", text).replace("&", " ")
        self.text = text

    def _without_boxes(self, text: str) -> str:
        parts, end = [], 0
        for box in list(_BOX.finditer(text))[-_MOST:]:
            inner = box["bare"] or _braced(text, box.end())
            if box.start() >= end and inner is not None and inner.strip():
                parts += [text[end : box.start()], chr(_BOXED + len(self.boxed))]
                end = box.end() + (0 if box["bare"] else len(inner) + 1)
                self.boxed.append(inner.strip())
        return "".join([*parts, text[end:]])

    def _formula(self, match: re.Match[str]) -> str:
        if boxes := re.findall(_BOXES, match[0]):
            return str(boxes[-1])
        if not self.is_math:
            return match[0]
        inner = re.sub(r"^(?:\$\$?|\\[(\[])|(?:\$\$?|\\[)\]])$", "", match[0])
        # Of a derivation in rows the last one counts.
        inner = _ROWS.sub(lambda rows: _ROW_END.split(rows[2])[-1].lstrip("&= "), inner)
        inner = re.split(r"\\(?:Rightarrow|Longrightarrow|implies)(?![A-Za-z])", inner)[-1].strip()
        ended = inner.rstrip(".,;")
        self.formulas.append(ended.strip())
        is_line = match[0].startswith(("$$", "\\[", "\\begin"))
        character = chr(_FORMULAS + len(self.formulas) - 1)
        return character + inner[len(ended) :] + ("\n" if is_line else "")

    def _whole(self, text: str) -> str:
        """Write a text as it was, without dollar signs around formulas."""
        text = re.sub(_B, lambda box: self.boxed[ord(box[0]) - _BOXED], text)
        return _short(re.sub(_F, lambda one: self.formulas[ord(one[0]) - _FORMULAS], text))

    def stated(self) -> str | None:
        """Give the answer of the last statement, before a next question."""
        text = self.text
        statements = list(_STATEMENT.finditer(text))
        real = [one for one in statements if not one["so"]]
        first = next((one for one in real[:_MOST] if self._says(one) is not None), None)
        if first and (following := _NEXT_QUESTION.search(text, first.end())):
            self.text = text = text[: following.start()]
        # A conclusion ("So there are 2") and an answer in words ("This answer is unique") count
        # after a statement, but not after a box.
        later, in_words = None, None
        for statement in reversed([one for one in statements if one.end() <= len(text)][-_MOST:]):
            found = self._says(statement)
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
        sentences = list(_sentences(self.text))[-_MOST:] or [""]
        if letter := named(self._whole(sentences[-1]), self.offered):
            return letter
        if _GIVES_UP.search(sentences[-1]):
            return None
        for place in reversed(range(len(sentences))):
            sentence = self._corrected(sentences[place])
            before = sentences[max(0, place - 1) : place]
            both = self._unknowns([*before, sentence]) if self.kind == "unknowns" else None
            if found := both or self._value(sentence, is_last=place == len(sentences) - 1):
                return found
        return None

    def _says(self, statement: re.Match[str]) -> str | None:
        """Give what a statement says; "": that something is not the answer."""
        before = self.text[max(0, statement.start() - 300) : statement.start()]
        if _DENIED.search(before[-20:]):
            return None
        if statement["boxes"]:
            inner = ", ".join(dict.fromkeys(map(self._whole, re.findall(_B, statement["boxes"]))))
            return lettered(without_latex(inner).strip(), self.offered) or inner
        if statement["after"]:
            return self._value([*_sentences(before), ""][-2 if before.strip() else -1])
        rest = self.text[statement.end() : statement.end() + 2000].strip(" \t*_:\"'\n")
        lines = [line for line in rest.split("\n") if line.strip()] or [""]
        line = self._corrected(re.sub(r"\s+", " ", lines[0][:1500]))
        if statement["so"]:
            return self._value(_SENTENCE.split(line)[0])
        if statement["hash"] and not self._starts_with_value(line):
            # A heading, unless it is all that comes.
            return self._words(line, 3) if len(lines) == 1 and self.kind != "number" else None
        sentences = [_SENTENCE.split(one)[0] for one in (*lines[1:2], line)]
        both = self._unknowns(sentences) if self.kind == "unknowns" else None
        return both or self._value(sentences[-1], is_stated=True)

    def _starts_with_value(self, text: str) -> bool:
        text = _after(_FILLER, text)
        match = _MATH.match(text)
        is_math = match and (_VALUE.search(match[0]) or match.end() == len(text))
        is_word = _TRUTH.match(text) or _DAY.match(text) or lettered(text, self.offered)
        return bool(is_math or is_word or leading_number(text))

    def _corrected(self, line: str) -> str:
        """Give what follows the last correction that states a value."""
        for match in reversed(list(_CORRECTION.finditer(line))):
            value = line[match.end() :]
            compares = re.match(rf"\S+{_COMPARED.pattern}", value)
            if self._starts_with_value(value) and not compares:
                return value
        return line

    def _value(self, phrase: str, *, is_stated: bool = False, is_last: bool = False) -> str | None:
        """Give what a phrase says; ``is_stated``: it begins after a verb."""
        phrase = _after(_NOT_BUT, phrase.strip(" *_`"))
        if re.match(r"not\b", phrase, re.IGNORECASE):
            return ""
        phrase = _without_reason(phrase, is_stated)
        if self.offered:
            letter = lettered(_after(_FILLER, phrase), self.offered)
            if self.kind == "numglue":
                letter = letter or named(self._whole(phrase), self.offered)
            if letter:
                return letter
        if self.kind == "mixed" and (truths := _TRUTH.findall(phrase)):
            return str(truths[-1])
        if self.kind == "numglue" and (day := _DAY.search(phrase)):
            return day[0]
        if found := self._mathematics(phrase, is_stated):
            return found
        parts = _VERB.split(phrase)
        is_all = is_last and (len(parts) > 1 or phrase == self.text.strip(" .*\n"))
        if (is_stated or is_all) and (self.is_math or self.kind == "numglue"):
            return self._words(_after(_FILLER, parts[-1]), 8 if is_stated else 4)
        return None

    def _mathematics(self, phrase: str, is_stated: bool) -> str | None:
        """Give the value that follows the last verb, or else the last value."""
        text = phrase if self.is_math else without_latex(self._whole(phrase))
        verbs = list((_VERB if self.is_math else _EQUALITY).finditer(text))
        starts = [("=", 0)] * is_stated + [(one[0], one.end()) for one in verbs]
        for verb, start in reversed(starts):
            part = _after(_FILLER, text[start:])
            if found := self._run(_MATH.match(part)) if self.is_math else _leading(part, verb):
                return found
        if self.is_math:
            subject = _after(_FILLER, text[: verbs[0].start()]) if verbs else ""
            # "$127$ is the least prime"
            found = self._run(_MATH.fullmatch(subject))
            if found and not re.fullmatch(r"\\?[A-Za-z]+", found):
                return found
            runs = [(run.start(), self._run(run)) for run in _MATH.finditer(text)]
        else:
            numbers = list(find_numbers(text)) or (find_worded(text) if is_stated else [])
            runs = [(number.start, _written(text, number)) for number in numbers]

        def weight(run: tuple[int, str]) -> tuple[bool, bool, bool, int]:
            start, found = run
            is_symbol = re.fullmatch(r"\\?[A-Za-z]+", found)
            is_about = _CIRCUMSTANCE.search(text[max(0, start - 20) : start])
            return not is_symbol, not self._is_given(found), not is_about, start

        found_runs = [(start, found) for start, found in runs if found]
        return max(found_runs, key=weight)[1] if found_runs else None

    def _is_given(self, found: str) -> bool:
        given = rf"(?<![0-9A-Za-z.]){re.escape(found.strip('$'))}(?![0-9A-Za-z])(?!\.[0-9])"
        return bool(re.search(given, self.question))

    def _run(self, match: re.Match[str] | None) -> str | None:
        """Give a run of mathematics without what only leads on to the words after it."""
        if match is None:
            return None
        run, rest = match[0], match.string[match.end() :]
        is_all = not rest.strip() and not match.string[: match.start()].strip()
        if rest.strip():
            run = re.sub(r"(?:\s(?:and|or|[A-Za-z])|[\s(\[,=:*<>/-])+$", "", run)
        run = re.sub(r"^(?:[\s*_,;:=)\]]|and\s|or\s)+|(?:[\s*_.,;:]|\sand|\sor)+$", "", run)
        if not _VALUE.search(run) and not (is_all and re.search("[A-Za-z]", run)):
            return None
        return self._whole(run) or None

    def _words(self, phrase: str, most: int) -> str | None:
        phrase = self._whole(phrase).strip(" *_`.,;:!\"'")
        is_answer = words(phrase) not in _EMPTY and len(phrase.split()) <= most
        return phrase if phrase and is_answer else None

    def _unknowns(self, sentences: list[str]) -> str | None:
        """Give two numbers that are stated together, or each in a sentence of its own."""
        phrase = without_latex(self._whole(sentences[-1]))
        phrase = re.split(r"\b(?:not|rather than|instead of|because|since)\b", phrase)[0]
        numbers = list(find_numbers(phrase))
        if len(numbers) > 2:
            numbers = [one for one in numbers if not self._is_given(_written(phrase, one))]
        if len(numbers) == 2 and not re.search(r"[0-9)]\s*[+*/×÷^-]\s*\$?[0-9(]", phrase):
            is_hedge = re.search(r"\bor\b", phrase[numbers[0].end : numbers[1].start])
            return (" or " if is_hedge else ", ").join(_written(phrase, one) for one in numbers)
        values = [value for one in sentences[-2:] if (value := _labelled(self._whole(one)))]
        return ", ".join(values) if len(values) == 2 else None


def _after(pattern: re.Pattern[str], text: str) -> str:
    return text[match.end() :] if (match := pattern.match(text)) else text


def _sentences(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        line = re.sub(r"^\s*[0-9]{1,2}[.)]\s+(?=\S)", "", line[-1500:])
        yield from (one.strip() for one in _SENTENCE.split(line) if one.strip())


def _without_reason(phrase: str, is_stated: bool) -> str:
    """Drop what follows what is said: ``12 because 5 + 7 = 12``."""
    if not is_stated:
        for so in reversed(list(_SO.finditer(phrase))):
            if _VALUE.search(phrase, so.end()):
                phrase = phrase[so.end() :]
                break
    if not (reason := _REASON.search(phrase)):
        return phrase
    said, after = phrase[: reason.start()], phrase[reason.start() :]
    if re.match(r"\W*which", after) and len(_VALUE.findall(said)) > 1 and _VERB.search(after):
        return phrase
    if is_stated:
        return said if said.strip() else phrase
    says = _VALUE.search(said) and (_SAYS.search(said) or not _EQUALITY.search(after))
    return said if says else phrase


def _leading(text: str, verb: str) -> str | None:
    """Give the number, or the sum, that a text starts with."""
    text = text.lstrip(" $*(\"'`_[{")
    number = leading_number(text)
    # "is 20% of 60" says another number.
    if number is None or (verb != "=" and _COMPARED.match(text, number.end)):
        return None
    total = _SUM.match(text)
    return total[0].rstrip(".") if total and total.end() > number.end else _written(text, number)


def _labelled(sentence: str) -> str | None:
    """Give the number of ``b = 24 - 15 = 9``, ``Larger: 15`` or ``9``."""
    text = without_latex(sentence).strip(" -*_$.,;")
    if not (verb := _EQUALITY.search(text)):
        number = leading_number(text)
        return text if number and number.end == len(text) else None
    said = _leading(_after(_FILLER, re.split("=", text[verb.end() :])[-1]), "=")
    return None if re.search("[0-9]", text[: verb.start()]) else said


def _written(text: str, number: Number) -> str:
    for match in _WHOLE.finditer(text):
        is_inside = match.start() <= number.start and number.end <= match.end()
        if is_inside and len(match[0]) > number.end - number.start:
            return _short(match[0])
    return _short(text[number.start : number.end]).rstrip(".,")


def _short(text: str) -> str:
    return " ".join(text.split())[:_LONGEST].strip()


def _braced(text: str, start: int) -> str | None:
    """Give what stands before the brace that closes the one before ``start``."""
    depth = 1
    for place in range(start, min(len(text), start + 3000)):
        if text[place] in "{}" and text[place - 1] != "\\":
            depth += 1 if text[place] == "{" else -1
            if depth == 0:
                return text[start:place]
    return None
