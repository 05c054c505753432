"""What the pages say is what the package does."""

from __future__ import annotations

import importlib.util
import json
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import smalltolarge
from smalltolarge import wordproblems
from smalltolarge.errors import S2LError
from smalltolarge.evaluation.answers import find_answer
from smalltolarge.evaluation.completions import spoken
from smalltolarge.evaluation.equivalence import Kind, is_equal
from smalltolarge.runs.recipe import RecordRecipe, SelectRecipe
from smalltolarge.selection import S2L, SELECTORS
from smalltolarge.settings import ProxySettings, ReadingSettings, describe

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md")]
REFERENCE: dict[str, Any] = runpy.run_path(str(DOCS / "make_reference.py"))

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@dataclass(frozen=True)
class Snippet:
    """One block of Python: its code, its place, and the file it is meant for."""

    code: str
    line: int
    file: str | None


def snippets(page: Path) -> Iterator[Snippet]:
    for found in re.finditer(
        r'^```python(?: title="(.+?)")?\n(.*?)^```$', text(page), re.DOTALL | re.MULTILINE
    ):
        yield Snippet(found[2], text(page)[: found.start(2)].count("\n"), found[1])


@pytest.fixture
def at_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with a small ``data.jsonl``, from which modules are imported.

    One thread: on a busy machine several wait for each other at so small a model.
    """
    monkeypatch.setattr("smalltolarge.lm.device.cores", lambda: 1)
    rows = wordproblems.training_rows(40, seed=2)
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("page", [ROOT / "README.md", DOCS / "python.md"], ids=lambda p: p.name)
def test_the_python_lines_run_one_after_the_other(page: Path, at_data: Path) -> None:
    names: dict[str, Any] = {}
    ran = 0
    for snippet in snippets(page):
        if snippet.file is not None:
            (at_data / snippet.file).write_text(snippet.code)
        else:
            code = compile("\n" * snippet.line + snippet.code, str(page), "exec")
            exec(code, names)  # noqa: S102  our own page
            ran += 1
    assert ran
    subset = names["subset"].to_list()
    rows = [json.loads(line) for line in (at_data / "data.jsonl").open()]
    assert len(subset) == len(names["selection"])
    assert all(row in rows for row in subset)


def test_the_readme_shows_about_six_lines_of_python() -> None:
    (snippet,) = snippets(ROOT / "README.md")
    assert 4 <= len(snippet.code.splitlines()) <= 8


def test_the_tables_of_the_command_line_are_up_to_date() -> None:
    page = text(DOCS / "command-line.md")
    assert REFERENCE["refreshed"](page) == page, "run: python docs/make_reference.py"


def test_the_table_of_keys_is_that_of_the_code() -> None:
    page = text(DOCS / "formats.md")
    assert REFERENCE["with_keys"](page) == page, "run: python docs/make_reference.py"
    assert "| `history` | row |" in page


@pytest.mark.parametrize("name", sorted(REFERENCE["commands"]()))
def test_every_command_and_option_is_on_its_page(name: str) -> None:
    page = text(DOCS / "command-line.md")
    parts = {
        found[1]: found[2]
        for found in re.finditer(r"<!-- options of (\S+) -->\n(.*?)<!-- end -->", page, re.DOTALL)
    }
    assert name == "s2l" or f"\n## s2l {name}\n" in page
    for option in REFERENCE["option_names"](REFERENCE["commands"]()[name]):
        assert f"| `{option}`" in parts[name], option


@pytest.mark.parametrize(
    ("kind", "command"),
    [(S2L, "select"), (ProxySettings, "select"), (ProxySettings, "record"),
     (ReadingSettings, "select"), (ReadingSettings, "record"), (ReadingSettings, "load")],
)  # fmt: skip
def test_the_words_on_a_setting_are_those_in_the_code(kind: type[Any], command: str) -> None:
    tables = REFERENCE["tables"](REFERENCE["commands"]()[command])
    for name, words in describe(kind).items():
        (row,) = re.findall(rf"^\| `--{name.replace('_', '-')}` .*$", tables, re.MULTILINE)
        assert re.sub(r"\\(.)", r"\1", row.split(" | ", 2)[2]).startswith(words)


def test_every_public_name_and_field_of_a_recipe_is_documented() -> None:
    page = text(DOCS / "python.md")
    for name in smalltolarge.__all__:
        assert f"| `{name}" in page, name
    page = text(DOCS / "formats.md").partition("## recipe.yaml")[2]
    for kind in (RecordRecipe, SelectRecipe):
        for name in kind.__dataclass_fields__:
            assert f"| `{name}` |" in page, name


def test_every_method_and_exit_code_is_documented() -> None:
    everything = "".join(map(text, PAGES))
    for name in SELECTORS:
        assert f"`{name}`" in everything
    page = text(DOCS / "command-line.md")
    for kind in _errors(S2LError):
        assert re.search(rf"^\| {kind.exit_code} \|.*`{kind.__name__}`", page, re.MULTILINE), kind


def _errors(root: type[Any]) -> Iterator[type[Any]]:
    for kind in root.__subclasses__():
        if kind.__module__ == "smalltolarge.errors":
            yield kind
            yield from _errors(kind)


@pages
def test_the_commands_shown_exist_with_their_options(page: Path) -> None:
    known = {
        name: set(REFERENCE["option_names"](command)) | {"--help"}
        for name, command in REFERENCE["commands"]().items()
    }
    shown = re.findall(r"(?:^    |`)(s2l [^`\n]+)", text(page), re.MULTILINE)
    for line in shown:
        words = shlex.split(line.replace("COMMAND", "").replace("...", ""))[1:]
        flags = {word for word in words if word.startswith("--")}
        command = next((word for word in words if not word.startswith("-")), "s2l")
        assert command in known, line
        assert flags <= known[command] | known["s2l"], line


KINDS: dict[str, Kind] = {
    "gsm8k": "number", "math": "latex", "mathematics": "mixed", "numglue": "numglue",
    "simuleq": "unknowns",
}  # fmt: skip
EXAMPLES = re.findall(
    r"^\| `(\w+)` \| `(.+)` \| `(.+)` \| (right|wrong) \|$", text(DOCS / "answers.md"), re.MULTILINE
)


@pytest.mark.parametrize(("task", "completion", "gold", "verdict"), EXAMPLES)
def test_answers_are_judged_as_their_page_says(
    task: str, completion: str, gold: str, verdict: str
) -> None:
    kind, said = KINDS[task], spoken(completion.replace("↵", "\n"))
    found = find_answer(said, kind, "?")
    assert (found is not None and is_equal(found, gold, kind, "?")) is (verdict == "right"), found


def test_every_example_of_an_answer_is_tried() -> None:
    shown = re.findall(r"\| (?:right|wrong) \|$", text(DOCS / "answers.md"), re.MULTILINE)
    assert len(EXAMPLES) == len(shown) > 30


@pages
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text(page)):
        if re.match(r"[a-z]+:", target):
            assert target.startswith("https://"), target
            continue
        name, _, anchor = target.partition("#")
        other = page if not name else (page.parent / name).resolve()
        assert other.is_file(), target
        assert not anchor or anchor in _anchors(other), target


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text(page), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


def test_every_page_is_listed_wherever_pages_are() -> None:
    pages = {page.name for page in DOCS.glob("*.md")}
    assert set(re.findall(r"^  - (\S+\.md)$", text(ROOT / "mkdocs.yml"), re.MULTILINE)) == pages
    listed = text(DOCS / "index.md").partition("## Pages")[2]
    assert set(re.findall(r"\]\((\S+\.md)\)", listed)) == pages - {"index.md"}
    listed = text(ROOT / "README.md").partition("## Documentation")[2].partition("## ")[0]
    assert set(re.findall(r"\]\(docs/(\S+\.md)\)", listed)) == pages - {"index.md"}


@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="mkdocs is not installed")
def test_the_site_builds_strictly_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    loaded = r"<(?:script|img|iframe)[^>]*\ssrc=\"?(\S+)|<link[^>]*stylesheet[^>]*href=\"?(\S+)"
    for page in tmp_path.rglob("*.html"):
        for found in re.findall(loaded, text(page)):
            assert not re.match(r"https?:|//", "".join(found)), (page, found)


def test_the_tree_in_the_readme_is_the_tree() -> None:
    tree = text(ROOT / "README.md").partition("    src/smalltolarge/\n")[2].partition("\n\n")[0]
    named = [re.match(r"      (\S+)  +\S", line) for line in tree.splitlines()]
    assert all(named)
    package = ROOT / "src" / "smalltolarge"
    there = {path.name for path in package.glob("*.py")}
    there |= {f"{path.name}/" for path in package.iterdir() if path.is_dir()} - {"__pycache__/"}
    assert sorted(found[1] for found in named if found) == sorted(there)


def test_the_floors_of_the_contributors_are_those_that_are_checked() -> None:
    project = tomllib.loads(text(ROOT / "pyproject.toml"))
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    page = text(ROOT / "CONTRIBUTING.md")
    shown = page.partition("other:\n\n")[2].partition("\n\n")[0]
    assert [line.strip() for line in shown.splitlines()] == layers


def test_where_things_are_added_there_is_such_a_thing() -> None:
    table = text(ROOT / "CONTRIBUTING.md").partition("| What | Where |\n|---|---|\n")[2]
    package = ROOT / "src" / "smalltolarge"
    for row in table.partition("\n\n")[0].splitlines():
        named = re.findall(r"`([\w./]+)`", row)
        places = [package / name for name in named if re.search(r"\.(py|toml)$|/$", name)]
        places = [
            place if place.exists() else ROOT / place.relative_to(package) for place in places
        ]
        assert places and all(place.exists() for place in places), row
        files = [
            file
            for place in places
            for file in ([place] if place.is_file() else place.glob("*.py"))
        ]
        code = "\n".join(map(text, files))
        for name in re.findall(r"`([A-Z]\w+)`", row):
            assert re.search(rf"^(class )?{name}\b", code, re.MULTILINE), row


def test_pinned_versions_name_no_place_and_no_build() -> None:
    lines = text(ROOT / "constraints.txt").splitlines()
    assert lines
    for line in lines:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!]+", line), line
        assert "://" not in line
        assert "+cpu" not in line
