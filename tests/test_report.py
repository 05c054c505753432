"""The page of a run: its numbers are the run's, nothing in it but our script runs, and it works."""

from __future__ import annotations

import base64
import hashlib
import html
import html.parser
import importlib.util
import itertools
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

import smalltolarge
from smalltolarge.errors import (
    MissingArtifact,
    RecipeError,
    RefusedForSafety,
    StaleArtifact,
    harmless,
)
from smalltolarge.evaluation import Score
from smalltolarge.report.page import facts, scores
from smalltolarge.report.page.build import Json
from smalltolarge.report.page.drawing import Drawing, Scale
from smalltolarge.report.page.images import images
from smalltolarge.runs.manifest import as_bytes
from smalltolarge.runs.outcomes import Arm, ArmResult, tabulate
from smalltolarge.runs.results import Run
from smalltolarge.selection.diagnostics import Shapes
from smalltolarge.trajectories import Trajectories

from .conftest import Cli, command_line

PAGE = Path(facts.__file__).parent
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
AXE = importlib.util.find_spec("axe_playwright_python")

_MARKUP = [
    "<script>window.ran = 1</script>",
    "</script><script>window.ran = 1</script>",
    "<img src=x onerror='window.ran = 1'>",
    "<svg onload='window.ran = 1'><circle/></svg>",
    "--><!--<script>window.ran = 1</script>",
    "]]><script>window.ran = 1</script>",
    "</style><script>window.ran = 1</script>",
    "</title><script>window.ran = 1</script>",
    '" onmouseover="window.ran = 1" x="',
    "' autofocus onfocus='window.ran = 1' x='",
    "<iframe srcdoc='<script>parent.ran = 1</script>'></iframe>",
    "<a href='javascript:window.ran = 1'>x</a>",
    "<form action='https://example.org'><input type=submit></form>",
    "<meta http-equiv=refresh content='0;url=https://example.org'>",
    "<base href='https://example.org/'>",
    "<link rel=stylesheet href='https://example.org/x.css'>",
    "<object data='data:text/html,<script>window.ran = 1</script>'></object>",
    "<math><mi xlink:href='javascript:window.ran = 1'>x</mi></math>",
    "{{ 7 * 7 }}{% raw %}<b>{% endraw %}",
    "${window.ran = 1} `${window.ran = 1}`",
]
_CHARACTERS = [
    "\u2028",
    "\u2029",
    "\x00",
    "\x1b[31m",
    "\u202e",
    "\ufeff",
    "\ud800",
    "&lt;b&gt;",
    "\\u003c",
    "=cmd()",
]
RECORDING = ["--proxy", "scratch-0.1m", "--max-length", "64", "--epochs", "0.2", "--checkpoints",
             "2", "--threads", "1"]  # fmt: skip
"""Settings of a recording of a second."""
HOSTILE = [mark + character for mark in _MARKUP for character in _CHARACTERS]
"""200 strings."""


def rows() -> list[dict[str, str]]:
    """Give a row for each hostile string, which is in all of its fields."""
    clean = [text.replace("\ud800", "") for text in HOSTILE]
    return [
        {
            "instruction": f"{n} {text}",
            "output": f"{text} {n}",
            "source": text[:60] if n % 3 else "plain",
        }
        for n, text in enumerate(clean)
    ]


