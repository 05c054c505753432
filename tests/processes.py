"""Programs in processes of their own, most of which find their libraries loaded.

Loading torch and transformers takes seconds, and most of what the tests run computes for less than
one. Here they are loaded once, by a process that does nothing else, and each program is a fork of
it: with its own folder, environment, output, signals and exit code.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

SECONDS = 300
"""How long a program may take."""
LOADED = [
    __name__,
    "faiss",
    "pandas",
    "peft",
    "pytest",
    "smalltolarge.verbs.evaluate",
    "smalltolarge.cli.commands",
    "smalltolarge.runs.arms",
    "smalltolarge.lm",
    "smalltolarge.runs.recipe",
    "smalltolarge.report",
    "smalltolarge.verbs.export",
    "smalltolarge.verbs.report",
    "torch._dynamo",
    "transformers.models.gpt_neox.modeling_gpt_neox",
    "transformers.trainer",
    "trl.trainer.sft_trainer",
]
forks = multiprocessing.get_context("forkserver")
"""Where they are loaded; ``forks.Process`` runs a function in a fork of it."""
forks.set_forkserver_preload(LOADED)


def fresh_python(
    words: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run ``python WORDS`` in ``folder``."""
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def python(
    words: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run ``python WORDS`` in ``folder``: ``-m MODULE`` or a script, with libraries loaded.

    What a library reads from the environment when it is loaded is that of the tests.
    """
    with tempfile.TemporaryDirectory() as place:
        files = [Path(place, name) for name in ("stdout", "stderr")]
        process = start(words, folder, environment, files)
        process.join(SECONDS)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(list(words), SECONDS)
        said = [file.read_text(encoding="utf-8") for file in files]
    return subprocess.CompletedProcess(list(words), process.exitcode, *said)


def start(
    words: Sequence[str], folder: Path, environment: Mapping[str, str], files: Sequence[Path]
) -> BaseProcess:
    """Begin what ``python`` runs to its end; what it prints goes to two ``files``."""
    process = forks.Process(target=_run, args=(words, folder, dict(environment), files))
    process.start()
    return process


def _run(
    words: Sequence[str], folder: Path, environment: dict[str, str], files: Sequence[Path]
) -> None:
    for number, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    if words[0] == "-m":
        sys.argv = list(words[1:])
        sys.path.insert(0, str(folder))
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(words)
        sys.path.insert(0, str(Path(words[0]).parent))
        runpy.run_path(words[0], run_name="__main__")
