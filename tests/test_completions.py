"""What of a completion counts: what it says aloud, and the program in it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalltolarge.evaluation.completions import program_of, spoken
from smalltolarge.evaluation.task import Question
from smalltolarge.evaluation.tasks import TASKS

SPOKEN = {
    "no thought": ("Seven.", "Seven."),
    "a thought": ("<think>\nIs it 3? No.\n</think>\n\nSeven.", "\n\nSeven."),
    "a thought on one line": ("<think>3?</think>Seven.", "Seven."),
    "a thought begun by the prompt": ("Is it 3? No.</think>\nSeven.", "\nSeven."),
    "two thoughts": ("<think>3</think>Five.<think>no</think>Seven.", "Seven."),
    "another name": ("<thinking>3</thinking>Seven.", "Seven."),
    "a name in a space": ("<seed:think>3</seed:think>Seven.", "Seven."),
    "a special token": ("<|START_THINKING|>3<|END_THINKING|>Seven.", "Seven."),
    "begin_of": ("<|begin_of_thought|>3<|end_of_thought|>Seven.", "Seven."),
    "fullwidth": ("3<｜end▁of▁thinking｜>Seven.", "Seven."),
    "brackets": ("[THINK]3[/THINK]Seven.", "Seven."),
    "triangles": ("◁think▷3◁/think▷Seven.", "Seven."),
    "channels": (
        "<|channel|>analysis<|message|>3<|end|><|start|>assistant"
        "<|channel|>final<|message|>Seven.<|return|>",
        "Seven.",
    ),
    "channels without their tokens": ("analysisWe try 3.assistantfinalSeven.", "Seven."),
    "one channel": ("<|channel>thought\n3<channel|>Seven.<turn|>", "Seven."),
    "sentences": (
        "Here is my thought process:\n3?\n\nHere is my response:\nSeven.",
        "\nSeven.",
    ),
    "open": ("<think>\nIt is 7, I believe. Let me", ""),
    "open after blanks": ("\n <think>\n7", "\n "),
    "open again": ("<think>3</think>Seven.<think>or 8", "Seven."),
    "open channel": ("<|channel|>analysis<|message|>It is 7.", ""),
    "open channel that ends": ("<|channel|>analysis<|message|>It is 7.<|return|>", ""),
    "open without its tokens": ("analysisIt is 7", ""),
    "open bracket": ("[THINK]7", ""),
    "end of a turn": ("Seven.<|im_end|>\n<|im_start|>user\nAnd 8?", "Seven."),
    "end of a text": ("Seven.<|endoftext|>Eight.", "Seven."),
    "end of a sequence": ("Seven.</s>", "Seven."),
    "end of a sentence": ("Seven.<｜end▁of▁sentence｜>", "Seven."),
    "other ends": ("Seven.<|eot_id|><end_of_turn><|end_of_text|><eos><|eom_id|>", "Seven."),
    "another turn": ("Seven.<|start_header_id|>user<|end_header_id|>", "Seven."),
    "thought in the next turn": ("Seven.<|im_end|>\n<think>8</think>Eight.", "Seven."),
    "end in a thought": ("<think>7<|im_end|>", ""),
    "quoted ends": ('Split at "</s>" and at `<|im_end|>`: 7', None),
    "quoted thoughts": ("Between '<think>' and '</think>': 7", None),
    "in a program": ('print("<think>3</think>7".split("</think>")[1])', None),
    "in a pattern": ("print(re.sub(r'<think>.*</think>', '', text))", None),
    "apostrophes": ("It's Janet's.</think>She's got 7.", "She's got 7."),
    "other tags": ("<answer>7</answer> <b>x</b> a < b > c", None),
    "words": ("I think: reasoning, thought, analysis of the end. [thinking]", None),
}


@pytest.mark.parametrize("name", SPOKEN)
def test_what_is_thought_and_what_follows_the_turn_is_not_said(name: str) -> None:
    completion, expected = SPOKEN[name]
    assert spoken(completion) == (completion if expected is None else expected)


def test_a_draft_in_a_thought_is_no_answer() -> None:
    task = TASKS["gsm8k"]
    nothing = Question("", "")
    assert task.read("<think>\nThe answer is 7. But wait, is", nothing) is None
    assert task.read("The answer is 3.</think>\nThe answer is 7.", nothing) == "7"
    summary = TASKS["radiology_impression"]
    assert summary.read("<think>Lungs?</think>\nClear lungs.<|eot_id|>", nothing) == "Clear lungs."
    assert summary.read("<think>Lungs are cl", nothing) is None


P = "x = 7\nprint(x)"
PROGRAMS = {
    "bare": (P, P),
    "fence": (f"```python\n{P}\n```", P),
    "language in capitals": (f"```PYTHON\n{P}\n```", P),
    "python3": (f"```python3\n{P}\n```", P),
    "version": (f"```Python 3.11\n{P}\n```", P),
    "py": (f"```py\n{P}\n```", P),
    "blank before the language": (f"```  python\n{P}\n```", P),
    "braces": (f"```{{python}}\n{P}\n```", P),
    "braces and options": (f"```{{.python .numberLines}}\n{P}\n```", P),
    "title": (f'```python title="try.py"\n{P}\n```', P),
    "file name": (f"```python:try.py\n{P}\n```", P),
    "tildes": (f"~~~python\n{P}\n~~~", P),
    "four backticks": (f"````python\n{P}\n````", P),
    "no language": (f"```\n{P}\n```", P),
    "one line": ("```python print(7)```", "print(7)"),
    "one line, no language": ("```print(7)```", "print(7)"),
    "begins on the line of the fence": (f"```python {P}\n```", P),
    "ends on the line of the fence": (f"```python\n{P}```", P),
    "after words": (f"Like so: ```python\n{P}\n```", P),
    "CRLF": (f"```python\n{P}\n```\nDone.".replace("\n", "\r\n"), P),
    "indented": ("1. First:\n   ```python\n   x = 7\n   print(x)\n   ```", P),
    "output follows": (f"```python\n{P}\n```\n```output\n7\n```\nIt is 7.", P),
    "output at once": (f"```python\n{P}\n```output\n7\n```", P),
    "output without a language": (f"```python\n{P}\n```\nOutput:\n```\nx = 7\n```", P),
    "both without a language": (f"```\n{P}\n```\nOutput:\n```\nx = 7\n```", P),
    "text block follows": (f"```python\n{P}\n```\n```text\nprint\n```", P),
    "shell before": (f"```bash\npip install sympy\n```\n```python\n{P}\n```", P),
    "shell after": (f"```python\n{P}\n```\n```bash\npython try.py\n```", P),
    "two ways": (f"```python\nprint(8)\n```\nBetter:\n```python\n{P}\n```", P),
    "typo, then mended": (f"```python\nx = 7)\n```\nAgain:\n```python\n{P}\n```", P),
    "mended, then cut": (f"```python\n{P}\n```\nOr:\n```python\nprint(7", P),
    "not closed": (f"Here:\n```python\n{P}", P),
    "not closed, with words": (f"```python\n{P}\n\nThis gives 7.", P),
    "fence begun by the prompt": (f"{P}\n```\nIt prints 7.", P),
    "fence begun by the prompt, output": (f"{P}\n```\n```output\n7\n```", P),
    "fence begun by the prompt, bare output": (f"{P}\n```\nOutput:\n```\n7\n```", P),
    "brackets": (f"[PYTHON]\n{P}\n[/PYTHON]", P),
    "code": (f"<code>\n{P}\n</code>", P),
    "llm-code": (
        f"<llm-code>\n{P}\n</llm-code>\n<llm-code-output>\n7\n</llm-code-output>\nSo 7.",
        P,
    ),
    "python tokens": (f"<|python_start|>{P}<|python_end|>", P),
    "python tag": (f"<|python_tag|>{P}<|eom_id|>", P),
    "end token": (f"{P}</s>", P),
    "a draft in a thought": (f"<think>\n```python\nx = 8 -\n```\n</think>\n```python\n{P}\n```", P),
    "a thought begun by the prompt": (f"```python\nx = 8 -\n</think>\n\n{P}", P),
    "another instruction": (f"{P}\n\n### Instruction:\nprint(8)", P),
    "another response": (f"{P}\n\n### Response:\nprint(8)", P),
    "another question": (f"```python\n{P}\n```\n\nQuestion: 8?\n```python\nprint(8)\n```", P),
    "own heading": (f"Question 1: what is asked?\n\n```python\n{P}\n```", P),
    "formulas before a heading": (f"a = 3\nb = 4\nProblem: a + b?\n```python\n{P}\n```", P),
    "prose before": (f"Here is the program:\n\n{P}", P),
    "prose after": (f"{P}\n\nThis prints 7 (seven).", P),
    "prose around": (f"Sure!\n\n{P}\n\nThe answer: 7", P),
    "heading before": (f"**Program**\n\n{P}", P),
    "words that are Python": (f"Program\n\n{P}\n\nDone", P),
    "labels that are Python": (f"Answer: below\n{P}\nOutput: seven", P),
    "first line indented": (f" {P}", P),
    "all indented": ("    x = 7\n    print(x)", P),
    "prompts": (">>> x = 7\n>>> print(x)\n7", P),
    "prompts in a fence": ("```pycon\n>>> x = 7\n>>> print(x)\n7\n```", P),
    "longer prompts": (
        ">>> for x in [7]:\n...     print(x)\n...\n7",
        "for x in [7]:\n    print(x)",
    ),
    "fence in a text": (
        '```python\ndef f():\n    """```x```"""\n    return 7\nprint(f())\n```',
        'def f():\n    """```x```"""\n    return 7\nprint(f())',
    ),
    "comments that look like headings": (f"# Question: what?\n{P}", f"# Question: what?\n{P}"),
    "nothing": ("", ""),
    "cut": ("```python\nx = 7\nprint(x\n```", "x = 7\nprint(x"),
    "cut in a text": ('```python\nimport math\nx = """a\nb = 2', 'import math\nx = """a\nb = 2'),
    "wrong": ("```python\nx = 7\nprint(5% * x)\n```", "x = 7\nprint(5% * x)"),
    "words alone": ("The answer is 7.", "The answer is 7."),
    "JSON": ('```json\n{"answer": 7}\n```', '```json\n{"answer": 7}\n```'),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_program_is_found(name: str) -> None:
    completion, program = PROGRAMS[name]
    assert program_of(completion).strip("\n") == program


BUILDING = {
    "a function": ("def f(n):\n    return n + 1", "print(f(6))"),
    "an import": ("from math import isqrt\nprint(isqrt(4))", "print(isqrt(49))"),
    "all of a module": ("from math import *", "print(isqrt(49))"),
    "values": ("a = 3\nb = a + 1\nprint(b)", "print(a + b)"),
    "changed values": ("kept = []\nkept.append(7)\nprint('kept')", "print(kept[0])"),
    "an index": ("kept = {}\nkept['a'] = 7", "print(kept['a'])"),
    "a loop": ("total = 0\nfor n in (3, 4):\n    total += n", "print(total)"),
    "a sum that goes on": ("total = 3\nprint(total)", "total += 4\nprint(total)"),
    "a main function": ("def main():\n    print(7)", "main()"),
    "what failed": ("import math\nresult = 1 / 0\nprint(result)", "print(math.isqrt(49))"),
    "a value on its own": ("x = 7\nprint('start')", "x"),
    "an example that lacks a name": ("x = 7\nprint(x)", "print(f(unknown))"),
    "a check": ("x = 7\nprint(x)", "assert x == 7"),
    "a comprehension": ("n = 7\nprint(n - 1)", "print([n for n in [n]][0])"),
}


@pytest.mark.parametrize("name", BUILDING)
def test_blocks_may_build_on_earlier_ones(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = "\n".join(f"So:\n```python\n{block}\n```\n```output\n?\n```" for block in BUILDING[name])
    program = program_of(text)
    names: dict[str, object] = {}
    if program.endswith("\nx"):  # as an interpreter shows it
        program = f"{program[:-1]}print(x)"
    exec(compile(program, "<program>", "exec"), names)  # noqa: S102 - our own, above
    assert capsys.readouterr().out == "7\n"


PIECES = [
    "```", "```python\n", "~~~", "\n", "print(", ")", "x = 1\n", "<think>", "</think>", "</s>", "'",
    '"', "`", "(", "[", "\\", "    ", "def f():\n", "Question:", "### Instruction:\n", ">>> ", "\r",
    "<|channel|>", "<|im_end|>", "lambda", "-", "\0", "\ud800", "٣", '"""', "return 1\n", "*",
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5)), max_size=40))
def test_any_text_is_read(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert spoken(text) in text
    assert isinstance(program_of(text), str)


@pytest.mark.parametrize(
    "text",
    [
        *(piece * (30_000 // len(piece)) for piece in PIECES),
        *(piece * 200_000 for piece in ("<", "' ", "`a")),
        "x = 1\nprint x\n" * 4000,
        "print(1)\nand so\n" * 4000,
        "```python\nprint(x)\n```\n" * 2500,
        "a" + ".b" * 30_000,
        "print(" + "+".join("1" * 30_000) + ")",
    ],
    ids=lambda text: repr(text[:12]),
)  # fmt: skip
def test_a_text_of_twice_the_length_takes_not_much_more_than_twice_the_time(text: str) -> None:
    def seconds(text: str) -> float:
        began = time.process_time()
        spoken(text)
        program_of(text)
        return time.process_time() - began

    half = seconds(text[: len(text) // 2])
    assert min(seconds(text) for _ in range(3)) < 3 * half + 0.25