def lay_out(folder: Path) -> None:
    """Write ``data.jsonl`` of hostile rows, and losses of them that fall in five ways."""
    lines = [json.dumps(row) + "\n" for row in rows()]
    (folder / "data.jsonl").write_text("".join(lines), encoding="utf-8")
    examples = smalltolarge.load(folder / "data.jsonl")
    random, n = np.random.default_rng(0), len(examples)
    way = np.arange(n) % 5
    end, speed = np.array([0.3, 0.8, 1.4, 2.0, 3.0])[way], np.array([9, 5, 3, 1.5, 0.5])[way]
    steps = np.arange(8)
    losses = end[:, None] + 3 * np.exp(-speed[:, None] * steps / 7)
    losses = losses + random.normal(0, 0.05, losses.shape)
    Trajectories(
        losses=losses.astype(np.float32), steps=steps * 10, ids=examples.ids,
        n_tokens=random.integers(3, 90, n),
    ).to_parquet(folder / "losses.parquet")  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of ``s2l select`` over hostile rows, and its page."""
    made = tmp_path_factory.mktemp("hostile")
    lay_out(made)
    s2l = command_line(made)
    said = s2l(
        "select", "data.jsonl", "--trajectories", "losses.parquet", "--clusters", "5",
        "--budget", "20%", "--out", "subset.jsonl", "--run", "run",
    ).stdout  # fmt: skip
    assert said.rstrip().endswith("s2l report run")
    said = s2l("report", "run", "--figures", "figures").stdout
    assert said.startswith("Page     run/report.html")
    return made


class _Tags(html.parser.HTMLParser):
    """Collects what of a page is markup."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def data_of(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_no_text_of_the_data_is_markup(folder: Path) -> None:
    page = read(folder / "run" / "report.html")
    tags = _Tags(page).tags
    names = {tag for tag, _ in tags}
    assert not names & {"img", "iframe", "object", "embed", "link", "base", "form", "math", "video"}
    assert [attributes for tag, attributes in tags if tag == "script"] == [
        {"type": "application/json", "id": "data"}, {},
    ]  # fmt: skip
    for tag, attributes in tags:
        assert not any(name.startswith("on") or name in ("style", "src") for name in attributes)
        assert str(attributes.get("href", "#")).startswith("#"), tag
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e\u2028\u2029\ufeff]", page)


def test_every_hostile_text_is_in_the_page_to_be_read(folder: Path) -> None:
    data = data_of(read(folder / "run" / "report.html"))
    items = [dict(zip(data["columns"], item, strict=True)) for item in data["items"]]
    assert len(items) == len(HOSTILE) == 200
    for item in items:
        row = rows()[int(item["place"].rpartition(" ")[2]) - 1]
        (role, asked, learned, _), (_, said, is_learned, _) = item["turns"]
        assert (role, learned, is_learned) == ("user", 0, 1)
        assert asked == harmless(row["instruction"]) and said == harmless(row["output"])


def test_data_end_no_element_and_come_back_as_they_were() -> None:
    for text in HOSTILE:
        written = Json([text, {text: 1}]).__html__()
        assert not re.search("[<>&\u2028\u2029]", written)
        assert json.loads(written) == [text, {text: 1}]


def test_the_policy_lets_pass_our_script_and_style_alone(folder: Path) -> None:
    page = read(folder / "run" / "report.html")
    [policy] = [a for tag, a in _Tags(page).tags if tag == "meta" and "http-equiv" in a]
    parts = dict(part.strip().split(" ", 1) for part in str(policy["content"]).split(";"))
    [style] = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    script = page.rpartition("<script>")[2].partition("</script>")[0]
    for name, content in (("style-src", style), ("script-src", script)):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert parts[name] == f"'sha256-{digest}'"
    assert {parts[name] for name in ("default-src", "base-uri", "form-action")} == {"'none'"}


def test_nothing_is_marked_as_safe_and_the_script_writes_no_markup() -> None:
    package = PAGE.parents[1]
    for file in package.rglob("*"):
        if file.suffix in (".py", ".html", ".js"):
            code = read(file)
            assert not re.search(r"\|\s*safe\b|Markup\(|import Markup", code), file
    script = read(PAGE / "page.js")
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(", script
    )
    assert "autoescape=True" in read(PAGE / "build.py") and "StrictUndefined" in read(
        PAGE / "build.py"
    )


def test_the_numbers_are_those_of_the_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    found = smalltolarge.report_page("run")
    table = pq.read_table(folder / "run" / "selection.parquet")
    selected, cluster = table["selected"].to_numpy(), table["cluster"].to_numpy()
    assert (found["rows"], found["selected"]) == (len(table), int(selected.sum())) == (200, 40)
    losses = Trajectories.from_parquet(folder / "losses.parquet")
    losses = losses.align(np.array(table["id"].to_pylist(), dtype="S32"))
    assert losses.n_tokens is not None
    assert found["tokens_selected"] == int(losses.n_tokens[selected].sum())
    for one in found["clusters"]:
        here = cluster == one["cluster"]
        assert (one["size"], one["selected"]) == (here.sum(), (here & selected).sum())
        assert np.allclose(one["median"], np.median(losses.losses[here], axis=0), atol=1e-4)
    assert sum(source["selected"] for source in found["sources"]) == 40
    assert sum(found["lengths"]["rows"]) == 200
    data = data_of(read(folder / "run" / "report.html"))
    assert data["clusters"] == [[one["size"], one["selected"]] for one in found["clusters"]]
    assert "40 of 200 rows chosen" in read(folder / "run" / "report.html")


