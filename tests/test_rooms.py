"""What may be imported where, and what starts fast."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import smalltolarge

HEAVY = ("torch", "transformers", "tokenizers", "datasets", "faiss", "pyarrow", "pydantic")


def modules_after(program: str) -> set[str]:
    shown = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return set(shown.split("\n")[-2].split())


@pytest.mark.parametrize(
    "room",
    [
        "selection",
        "examples",
        "report.terminal",
        "verbs.report",
        "wordproblems",
        "clinical",
        "verbs.select",
        "runs.stages",
    ],
)
def test_a_room_imports_without_torch(room: str) -> None:
    loaded = modules_after(f"import smalltolarge.{room}")
    assert not loaded & {"torch", "transformers", "tokenizers"}


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; sys.argv = ['s2l', '--help']; from smalltolarge import cli\n"
        "try: cli.main()\nexcept SystemExit: pass"
    )
    assert not modules_after(program) & set(HEAVY)


def test_a_select_run_imports_nothing_of_evaluation_or_word_problems(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data.parent)
    words = ["s2l", "select", "data.jsonl", "--method", "random", "--budget", "9"]
    program = (
        f"import sys; sys.argv = {words}; from smalltolarge import cli\n"
        "try: cli.main()\nexcept SystemExit: pass\n"
        "import smalltolarge.lm"  # all that a proxy adds
    )
    loaded = {name.split(".")[1] for name in modules_after(program) if "smalltolarge." in name}
    assert {"cli", "examples", "selection", "lm"} <= loaded
    assert not loaded & {"clinical", "evaluation", "jail", "wordproblems"}


def test_the_package_itself_imports_nothing_of_its_own() -> None:
    loaded = modules_after("import smalltolarge")
    assert not {name for name in loaded if name.startswith("smalltolarge.")}


def test_every_public_name_is_there() -> None:
    assert all(hasattr(smalltolarge, name) for name in smalltolarge.__all__)
    assert set(smalltolarge.__all__) == set(dir(smalltolarge))
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = smalltolarge.no_such_name
