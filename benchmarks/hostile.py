"""Hostile completions: none may raise, each is to be judged in well under a second.

Every kind is a function from random numbers to a text; ``bench_answers.py --fuzz N`` spreads N of
them over the kinds, reads an answer from each, as words and as what a program printed, compares it
with several references in both directions, and takes the program out of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from random import Random

from smalltolarge.evaluation.answers import find_answer, find_printed
from smalltolarge.evaluation.completions import program_of, spoken
from smalltolarge.evaluation.equivalence import Kind, is_equal

KINDS: tuple[Kind, ...] = ("number", "latex", "mixed", "numglue", "unknowns")
REFERENCES = (r"\frac{1}{2}", "18", "x^2 + 2x + 1", "1, 2, 3", r"(-\infty, 3] \cup [5, 7)")
QUESTION = "Which is larger?\nAnswer Choices: (A) 9 (B) $x^2$ (C) the web"
GOAL = 0.3
"""Seconds that the slowest judgement of a completion may take."""


def _size(rng: Random) -> int:
    return rng.choice((1, 7, 40, 300, 2_000, 20_000, 200_000))


def _nested(opening: str, inside: str, closing: str) -> Callable[[Random], str]:
    def text(rng: Random) -> str:
        depth = rng.choice((3, 30, 300, 3_000, 30_000))
        return opening * depth + inside + closing * (depth - rng.choice((0, 0, 1, depth)))

    return text


def _repeated(*parts: str) -> Callable[[Random], str]:
    return lambda rng: rng.choice(parts) * _size(rng)


def _soup(alphabet: str) -> Callable[[Random], str]:
    return lambda rng: "".join(rng.choices(alphabet, k=min(_size(rng), 20_000)))


_TOKENS = (
    "The answer is ", "the final answer: ", "#### ", "\\boxed{", "}", "$", "$$", "\\frac", "{", "(",
    ")", "\\left(", "\\right)", "^", "_", "\\sqrt", "12", "-", ".", ",", " or ", " not ", "wait, ",
    "no, ", "=", "\\text{", "\\begin{pmatrix}", "\\end{pmatrix}", "&", "\\\\", "\n", "```",
    "python", "<think>", "</think>", "Question:", "### Instruction:", "**", "*", "1/2", "½", "x",
    "!", "%", "\\pm", "\\cup", "\\infty", "[", "]", "\\{", "\\}", "<", "\\le", "<<1+1=2>>",
    "two",
)  # fmt: skip


def _tokens(rng: Random) -> str:
    return "".join(rng.choices(_TOKENS, k=min(_size(rng), 3_000)))


def _boxed(make: Callable[[Random], str]) -> Callable[[Random], str]:
    return lambda rng: f"The answer is $\\boxed{{{make(rng)[:1_900]}}}$."


def _stated(make: Callable[[Random], str]) -> Callable[[Random], str]:
    return lambda rng: f"So it follows. The answer is {make(rng)}"


def _tower(rng: Random) -> str:
    return "^".join(rng.choices(("9", "{9}", "(99)", "x", "10", "-7"), k=min(_size(rng), 900)))


def _product(rng: Random) -> str:
    return "".join(f"(x+{n})^{{{rng.randrange(1, 99)}}}" for n in range(min(_size(rng), 200)))


def _matrix(rng: Random) -> str:
    side = min(_size(rng), 120)
    line = " & ".join(str(n) for n in range(side))
    return r"\begin{pmatrix}" + r" \\ ".join([line] * side) + r"\end{pmatrix}"


def _members(rng: Random) -> str:
    return ", ".join(rng.choice(("1", "x", r"\frac12", r"\pm 3", "a^b")) for _ in range(_size(rng)))


def _digits(rng: Random) -> str:
    return rng.choice(("1", "9", "0")) * _size(rng) + rng.choice(("", ".", "e9999", "!", "%", "/7"))


def _mistaken(rng: Random) -> str:
    """Change some characters of an ordinary solution."""
    text = list(
        "Let $x = 5$. Then $\\frac{x}{2} = 2.5$, so \\[x^2 + 1 = 26.\\] Therefore, the answer is "
        "$\\boxed{\\left( \\frac{1}{2}, \\sqrt{3} \\right) \\cup [3, \\infty)}$. Wait, no: it is 7."
    )
    for _ in range(rng.randrange(1, 30)):
        place = rng.randrange(len(text))
        text[place : place + rng.randrange(3)] = rng.choice((*_TOKENS, "\x00", "\ud800", "\u202e"))
    return "".join(text)


HOSTILE: Mapping[str, Callable[[Random], str]] = {
    "nested braces": _stated(_nested("{", "1", "}")),
    "nested brackets": _boxed(_nested("(", "x", ")")),
    "nested fractions": _boxed(_nested(r"\frac{1}{", "2", "}")),
    "nested roots": _stated(_nested(r"$\sqrt{", "2", "}")),
    "nested boxes": _nested(r"\boxed{", "3", "}"),
    "nested sets": _boxed(_nested(r"\{", "3", r"\}")),
    "nested lists": _stated(_nested("[", "3", "]")),
    "nested absolute values": _boxed(_nested("|-", "3", "|")),
    "nested powers": _boxed(_nested("2^{", "2", "}")),
    "nested signs": _boxed(_nested("-", "1", "")),
    "nested thoughts": _nested("<think>", "the answer is 3", "</think>"),
    "towers of powers": _boxed(_tower),
    "towers of powers, stated": _stated(_tower),
    "towers of factorials": _boxed(_repeated("9!", "!", "99!!")),
    "products of powers": _boxed(_product),
    "dollars": _repeated("$", "$ ", "$$", "\\$", "$1", "$ $ ="),
    "open boxes": _repeated("\\boxed{", "\\boxed", "\\boxed{1", "\\fbox {"),
    "backslashes": _repeated("\\", "\\\\ ", "\\frac", "\\text{", "\\left", "\\begin{pmatrix}"),
    "open brackets": _repeated("(", "[(", "{[", "((1,", "\\{", "<"),
    "statements": _repeated("The answer is ", "the answer is 1. ", "#### ", "Answer: **", "####\n"),
    "corrections": _stated(_repeated("1, no, wait, ", "no ", "wait ", "is it not 3 ", "2 or ")),
    "denials": _stated(_repeated("not ", "not 3 but ", "n't 1, it is ")),
    "equations": _stated(_repeated("x = ", "1 = 1 ", "a=b=", "x=1, ")),
    "fences": _repeated("```", "```python\n", "~~~\n", "```\n```output\n", "`"),
    "markup": _stated(_repeated("**", "* ", "_", "# ", "> ", "**1** ")),
    "digits": _digits,
    "digits, boxed": _boxed(_digits),
    "digits, stated": _stated(_digits),
    "digits apart": _stated(_repeated("1 ", "1,", "1,\\!", "1.", "1/", "1-", "1:", "12,345,")),
    "powers of ten": _boxed(
        lambda rng: f"10^{{{rng.randrange(10**9)}}} + 1e{rng.randrange(10**6)}"
    ),
    "number words": _stated(_repeated("two ", "hundred ", "twenty-", "million and ", "one half ")),
    "matrices": _boxed(_matrix),
    "matrices, printed": lambda rng: f"[{', '.join(['[1, 2, 3]'] * _size(rng))}]",
    "lists": _boxed(_members),
    "lists, stated": _stated(_members),
    "letters": _boxed(_repeated("abcdefghij", "x", "xy^2z", "f(x)", "\\alpha")),
    "signs": _boxed(_repeated("+", "-+", "\\pm 1", "*", "^", "_", "=", "<", "\\cup ")),
    "plus or minus": _boxed(_repeated("\\pm 1 + ", "1 \\pm \\sqrt{2}, ", "x\\mp ")),
    "spaces": lambda rng: (
        f"The answer is{rng.choice((' ', chr(9), chr(10), chr(160))) * _size(rng)}3"
    ),
    "lines": _repeated("\n", "\r\n", "a\n", "1\n", "\n\n#"),
    "one long word": _stated(_repeated("a", "ab-", "a.", "a'", "é")),
    "headings": _repeated("Question: ", "\nQuestion 1: ", "### Instruction:\n", "\n## Answer\n"),
    "control characters": _stated(_soup("\x00\x01\x07\x08\x0b\x0c\x1b\x7f\x85 12$\\")),
    "surrogates": _stated(_soup("\ud800\udfff\udc00 1{}$\\")),
    "directions and joiners": _stated(_soup("\u202e\u200d\u200b\ufeff\u0301 12-−")),
    "other digits": _stated(_soup("٣१²½⅓Ⅷ①𝟗〇一1.,/ ")),
    "other scripts": _soup("答案是はい是。，：١أ 1"),
    "signs of mathematics": _boxed(_soup("√∞∪∩≤≥≠±×÷·π°′∈123xy(){}[],^_ ")),
    "tokens": _tokens,
    "tokens, boxed": _boxed(_tokens),
    "tokens, stated": _stated(_tokens),
    "a solution with mistakes": _mistaken,
}
"""Kinds of hostile completions."""


def completions(n: int, seed: int = 0) -> Iterator[tuple[str, str]]:
    """Yield (kind, completion), all kinds in turn."""
    names = list(HOSTILE)
    for number in range(n):
        name = names[number % len(names)]
        yield name, HOSTILE[name](Random(f"{seed} {number}"))


def slowest_judgement(completion: str) -> float:
    """Read and compare a completion in all ways; give the processor's seconds of the slowest."""
    began = time.process_time()
    program_of(completion)
    text = spoken(completion)
    slowest = time.process_time() - began
    for kind in KINDS:
        for find in (find_answer, find_printed):
            began = time.process_time()
            found = find(text, kind, QUESTION)
            finding, comparing = time.process_time() - began, 0.0
            for reference in REFERENCES:
                if found is None:
                    break
                for one, other in ((found, reference), (reference, found), (found, f"{found}.")):
                    began = time.process_time()
                    is_equal(one, other, kind, QUESTION)
                    comparing = max(comparing, time.process_time() - began)
            slowest = max(slowest, finding + comparing)
    return slowest


def main(n: int) -> None:
    """Print the slowest of every kind, and what raises."""
    slowest: dict[str, float] = dict.fromkeys(HOSTILE, 0.0)
    raised: dict[str, list[str]] = {}
    slow = 0
    began = time.perf_counter()
    for name, completion in completions(n):
        try:
            taken = slowest_judgement(completion)
        except Exception as error:
            taken = 0.0
            raised.setdefault(name, []).append(f"{error!r} of {completion[:80]!r}")
        slowest[name] = max(slowest[name], taken)
        slow += taken > GOAL
    for name, taken in sorted(slowest.items(), key=lambda one: -one[1]):
        told = "".join(f"  RAISED {one}" for one in raised.get(name, [])[:3])
        print(f"{name:<28} {taken:8.3f} s{told}")
    print(
        f"{n:,} completions in {time.perf_counter() - began:.1f} s: "
        f"{sum(map(len, raised.values())):,} raised, {slow:,} took over {GOAL} s"
    )