def test_json_prints_what_python_gives_and_writes_no_page(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "run" / "report.html").unlink()
    said = command_line(tmp_path)("report", "run", "--json").stdout
    assert json.loads(said)["selected"] == 40
    assert not (tmp_path / "run" / "report.html").exists()


def test_figures_are_files_of_their_own(folder: Path) -> None:
    names = {file.stem for file in (folder / "figures").glob("*.svg")}
    assert names == {"curves", "clusters", "sizes", "map", "cartography", "sources", "lengths"}
    for file in (folder / "figures").glob("*.svg"):
        assert "var(" not in read(file)  # which many programs that show SVG do not know
        root = ElementTree.fromstring(file.read_bytes())
        kinds = {element.tag.rpartition("}")[2] for element in root.iter()}
        assert kinds <= {"svg", "style", "rect", "path", "text", "g", "title", "circle"}
        assert not any(
            "href" in name or name.startswith("on") for e in root.iter() for name in e.attrib
        )


@pytest.mark.skipif(
    importlib.util.find_spec("resvg_py") is None, reason="no resvg to draw PNG with"
)
def test_every_figure_is_a_png_of_twice_its_size(folder: Path) -> None:
    for file in (folder / "figures").glob("*.svg"):
        root = ElementTree.fromstring(file.read_bytes())
        head = file.with_suffix(".png").read_bytes()[:24]
        assert head.startswith(b"\x89PNG\r\n\x1a\n")
        size = [int.from_bytes(head[at : at + 4], "big") for at in (16, 20)]
        assert size == [2 * float(root.attrib[name]) for name in ("width", "height")]


def test_without_what_draws_png_a_line_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)  # as if it were not installed
    assert images({"one": Drawing(10, 10, "one")}) == {}
    assert "pip install 'smalltolarge[figures]'" in caplog.text


def test_the_essence_is_printed(folder: Path) -> None:
    said = command_line(folder)("show", "run").stdout
    assert said.startswith("40 of 200 rows chosen")
    assert len(re.findall("[▁▂▃▄▅▆▇█]{8}", said)) >= 5
    assert "\x1b" not in said and "\u202e" not in said


