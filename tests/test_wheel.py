"""What is installed is all that is needed: the wheel, in an empty folder, away from its source."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from smalltolarge.runs import recipe as recipes

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("hatchling") is None, reason="hatchling is not installed"
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.iterdir()
    return built


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"smalltolarge"}
    assert {f"smalltolarge/runs/recipes/{name}.yaml" for name in recipes.ready_made()} <= set(names)
    assert "smalltolarge/evaluation/lm_eval_tasks/s2l_math.yaml" in names
    page = ("page.js", "page.css", "figures.css", "templates/base.html")
    assert {f"smalltolarge/report/page/{name}" for name in page} <= set(names)


def test_an_installed_wheel_selects_and_compares_in_an_empty_folder(
    wheel: Path, tmp_path: Path
) -> None:
    home, folder = tmp_path / "home", tmp_path / "empty"
    venv.create(home, with_pip=False, symlinks=True)
    there = Path(sysconfig.get_path("purelib", vars={"base": str(home)}))
    (there / "those_of_the_tests.pth").write_text(sysconfig.get_path("purelib"))
    folder.mkdir()
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=folder, env=outside, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    python = str(home / "bin" / "python")
    install = ["install", "--quiet", "--no-index", "--no-deps", "--disable-pip-version-check"]
    run(sys.executable, "-m", "pip", "--python", python, *install, str(wheel))
    s2l = str(home / "bin" / "s2l")
    where = "import smalltolarge; print(smalltolarge.__file__)"
    assert run(python, "-c", where).startswith(str(home))

    run(s2l, "sample-data", "demo/data", "--rows", "200")
    short = [
        "--proxy",
        "scratch-0.1m",
        "--epochs",
        "1",
        "--checkpoints",
        "2",
        "--clusters",
        "10",
        "--threads",
        "1",
    ]
    run(s2l, "select", "demo/data/train.jsonl", "--budget", "11%", "--out", "demo/subset.jsonl",
        *short)  # fmt: skip
    assert len((folder / "demo/subset.jsonl").read_text().splitlines()) == 22

    assert all(name in run(s2l, "run") for name in recipes.ready_made())
    fewer = ["methods=[longest]", "seeds=[0]", "evaluation.questions=1", "target.threads=1"]
    fewer += ["target.target=scratch-0.1m", "target.epochs=1"]
    shown = run(s2l, "run", "smoke", *(word for one in fewer for word in ("--set", one)))
    assert "longest" in shown and (folder / "runs/smoke/table.md").is_file()
