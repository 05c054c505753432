"""How a right answer is told: the templates of ``bench_answers.py``.

A template names what goes into it in angle brackets, see ``fields``; where a row cannot give one of
them (no number, no single value), the template is not for that row. Whether a completion is right
follows from the template alone: none states anything after the answer that takes it back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from smalltolarge.evaluation.equivalence import Kind

STYLES: Mapping[str, str] = {
    "boxed alone": "<boxed>",
    "alone": "<answer>",
    "is": "The answer is <answer>.",
    "is, after a working": "<working> The answer is <answer>.",
    "is, with a colon and no point": "<working>\n\nThe answer is: <answer>",
    "is the final one": "<working>\nThe final answer is <answer>.",
    "is the correct one": "<working> Hence, the correct answer is <answer>.",
    "would be": "<working> So the answer would be <answer>.",
    "equals": "<working> We find that the answer equals <answer>.",
    "to the question": "<working> Thus, the answer to the question is <answer>.",
    "label": "<working>\n\nAnswer: <answer>",
    "label in capitals": "<working>\n\nANSWER: <answer>",
    "label, final": "<working>\n\nFinal Answer: <answer>",
    "label, bold": "<working>\n\n**Answer:** <answer>",
    "label, bold, with the answer inside": "<working>\n\n**Final Answer: <answer>**",
    "bold answer": "<working> The answer is **<answer>**.",
    "heading": "<working>\n\n## Answer\n\n<answer>",
    "heading and a sentence": "<working>\n\n### Final Answer\n\nThe final answer is <answer>.",
    "bold heading and a box": "<working>\n\n**Final Answer**\n\n<boxed>",
    "hashes": "<working>\n#### <answer>",
    "hashes alone": "#### <answer>",
    "box after a working": "<working> Therefore, the answer is <boxed>.",
    "box in a display": "<working>\n\nTherefore, the final answer is:\n\n\\[\n<bare box>\n\\]",
    "box in dollars on lines": "<working>\n\nSo the answer is:\n\n$$\n<bare box>\n$$",
    "box in round brackets": "<working> So the result is \\( <bare box> \\).",
    "hope": "<working>\nFinal Answer: The final answer is <answer>. I hope it is correct.",
    "equation": "<working> Therefore, <equation>.",
    "equation of words": "<working>\n\nAnswer = <answer>",
    "steps under headings": "### Step 1: What is given\n\n<first part>\n\n"
    "### Step 2: What follows\n\n<second part>\n\n### Conclusion\n\nThe answer is <answer>.",
    "numbered steps": "1. **Read the problem.** <first part>\n\n2. **Work it out.** "
    "<second part>\n\n3. **Conclude.** The answer is <boxed>.",
    "bulleted": "- <first part>\n- <second part>\n- **Answer:** <answer>",
    "questions of its own": "Question 1: What is given? <first part>\n\nQuestion 2: What follows? "
    "<second part>\n\nThe answer is <answer>.",
    "problem under a heading": "## Problem breakdown\n\n<first part>\n\n## Task 1\n\n<second part>"
    "\n\n## Result\n\nThe answer is <answer>.",
    "before a reason": "The answer is <answer>, because all other cases were excluded.",
    "before an explanation": "The answer is <answer>. This follows when both sides are compared, "
    "as in the 2 cases above.",
    "before a farewell": "<working> The answer is <answer>.\n\nLet me know if you have any other "
    "questions!",
    "after a draft": "The answer is <wrong>. Wait, that is not right. The answer is <answer>.",
    "corrected at once": "<working> The answer is <wrong>, no wait, it is <answer>.",
    "boxed after a draft": "So we get <wrong box>. Let me check that again.\n\n<working>\n\nI made "
    "a mistake above. The answer is <boxed>.",
    "not this one": "<working> The answer is <answer>, not <wrong>.",
    "next instruction": "<working> The answer is <answer>.\n\n### Instruction:\nWhat is 3 + 4?\n\n"
    "### Response:\nThe answer is 7.",
    "next question": "<working> The answer is <answer>.\n\nQuestion: What is 3 + 4?\nAnswer: The "
    "answer is 7.",
    "next problem and solution": "<working> The answer is <boxed>.\n\nProblem:\nWhat is 3 + 4?\n\n"
    "Solution:\nThe answer is $\\boxed{7}$.",
    "doubled backslashes": "<working> The answer is <doubled box>.",
    "after a thought": "<think>\n<working> Maybe the answer is <wrong>.\n</think>\n\nThe answer is "
    "<answer>.",
    "after a thought with a box": "<think>\nSo it is <wrong box>? No.\n</think>\n\n<working>\n\n"
    "<boxed>",
    "after a thought opened by the prompt": "<working> Could it be <wrong>? No.\n</think>\n\n"
    "**Answer:** <answer>",
    "end of a turn": "<working> The answer is <answer>.<|im_end|>",
    "end of a text": "<working> The answer is <boxed></s>",
}
"""Right answers in plain styles."""

PAIRS: Mapping[str, str] = {
    "both unknowns on lines": "<working>\n\nx = <answer>\ny = <other>",
    "both unknowns in a sentence": "<working> The answer is <other> and <answer>.",
    "both unknowns, labelled": "Therefore, x = <other> and y = <answer>.",
    "both unknowns in a list": "The answer is [<answer>, <other>].",
}
"""Plain styles more, where a question asks for two unknowns and the gold answer is one of them."""

SLIPS: Mapping[str, str] = {
    "wrong after right": "The answer is <answer>. Wait, that is not right. The answer is <wrong>.",
    "wrong box after a right one": "So we get <boxed>. Let me check that again. I made a mistake "
    "above. The answer is <wrong box>.",
    "corrected to a wrong one": "<working> The answer is <answer>, no wait, it is <wrong>.",
    "right in the working": "<working> This is close to <answer>. The answer is <wrong>.",
    "right in a thought": "<think>\nThe answer is <answer>.\n</think>\n\nThe answer is <wrong>.",
    "right in a thought that is cut": "<think>\n<working> The answer is <boxed>. But wait, let me",
    "right to the next question": "<working> The answer is <wrong>.\n\nQuestion: What is 3 + 4?\n"
    "Answer: The answer is <answer>.",
    "one or the other": "<working> The answer is <answer> or <wrong>.",
    "between": "<working> The answer is between <answer> and <wrong>.",
    "denied": "<working> The answer is not <answer>.",
    "given up": "I am not able to solve this problem.",
}
"""Completions that have the right answer, and state another or none."""

OUTSIDE: Mapping[str, str] = {
    "is": "<formulas> Therefore, the answer is <number>.",
    "is the final one": "<formulas>\n\nThe final answer is **<number>**.",
    "label": "<formulas>\n\nAnswer: <number>",
    "label, final": "<formulas>\n\nFinal Answer: <number>",
    "label, bold": "<formulas>\n\n**Answer:** <number>",
    "bold alone": "<formulas>\n\n**<number>**",
    "hashes": "<formulas>\n#### <number>",
    "heading": "<formulas>\n\n## Answer\n\n<number>",
    "value of a letter": "<formulas>\n\nFinal Answer: The value of $<letter>$ is <number>.",
    "sentence about a letter": "<formulas> Thus the value of $<letter>$ is <number>.",
    "letter in a formula": "<formulas> The answer is $<letter>$ = <number>.",
    "count": "<formulas> Therefore, there are <count> of them.",
    "hence": "<formulas> Hence we get <number>.",
    "total": "<formulas> This gives a total of <number>.",
    "formula before it": "<formulas> Since $a = b$, the answer is <number>.",
    "formula after it": "<formulas> The answer is <number>, since $a^2 = 9$ for both.",
    "reason after it": "<formulas> The answer is <number>. Note that $a + b$ was not needed.",
    "next question": "<formulas> The answer is <number>.\n\nQuestion: What is $3 + 4$?\n"
    "Answer: $7$",
}
"""A number outside ``$``, after solution text with formulas."""

PROGRAMS: Mapping[str, str] = {
    "fence": "```python\n<program>\n```",
    "bare": "<program>",
    "words around": "Let's write a program.\n\n```python\n<program>\n```\n\nIt prints the answer.",
    "output block": "```python\n<program>\n```\n```output\n<printed>\n```\nThe answer is <boxed>.",
    "output block without a name": "```python\n<program>\n```\n\nOutput:\n```\n<printed>\n```",
    "python3": "```python3\n<program>\n```\n```output\n<printed>\n```",
    "tildes": "~~~python\n<program>\n~~~\n\nOutput: <printed>",
    "shell before": "```bash\npip install sympy\n```\n\n```python\n<program>\n```",
    "draft before": "```python\nprint(<wrong text>)\n```\n\nThat was wrong. Once more:\n\n"
    "```python\n<program>\n```",
    "fence that stays open": "```python\n<program>",
    "end of a text": "```python\n<program>\n```</s>",
    "next question": "```python\n<program>\n```\n\nQuestion: What is 3 + 4?\n```python\nprint(7\n",
}
"""Programs that print the answer, as a whole completion."""

_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_DRAWING = re.compile(r"\[asy\].*?\[/asy\]", re.DOTALL)
_LETTER = re.compile(
    r"(?:values? of|find|solve for|compute|what is)\s+\$([a-zA-Z])\$", re.IGNORECASE
)
_NUMBER = re.compile(r"-?\$?(?:[0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+)%?(?: [a-z ]+)?")


@dataclass(frozen=True)
class Row:
    """A question, its gold answer, and a working that leads to it without stating it last."""

    question: str
    gold: str
    kind: Kind
    working: str

    def draw(self, name: str) -> Random:
        """Give what is drawn for this row under a name, always the same."""
        return Random(f"{name} {self.question}")

    def told(self, answer: str) -> str:
        """Write an answer into a sentence."""
        is_formula = self.kind == "latex" or re.search(r"\\[a-z]", answer)
        return f"${answer}$" if is_formula else answer

    def boxed(self, answer: str) -> str:
        """Write an answer into a box."""
        return rf"$\boxed{{{answer}}}$"

    @property
    def letter(self) -> str | None:
        """The variable whose value the question asks for."""
        found = _LETTER.search(self.question)
        return found[1] if found else None

    @property
    def is_one_value(self) -> bool:
        """Whether the gold answer is one number or expression, that a letter could stand for."""
        return bool(re.search(r"[0-9]", self.gold)) and not re.search(
            r"[=,<>&\[\]:]|\\(?:text|mbox|cup|in|infty|begin|pm|le|ge)\b|\bor\b", self.gold
        )

    @property
    def number(self) -> str | None:
        """The gold answer outside a formula, where it is a number, perhaps with a unit."""
        text = re.sub(r"\\!|\\,|\\ ", "", self.gold.replace("{,}", ","))
        text = re.sub(r"\s*\^\s*(?:\\circ|\{\s*\\circ\s*\})", " degrees", text)
        text = re.sub(r"\s*\\(?:text|mbox)\{\s*([^{}]*?)\s*\}", r" \1", text)
        text = text.replace("\\$", "$").replace("\\%", "%").strip()
        return text if _NUMBER.fullmatch(text) else None


def dressed(template: str, fields: Mapping[str, str]) -> str | None:
    """Fill a template; None: this row has not what it needs."""
    needed = re.findall(r"<([a-z ]+)>", template.replace("<think>", ""))
    if not all(name in fields for name in needed):
        return None
    return re.sub(r"<([a-z ]+)>", lambda found: fields.get(found[1], found[0]), template)


def fields(row: Row, wrong: str | None) -> dict[str, str]:
    """Give all that templates may name; ``wrong``: an answer that is not the gold one."""
    sentences = _sentences(row.working)
    half = (len(sentences) + 1) // 2
    formulas = row.working if "$" in row.working else f"{row.working} {_FORMULAS}"
    given = {
        "answer": row.told(row.gold),
        "boxed": row.boxed(row.gold),
        "bare box": row.boxed(row.gold)[1:-1],
        "doubled box": row.boxed(row.gold).replace("\\", "\\\\"),
        "working": row.working,
        "first part": " ".join(sentences[:half]),
        "second part": " ".join(sentences[half:]) or "All of it is used.",
        "formulas": formulas,
        "letter": row.letter or "n",
        "other": str(row.draw("other").randrange(1000, 9999)),
        "printed": row.gold,
        "program": f"answer = {_literal(row.gold)}\nprint(answer)",
    }
    if row.is_one_value:
        letter = next(
            one for one in (row.letter, "S", "T", "N", "z") if one and one not in row.gold
        )
        given["equation"] = row.told(f"{letter} = {row.gold}")
    if row.number is not None:
        given["number"] = row.number
        if row.number.isdigit() and row.number not in ("0", "1"):
            given["count"] = row.number
    if wrong is not None:
        given |= {
            "wrong": row.told(wrong),
            "wrong box": row.boxed(wrong),
            "wrong text": _literal(wrong),
        }
    return given


_FORMULAS = "Here $a = b + c$ and $b = 2c$, so $a = 3c$ and $\\frac{a}{b} = \\frac{3}{2}$."


def _literal(text: str) -> str:
    return text if re.fullmatch(r"-?[1-9][0-9]*(?:\.[0-9]+)?", text) else repr(text)


def working_of(question: str, solution: str | None, is_latex: bool) -> str:
    """Give the text that leads to an answer: of the solution, all sentences before its last box."""
    if solution is not None:
        text = _DRAWING.sub("", solution)
        before = text[: max(text.rfind(r"\boxed"), text.rfind(r"\fbox"))]
        sentences = _sentences(before)[:-1]
        while sentences and not sentences[-1].rstrip("$]}\\ ").endswith((".", "!", "?")):
            sentences.pop()
        if sentences:
            return "\n".join(sentences)
    rng = Random(f"working {question}")
    one, other, more = (rng.randrange(2, 60) for _ in range(3))
    told = f"{one} + {other} = {one + other}"
    if is_latex:
        return (
            f"We look at what is given first. Let $u = {one}$ and $v = {other}$, so that "
            f"$u + v = {told}$. Then $\\frac{{u}}{{v}} < {more + one}$ holds in {more} cases."
        )
    return f"We look at what is given first: {told}. There are {more} such cases."


def _sentences(text: str) -> list[str]:
    """Split where a sentence or a line ends, outside formulas and environments."""
    found: list[str] = []
    open_ = ""
    for part in _SENTENCE.split(text):
        open_ = f"{open_} {part}".strip()
        plain = open_.replace("\\$", "")
        if (
            plain.count("$") % 2 == 0
            and plain.count("$$") % 2 == 0
            and plain.count("{") == plain.count("}")
            and plain.count("\\begin") == plain.count("\\end")
            and plain.count("\\[") == plain.count("\\]")
        ):
            found.append(open_)
            open_ = ""
    return [one for one in [*found, open_] if one]