def test_without_the_data_the_page_says_so_and_is_whole(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    s2l = command_line(tmp_path)
    lines = (tmp_path / "data.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "data.jsonl").write_text("".join(lines[::-1]), encoding="utf-8")
    assert "bytes have changed" in s2l("report", "run").stderr
    (tmp_path / "data.jsonl").unlink()
    assert "the page holds no texts of rows" in s2l("report", "run").stderr
    page = read(tmp_path / "run" / "report.html")
    assert "The texts are not here" in page
    assert all(item[-1] is None for item in data_of(page)["items"])


def test_a_changed_file_of_a_run_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "run", tmp_path / "run")
    (tmp_path / "run" / "selection.parquet").write_bytes(b"x")
    s2l = command_line(tmp_path)
    for command in ("report", "show"):
        assert (
            "selection.parquet is missing or not what was written"
            in s2l(command, "run", expect=5).stderr
        )


def test_what_is_no_page_of_ours_is_not_written_over(folder: Path, tmp_path: Path) -> None:
    run, mine = folder / "run", tmp_path / "mine.html"
    mine.write_text("<p>mine</p>")
    with pytest.raises(StaleArtifact, match="is no page of ours"):
        smalltolarge.report_page(run, out=mine)
    assert mine.read_text() == "<p>mine</p>"
    with pytest.raises(RecipeError, match="name it page.html"):
        smalltolarge.report_page(run, out=tmp_path / "page.pdf")
    (tmp_path / "link.html").symlink_to(tmp_path / "elsewhere.html")
    with pytest.raises(RefusedForSafety, match="is a link"):
        smalltolarge.report_page(run, out=tmp_path / "link.html")
    with pytest.raises(MissingArtifact, match="is not a run folder"):
        smalltolarge.report_page(tmp_path)


def test_a_choice_without_losses_has_a_page(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    s2l = command_line(tmp_path)
    s2l("select", "data.jsonl", "--method", "random", "--budget", "30", "--out", "random.jsonl")
    s2l("report", "runs/random", "--out", "page.html")
    page = read(tmp_path / "page.html")
    assert "chosen by random, without a proxy" in page and "A map of the rows" not in page
    assert len(data_of(page)["items"]) == 200
    assert "30 of 200 rows chosen" in s2l("show", "runs/random").stdout


def test_losses_of_one_checkpoint_have_a_page(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    losses = pq.read_table(tmp_path / "losses.parquet").select(["id", "loss_70"])
    losses = losses.replace_schema_metadata()  # whose digest is of all checkpoints
    pq.write_table(losses, tmp_path / "last.parquet")
    s2l = command_line(tmp_path)
    s2l("select", "data.jsonl", "--trajectories", "last.parquet", "--method", "least-confidence",
        "--budget", "30", "--out", "last.jsonl")  # fmt: skip
    s2l("report", "runs/last")
    page = read(tmp_path / "runs" / "last" / "report.html")
    assert "Losses were recorded once" in page and "makes no clusters" in page


FINE: dict[str, Any] = {
    "learning": {"mean_losses": [5.0, 3.0], "of_whole": 0.1},
    "shapes": {"flat": 0.0},
    "origins": {"length": 0.2, "source": 0.2},
    "checkpoints": [0, 10, 20, 30, 40],
    "has_clusters": True,
    "clusters": [{}] * 10,
    "selected": 20,
    "rows": 100,
    "read": 100,
    "truncated": 0,
    "excluded": {},
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, ""),
        ({"learning": {"mean_losses": [5.0, 4.9], "of_whole": 0.1}}, "hardly learned"),
        ({"learning": {"mean_losses": [5.0, 3.0], "of_whole": 0.4}}, "still learning"),
        ({"shapes": {"flat": 0.7}}, "losses of 70% of the rows hardly move"),
        ({"origins": {"length": 0.9, "source": None}}, "random-by-length"),
        ({"origins": {"length": None, "source": 0.9}}, "random-by-source"),
        ({"selected": 9}, "below the number of clusters, 10"),
        ({"truncated": 6}, "6 rows (6%) were cut"),
        ({"read": 110, "excluded": {"empty completion": 10}}, "10 of 110 rows read"),
        ({"checkpoints": [0], "learning": None, "shapes": None}, "recorded once"),
    ],
)
def test_a_warning_is_told_where_there_is_one(change: dict[str, Any], said: str) -> None:
    told = facts.warnings(FINE | change)
    assert bool(told) is bool(said)
    assert said in " ".join(told)


def test_rows_that_move_in_a_strange_way_are_found() -> None:
    chosen: Any = type("Chosen", (), {})()
    falling = np.tile(np.linspace(4, 1, 6), (40, 1)) + np.linspace(-0.5, 0.5, 40)[:, None]
    odd = np.array(
        [[2, 2, 2, 2, 2, 2], [3, 1, 3, 1, 3, 1], [4, 4, 4, 3.9, 3.9, 3.8], [4, 1, 0.5, 1, 2, 2.4]]
    )
    losses = np.concatenate([odd, falling]).astype(np.float32)
    chosen.selected = np.arange(44) < 2
    shapes = Shapes.of(losses)
    assert shapes is not None
    found = {one["name"]: one for one in facts._calls(chosen, losses, shapes)}
    assert found["flat"]["examples"] == [0] and found["flat"]["selected"] == 1
    assert found["noisy"]["examples"][0] == 1
    assert 2 in found["never learned"]["examples"]
    assert 3 in found["forgotten"]["examples"]


def test_a_run_that_trained_its_proxy_has_a_page_and_an_inspection(
    finished: str, tmp_path: Path, s2l: Cli
) -> None:
    assert finished.rstrip().endswith("s2l report runs/subset")
    s2l("inspect", "runs/subset", "--no-gradients", "--seeds", "2")
    s2l("report", "runs/subset", "--out", "page.html")
    page = read(tmp_path / "page.html")
    assert "3. Are the clusters stable?" in page and "The proxy took" in page
    assert s2l("show", "runs/subset").stdout.startswith("24 of 120 rows chosen")
    s2l("record", "data.jsonl", "--out", "t.parquet", "--run", "runs/recorded", *RECORDING)
    s2l("report", "runs/recorded", "--out", "recorded.html")
    assert "This run recorded losses and chose nothing" in read(tmp_path / "recorded.html")


def test_a_comparison_has_a_page_with_the_numbers_of_its_table(tmp_path: Path, s2l: Cli) -> None:
    rows = [{"prompt": f"What is {n} + 1?", "completion": str(n + 1)} for n in range(60)]
    for name, part in (("data", rows[:40]), ("held-out", rows[40:])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    target = {
        "target": "scratch-0.1m",
        "trainer": "own",
        "epochs": 1,
        "template": "alpaca",
        "threads": 1,
    }
    recipe = {
        "data": ["data.jsonl"], "methods": ["longest", "untuned"], "budgets": ["20%", "50%"],
        "seeds": [0], "target": target, "evaluation": {"held_out": ["held-out.jsonl"]},
    }  # fmt: skip
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(recipe))
    assert s2l("run", "two.yaml").stdout.rstrip().endswith("s2l report runs/two")
    s2l("report", "runs/two", "--figures", "figures")
    page = read(tmp_path / "runs" / "two" / "report.html")
    for row in json.loads((tmp_path / "runs" / "two" / "table.json").read_bytes())["rows"]:
        assert f'data-value="{row["main"]["mean"]}"' in page
    assert "random sampling" in page and {f.name for f in (tmp_path / "figures").glob("*.svg")} == {
        "epochs-main.svg", "epochs-to-random.svg",
    }  # fmt: skip
    lines = (tmp_path / "figures/epochs-main.svg").read_text()
    assert all(f">{name}</text>" in lines for name in ("all rows", "untuned", "longest", "random"))


def answers() -> list[dict[str, Any]]:
    """Give answers that are right, wrong, without an answer, and by a failed program."""
    made = []
    for n, text in enumerate(HOSTILE):
        kind = n % 4
        made.append(
            {
                "task": "hostile", "question": text, "reference": text, "form": "pot",
                "prompt": text, "completion": text, "found": None if kind == 2 else text,
                "score": [1.0, 0.0, 0.0, 1.0][kind], "truncated": n % 10 == 0,
                "failed_program": text if kind == 3 else None, "completions": [text],
                "printed": text, "stderr": text,
            }
        )  # fmt: skip
    return made


def evaluation(folder: Path) -> str:
    """Write the page of an evaluation whose every text is hostile."""
    values = {"model": HOSTILE[0].replace("\ud800", ""), "evaluation": {"tasks": ["svamp"]}}
    folder.mkdir(exist_ok=True)
    load = {"facts": {"recipe": values, "inputs": []}, "measured": {}, "outputs": {}}
    (folder / "manifest.json").write_bytes(as_bytes({"load": load}))
    score = Score(
        task="hostile", measure="accuracy", value=0.5, error=0.035, questions=200, unanswered=50,
        truncated=20, failed_programs={HOSTILE[1]: 50}, measures={},
    )  # fmt: skip
    page, _ = scores.evaluation_page(Run.open(folder), [score], answers())
    return page.encode("utf-8", "backslashreplace").decode()


def comparison(folder: Path, names: Sequence[str] = HOSTILE[::11]) -> str:
    """Write the page of a comparison of methods of these names; those of the rest are hostile."""
    folder.mkdir(exist_ok=True)
    (folder / "manifest.json").write_bytes(as_bytes({}))
    clean = [text.replace("\ud800", "") for text in names]
    results = [
        ArmResult(
            arm=Arm(method, budget, seed, "epochs"), rows=rows, steps=3, tokens=100, flops=1.0,
            seconds=1.0, seconds_selecting=0.1, seconds_evaluating=1.0, train_loss=2.0,
            scores={name: [place % 2, 1, seed % 2] for name in clean[:2]},
            unanswered={}, truncated={}, losses={}, failed_programs={clean[0]: {clean[1]: 1}},
        )
        for place, method in enumerate(["full", "random", "s2l", *clean])
        for budget, rows in ([("100%", 99)] if method == "full" else [("9%", 9), (clean[2], 30)])
        for seed in range(2 if place < 20 else 1)
    ]  # fmt: skip
    table = tabulate(results, {"s2l": ""}, {"": {"flops": 1.0, "seconds": 1.0}})
    page, _ = scores.comparison_page(Run.open(folder), table)
    return page


def test_hostile_names_of_a_comparison_are_shown_as_text(tmp_path: Path) -> None:
    page = comparison(tmp_path / "run", HOSTILE)
    tags = _Tags(page).tags
    assert not {tag for tag, _ in tags} & {"img", "iframe", "object", "form", "base", "math"}
    assert sum(tag == "script" for tag, _ in tags) == 1
    found = html.unescape(page)
    assert all(harmless(text) in found for text in HOSTILE if "\ud800" not in text)


def test_hostile_answers_are_shown_as_text(tmp_path: Path) -> None:
    page = evaluation(tmp_path / "run")
    tags = _Tags(page).tags
    assert not {tag for tag, _ in tags} & {"img", "iframe", "object", "form", "base", "math"}
    assert sum(tag == "script" for tag, _ in tags) == 2
    data = data_of(page)
    verdicts = [item[data["columns"].index("verdict")] for item in data["items"]]
    assert {word: verdicts.count(word) for word in set(verdicts)} == {
        "right": 100, "wrong": 50, "unanswered": 50,
    }  # fmt: skip
    assert "50.0% of the answers are right" in page


def test_ticks_are_round_and_inside() -> None:
    for low, high in [(0, 7), (0.31, 0.34), (-3, 12), (0, 1e6), (2.0, 2.0)]:
        found = Scale(low, high, 0, 100).ticks()
        assert all(low <= value <= high for value in found)
    assert Scale(1, 1000, 0, 90, is_log=True)(10) == pytest.approx(30)
    drawing = Drawing(10, 10, "<b>&\x00")
    drawing.text(0, 0, "<b>&\x00")
    assert ElementTree.fromstring(drawing.to_svg()).attrib["aria-label"] == "<b>&\\x00"


# In a browser.

browser_is_there = pytest.mark.skipif(
    CHROMIUM is None or importlib.util.find_spec("playwright") is None,
    reason="no Chromium, or no playwright, to open pages in",
)
Open = Callable[..., Any]


class Tab:
    """A tab of a browser, in which one page after the other is opened, and what goes wrong there.

    A process for every page would cost more than all that is tried in it.
    """

    def __init__(self, browser: Any, script: bool) -> None:
        context = browser.new_context(java_script_enabled=script, reduced_motion="reduce")
        self.wrong: list[str] = []
        self.asked: list[str] = []
        self.page = context.new_page()
        self.page.on("console", lambda message: self.wrong.append(message.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda dialog: self.wrong.append(dialog.message))
        self.page.on("request", lambda request: self.asked.append(request.url.partition("#")[0]))

    def open(self, file: Path, width: int, scheme: str) -> Any:
        """Open a file anew."""
        self.page.set_viewport_size({"width": width, "height": 800})
        self.page.emulate_media(color_scheme=scheme)
        self.page.goto(file.as_uri())
        return self.page


@pytest.fixture(scope="module")
def tabs() -> Iterator[dict[bool, Tab]]:
    """A tab with scripts, and one without."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield {script: Tab(browser, script) for script in (True, False)}
        browser.close()


@pytest.fixture
def open_page(tabs: dict[bool, Tab]) -> Iterator[Open]:
    """Give a function that opens a page; at the end nothing may have gone wrong in it."""
    used: list[tuple[Tab, Path]] = []

    def opened(file: Path, width: int = 1280, scheme: str = "light", script: bool = True) -> Any:
        tab = tabs[script]
        tab.wrong.clear()
        tab.asked.clear()
        used.append((tab, file))
        return tab.open(file, width, scheme)

    yield opened
    for tab, file in used:
        assert tab.page.evaluate("typeof window.ran") == "undefined"
        assert not tab.wrong
        assert set(tab.asked) == {file.as_uri()}


@pytest.fixture(scope="module")
def pages(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of a selection, of an evaluation, and of a comparison."""
    there = tmp_path_factory.mktemp("pages")
    for write in (evaluation, comparison):
        (there / f"{write.__name__}.html").write_text(write(there / "run"), encoding="utf-8")
    return {
        "selection": folder / "run" / "report.html",
        "evaluation": there / "evaluation.html",
        "comparison": there / "comparison.html",
    }


@browser_is_there
@pytest.mark.parametrize("kind", ["selection", "evaluation", "comparison"])
def test_a_page_fits_a_phone_and_can_be_read(
    kind: str, pages: dict[str, Path], open_page: Open
) -> None:
    page = open_page(pages[kind], 390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    if kind != "comparison":
        page.click("#items button >> nth=0")
        assert page.evaluate("document.querySelector('#reader').scrollWidth") <= 390
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        low = page.evaluate(CONTRAST)
        assert not low, low


CONTRAST = """() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => [r, g, b].map(linear)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (one) => { for (; one; one = one.parentElement) {
    const found = rgb(getComputedStyle(one).backgroundColor);
    if (found.length < 4 || found[3] > 0) return found; } return [255, 255, 255]; };
  const low = [];
  for (const one of document.querySelectorAll(
      "p, h1, h2, h3, td, th, dt, dd, span, b, em, label, button, summary, svg text")) {
    if (!one.checkVisibility() || !one.textContent.trim()) continue;
    if (one.classList.contains("inside")) continue; // on a bar
    const style = getComputedStyle(one), svg = one.namespaceURI.includes("svg");
    const a = light(rgb(svg ? style.fill : style.color));
    const b = light(behind(svg ? document.body : one));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) low.push([one.outerHTML.slice(0, 90), ratio.toFixed(2)]);
  }
  return low;
}"""


@browser_is_there
@pytest.mark.parametrize("kind", ["selection", "evaluation", "comparison"])
def test_headings_names_and_tables_are_there_for_a_screen_reader(
    kind: str, pages: dict[str, Path], open_page: Open
) -> None:
    page = open_page(pages[kind])
    levels = page.evaluate(
        "[...document.querySelectorAll('main :is(h1,h2,h3)')].map((one) => Number(one.tagName[1]))"
    )
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    nameless = """() => {
      const named = (one) => one.textContent.trim() || one.ariaLabel || one.labels?.length
        || one.getAttribute("aria-labelledby");
      const all = "button, select, input, svg[role=img], [role=region], dialog";
      return [...document.querySelectorAll(all)].filter((one) => !named(one)).map(String); }"""
    assert page.evaluate(nameless) == []
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.evaluate(
        "[...document.querySelectorAll('table')].every((one) => one.querySelector('th[scope=row]'))"
    )


@browser_is_there
@pytest.mark.skipif(AXE is None, reason="axe_playwright_python is not installed")
@pytest.mark.parametrize("kind", ["selection", "evaluation", "comparison"])
def test_axe_finds_nothing(kind: str, pages: dict[str, Path], open_page: Open) -> None:
    page = open_page(pages[kind])
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert AXE is not None and AXE.origin is not None
    page.evaluate(read(Path(AXE.origin).with_name("axe.min.js")))
    # its check of contrast takes long, and ours looks at the same
    only = "{resultTypes: ['violations'], rules: {'color-contrast': {enabled: false}}}"
    found = page.evaluate(f"axe.run({only})")["violations"]
    if kind != "comparison":
        page.click("#items button >> nth=0")
        found += page.evaluate(f"axe.run('#reader', {only})")["violations"]
    assert not [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in found]


@browser_is_there
def test_a_cluster_a_point_and_a_search_lead_to_rows(
    pages: dict[str, Path], open_page: Open
) -> None:
    page = open_page(pages["selection"])
    data = data_of(read(pages["selection"]))
    assert page.inner_text("#count") == "200 of 200 here."
    page.click("a.panel[data-cluster='2']")
    size = data["clusters"][2][0]
    assert page.inner_text("#count") == f"{size} of 200 here."
    page.keyboard.press("Enter")  # the first of the list has the focus
    assert page.inner_text("#reader-count") == f"1 of {size}"
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#reader-count") == f"2 of {size}"
    assert re.search(r"Cluster 2 has \d+ rows and gave \d+", page.inner_text("#reader-body"))
    assert page.evaluate("document.querySelectorAll('#reader-body .turn.learned').length") == 1
    page.keyboard.press("Escape")
    page.select_option("[data-filter=cluster]", "")
    page.keyboard.press("/")
    page.fill("#search", "137 <")
    page.wait_for_function("document.querySelectorAll('#items li').length === 1")
    page.fill("#search", "")
    page.select_option("[data-filter=taken]", "1")
    assert page.inner_text("#count") == "40 of 200 here."
    page.click(".wide [data-source='0'] text >> nth=0")
    page.select_option("[data-filter=taken]", "1")
    taken = [item for item in data["items"] if item[4] and item[2] == data["sources"][0]]
    assert page.inner_text("#count") == f"{len(taken)} of 200 here."


@browser_is_there
def test_the_address_of_what_is_read_opens_it_again(
    pages: dict[str, Path], open_page: Open
) -> None:
    page = open_page(pages["selection"])
    page.click("#items button >> nth=3")
    title, address = page.inner_text("#reader-title"), page.evaluate("location.href")
    page.keyboard.press("Escape")
    page.wait_for_function("location.hash === ''")
    page.goto(address)
    page.reload()
    assert page.inner_text("#reader-title") == title


@browser_is_there
def test_a_map_is_read_by_pointer_and_by_keyboard(pages: dict[str, Path], open_page: Open) -> None:
    page = open_page(pages["selection"])
    data = data_of(read(pages["selection"]))
    plane = page.locator("[data-plane='0']")
    plane.scroll_into_view_if_needed()
    frame = plane.locator("svg").bounding_box()
    scale = frame["width"] / 430
    x, y = data["planes"][0][0][7], data["planes"][0][1][7]
    plane.click(position={"x": x * scale, "y": y * scale})
    assert page.evaluate("document.querySelector('#reader').open")
    page.keyboard.press("Escape")
    plane.focus()
    for key in ("ArrowRight", "ArrowUp", "Enter"):
        page.keyboard.press(key)
    assert page.evaluate("document.querySelector('#reader').open")
    page.keyboard.press("Escape")
    seen = """[...document.querySelectorAll("svg .by-source, svg .by-choice")]
      .filter((one) => getComputedStyle(one).display !== "none")
      .map((one) => one.getAttribute("class"))"""
    assert set(page.evaluate(seen)) == {"by-choice"}
    page.check("#colour-source")
    assert set(page.evaluate(seen)) == {"by-source"}


@browser_is_there
def test_answers_are_filtered_and_read(pages: dict[str, Path], open_page: Open) -> None:
    page = open_page(pages["evaluation"])
    for verdict, count in (("wrong", 50), ("unanswered", 50), ("failed", 50), ("truncated", 20)):
        page.select_option("[data-filter=verdict]", verdict)
        assert page.inner_text("#count") == f"{count} of 200 here."
    page.select_option("[data-filter=verdict]", "failed")
    page.click("#items button >> nth=0")
    answer = answers()[3]
    for heading, name in {
        "completion, the program that ran": "completion", "what it printed": "printed",
        "its standard error": "stderr", "why it gave no answer": "failed_program",
    }.items():  # fmt: skip
        text = page.text_content(f".turn:has(h3:text-is('{heading}')) pre")
        assert text == harmless(answer[name])


@browser_is_there
@pytest.mark.parametrize("kind", ["selection", "evaluation"])
def test_every_item_is_opened_and_nothing_of_it_runs(
    kind: str, pages: dict[str, Path], open_page: Open
) -> None:
    page = open_page(pages[kind])
    page.click("#items button >> nth=0")
    markup = """() => {
      const found = () => document.querySelectorAll(
        "#reader-body :is(script, img, iframe, a, form, b, object, math, svg [onload])").length;
      let count = found();
      for (let n = 0; n < 199; n++) { document.querySelector("#after").click(); count += found(); }
      return count; }"""
    assert page.evaluate(markup) == 0
    assert page.inner_text("#reader-count") == "200 of 200"


@browser_is_there
def test_a_copied_table_holds_no_formula(pages: dict[str, Path], open_page: Open) -> None:
    page = open_page(pages["selection"])
    page.evaluate("""() => { window.copied = "";
      navigator.clipboard.writeText = async (text) => { window.copied = text; };
      document.querySelectorAll("details").forEach((one) => { one.open = true; });
      const cell = document.querySelector("#sources ~ details tbody th");
      cell.textContent = "=1+1"; }""")
    page.click("#sources ~ details [data-copy]")
    page.wait_for_function("window.copied")
    lines = page.evaluate("window.copied").splitlines()
    assert lines[0].startswith("source,rows,share")
    assert lines[1].startswith("'=1+1,")


@browser_is_there
def test_without_its_script_a_page_has_headline_figures_and_tables(
    pages: dict[str, Path], open_page: Open
) -> None:
    page = open_page(pages["selection"], script=False)
    assert "40 of 200 rows chosen" in page.inner_text("h1")
    assert page.locator("main svg").count() > 8
    assert page.locator("details table").count() >= 3
    assert "needs its own script" in page.inner_text("#read >> xpath=..")
