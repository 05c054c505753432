"""The page on adding a method or a task is true."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

from smalltolarge.selection import Evidence, find_selector
from tests.conftest import Cli
from tests.test_selection import make_pool
from tests.test_tasks import examined

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"


@pytest.fixture
def block(tmp_path: Path) -> str:
    """Write the page's module to ``tmp_path``; its code."""
    found = re.findall(r'```python title="shortest\.py"\n(.*?)```', PAGE.read_text(), re.DOTALL)
    assert len(found) == 1
    (tmp_path / "shortest.py").write_text(found[0])
    return str(found[0])


def test_a_method_is_at_most_ten_lines(block: str) -> None:
    (kind,) = (node for node in ast.parse(block).body if isinstance(node, ast.ClassDef))
    assert kind.end_lineno is not None
    lines = block.splitlines()[kind.decorator_list[0].lineno - 1 : kind.end_lineno]
    assert len([line for line in lines if line.strip()]) <= 10


def test_the_method_of_the_page_is_found_by_its_dotted_path_and_chooses(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    pool = make_pool(100)
    assert pool.lengths is not None
    found = find_selector("shortest:Shortest")
    shortest = pool.lengths[found().select(pool, 10).indices]
    assert sorted(shortest) == sorted(pool.lengths)[:10]
    made: Any = found
    shortest = pool.lengths[made(least=20).select(pool, 10).indices]
    assert sorted(shortest) == sorted(pool.lengths[pool.lengths >= 20])[:10]


def test_the_method_of_the_page_chooses_on_the_command_line_without_a_proxy(
    block: str, data: Path, s2l: Cli, tmp_path: Path
) -> None:
    s2l("select", data, "--method", "shortest:Shortest", "--budget", "10%", "--out", "few.jsonl",
        PYTHONPATH=str(tmp_path))  # fmt: skip
    rows = [json.loads(line) for line in data.open()]
    few = [json.loads(line) for line in (tmp_path / "few.jsonl").open()]
    (column,) = {"response", "output", "completion"} & set(rows[0])
    lengths = sorted(len(row[column]) for row in rows)
    assert sorted(len(row[column]) for row in few) == lengths[: len(rows) // 10]


def test_the_page_names_all_that_a_method_may_need() -> None:
    for kind in Evidence:
        assert f"`Evidence.{kind.name}`" in PAGE.read_text()


def test_the_task_of_the_page_is_asked_and_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (block,) = re.findall(r'```python title="parity\.py"\n(.*?)```', PAGE.read_text(), re.DOTALL)
    (kind,) = (node for node in ast.parse(block).body if isinstance(node, ast.ClassDef))
    assert len([line for line in ast.unparse(kind).splitlines() if line.strip()]) <= 10
    (tmp_path / "parity.py").write_text(block)
    monkeypatch.syspath_prepend(str(tmp_path))
    score, answers, model = examined(lambda asked: "Odd.", "parity:Parity", form="direct")
    assert (score.task, score.value, score.unanswered) == ("parity", 0.5, 0)
    assert model.asked[0][-1].content == answers[0].question == "Is 90 even or odd?"
