"""The parts of gpu.py, each of which it runs in a process of its own."""

from __future__ import annotations

import argparse
import copy
import hashlib
import importlib.util
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import bench_select
import bench_train
import numpy as np
import torch
import transformers
import workload
from bench_score import score as score_once
from gpu import Findings
from profile_record import busy

from smalltolarge import wordproblems
from smalltolarge.errors import Interrupted, S2LError
from smalltolarge.examples import Message
from smalltolarge.lm import models, record
from smalltolarge.lm.device import find_device, fixed, uses_bfloat16
from smalltolarge.lm.generation import Answerer
from smalltolarge.lm.recording import find_losses
from smalltolarge.lm.training import Training
from smalltolarge.progress import Watch
from smalltolarge.runs.arms import list_arms, missing_arms, read_table
from smalltolarge.runs.recipe import find_recipe, read_yaml
from smalltolarge.runs.results import Run as Results
from smalltolarge.settings import ModelSettings, cores
from smalltolarge.verbs.run import read_comparison, run_comparison

ROOT = Path(__file__).resolve().parents[1]
NEEDED = ("datasets", "faiss", "pydantic", "zstandard", "accelerate", "gguf", "triton", "pytest")
SHAPES = {False: ("70m", "410m", "135m-llama"), True: ("0.1m", "0.1m-llama")}
FAMILIES = {
    False: ("70m", "135m-llama", "120m-qwen2"),
    True: ("0.1m", "0.1m-llama", "0.1m-qwen2"),
}
"""Of GPT-NeoX, Llama and Qwen2; keyed by whether small shapes are asked for, as above."""


@dataclass(frozen=True)
class Run:
    """What a part is given."""

    part: str
    device: torch.device
    tiny: bool
    until: float
    """When the part is ended, on the monotonic clock."""
    out: Path
    model: str
    study: str

    @property
    def bfloat16(self) -> bool:
        """Whether models compute in bfloat16: on a GPU, and in the small form everywhere."""
        return self.tiny or uses_bfloat16("auto", self.device)

    def sized(self, whole: int, tiny: int) -> int:
        """Choose the size for the form that is asked for."""
        return tiny if self.tiny else whole

    def left(self) -> float:
        """Give the seconds left."""
        return self.until - time.monotonic()

    def add(self, what: str, value: float | None = None, **more: Any) -> None:
        """Write a finding down."""
        Findings(self.out / "results.jsonl").add(self.part, what, value, **more)

    @contextmanager
    def trying(self, what: str) -> Iterator[None]:
        """Write down why something cannot be measured, and go on after it."""
        try:
            yield
        except Exception as error:  # whatever hardware or a library raises
            traceback.print_exc()
            reason = (str(error).strip() or repr(error)).splitlines()[0][:300]
            self.add(what, note=f"FAILED: {type(error).__name__}: {reason}")
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def rows(self, n: int, model: str, **settings: Any) -> Any:
        """Make rows with the lengths of MathInstruct."""
        precision = "bfloat16" if self.bfloat16 else "float32"
        asked = {"precision": precision, "device": str(self.device)} | settings
        return workload.rows(n, model, lengths="mathinstruct", **asked)

    def peak_flops(self) -> float:
        """Measure the fastest matrix product."""
        return workload.peak_flops(self.device, size=256 if self.tiny else None)

    def seconds(self, work: Callable[[], Any]) -> float:
        """Time some work once."""
        began = time.perf_counter()
        work()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began


def machine(run: Run) -> None:
    """Say what is measured on, and what is missing."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    missing += [tool for tool in ("gcc",) if shutil.which(tool) is None]
    card = workload.machine(run.device, cores())
    if run.device.type == "cuda":
        found = torch.cuda.get_device_properties(run.device)
        card = f"{found.name}, {found.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    run.add(card, note=f"{versions}, Python {platform.python_version()}")
    run.add("cores", cores(), note=platform.machine())
    run.add("missing", len(missing), note=", ".join(missing))


def correct(run: Run) -> None:
    """Run the tests of a GPU; compare losses with plain transformers; record twice."""
    for model in FAMILIES[run.tiny]:
        with run.trying(f"{model}: losses"):
            _compare(run, model)
    for precision in ("bfloat16", "float32"):
        with run.trying(f"two recordings, {precision}"):
            prepared = run.rows(
                run.sized(512, 16), SHAPES[run.tiny][0], precision=precision, epochs=1
            )
            found = [
                hashlib.sha256(record(prepared).trajectories.losses.tobytes()).hexdigest()[:12]
                for _ in range(2)
            ]
            same = float(found[0] == found[1])
            run.add(f"two recordings, {precision}: one digest", same, goal="at least 1",
                    note=", ".join(found))  # fmt: skip
    with run.trying("tests/test_gpu.py"):
        _test(run)


def _compare(run: Run, model: str) -> None:
    """Compare losses of the packed path with those of plain transformers in float32."""
    prepared = run.rows(run.sized(64, 8), model)
    plain = models.load(prepared.model, 0).to(run.device)
    wanted = workload.one_at_a_time(plain, prepared)
    rounded = workload.one_at_a_time(plain, prepared, dtype=torch.bfloat16)
    usual = np.abs(rounded - wanted).max()
    for bfloat16, bound in ((False, "0.001"), (True, "0.1")):
        built = copy.deepcopy(plain)
        losses = find_losses(prepared, built, run.device, bfloat16)
        built.eval()
        found = np.abs(score_once(prepared, losses, run.device) - wanted)
        precision = "bfloat16" if bfloat16 else "float32"
        note = f"mean {found.mean():.1e}; taken from {losses.way}"
        if bfloat16:
            note += f"; plain transformers in bfloat16: largest {usual:.1e}"
        run.add(f"{model}, {precision}: largest difference", float(found.max()),
                goal=f"at most {bound}", note=note)  # fmt: skip
        run.add(f"{model}, {precision}: packed", float(losses.way == "packed"), goal="at least 1")


def _test(run: Run) -> None:
    report = run.out / "test_gpu.xml"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--junit-xml={report}"]
    done = subprocess.run([*command, "tests/test_gpu.py"], cwd=ROOT, check=False)
    suite = next(ElementTree.parse(report).iter("testsuite"))
    number = {key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")}
    bad = [
        f"{case.get('name')}: {(wrong.get('message') or '').splitlines()[0][:200]}"
        for case in suite.iter("testcase")
        for wrong in (*case.iter("failure"), *case.iter("error"))
    ]
    passed = number["tests"] - number["failures"] - number["errors"] - number["skipped"]
    run.add("tests/test_gpu.py: passed", passed, note=f"{number['skipped']} skipped")
    run.add("tests/test_gpu.py: failed", len(bad), goal="at most 0",
            note="; ".join(bad) or f"exit code {done.returncode}")  # fmt: skip


def ceiling(run: Run) -> None:
    """Measure the two ceilings: the matrix product, and memory."""
    run.add("matrix product", run.peak_flops() / 1e12, unit="TFLOP/s")
    size = run.sized(2**31, 2**26)
    source = torch.empty(size, dtype=torch.uint8, device=run.device).fill_(1)
    target = torch.empty_like(source)
    best = min(workload.timed(lambda: target.copy_(source), 10, run.device))
    run.add("copy on the device", 2 * size / best / 1e9, unit="GB/s", note="read and written")


def score(run: Run) -> None:
    """Score rows, and as many one at a time as fit the time."""
    peak = run.peak_flops()
    for model in SHAPES[run.tiny]:
        with run.trying(f"{model}: scoring"):
            _score(run, model, peak)


def _score(run: Run, model: str, peak: float) -> None:
    prepared = run.rows(run.sized(8192 if model == "70m" else 4096, 32), model)
    plain = models.load(prepared.model, 0).to(run.device)
    built = copy.deepcopy(plain)
    losses = find_losses(prepared, built, run.device, run.bfloat16)
    built.eval()
    work = partial(score_once, prepared, losses, run.device)
    ours = work()
    took = statistics.median(run.seconds(work) for _ in range(run.sized(3, 1)))
    rate = prepared.plan.tokens / took
    flops = prepared.plan.scoring_flops / len(prepared.plan.checkpoints)
    run.add(f"{model}: ours", rate, unit="tokens/s", note=_memory(run))
    run.add(f"{model}: share of the matrix product", 100 * flops / took / peak, unit="%",
            goal="at least 35" if model == "410m" else "")  # fmt: skip
    for dtype, limit in ((None, 20.0), (torch.bfloat16, 5.0)):
        limit = min(limit if not run.tiny else 0.2, run.left() / 4)
        workload.one_at_a_time(plain, prepared, limit / 20, dtype)  # warms up
        began = time.perf_counter()
        theirs = workload.one_at_a_time(plain, prepared, limit, dtype)
        speed = prepared.order.lengths[: len(theirs)].sum() / (time.perf_counter() - began)
        name = "float32" if dtype is None else "bfloat16"
        apart = np.abs(ours[: len(theirs)] - theirs).max()
        note = f"{len(theirs)} rows; largest difference of a loss {apart:.1e}"
        run.add(f"{model}: one at a time, {name}", speed, unit="tokens/s", note=note)
        goal = "at least 100" if model == "70m" and dtype is None else ""
        run.add(f"{model}: ours to one at a time, {name}", rate / speed, goal=goal)


def train(run: Run) -> None:
    """Train by ours and by transformers' Trainer."""
    peak = run.peak_flops()
    for model in SHAPES[run.tiny]:
        for batch in (32, 128) if model == "70m" else (32,):
            name = f"{model}, batches of {batch}"
            with run.trying(name):
                _train(run, model, batch, name, peak)


def _train(run: Run, model: str, batch: int, name: str, peak: float) -> None:
    steps = run.sized(96, 3)
    prepared = run.rows(batch * steps, model, batch_size=batch, learning_rate=2e-5)
    flops = prepared.plan.training_flops / prepared.plan.training_tokens
    work = bench_train.ours(prepared, run.device, bfloat16=run.bfloat16)
    rate = statistics.median(work() for _ in range(run.sized(3, 1)))
    run.add(f"{name}: ours", rate, unit="tokens/s", note=_memory(run))
    run.add(f"{name}: share of the matrix product", 100 * rate * flops / peak, unit="%")
    with run.trying(f"{name}: Trainer"):
        work = bench_train.theirs(prepared, run.device, "grouped", bfloat16=run.bfloat16)
        speed = work()
        run.add(f"{name}: Trainer, grouped by length", speed, unit="tokens/s")
        run.add(f"{name}: ours to Trainer", rate / speed)


def record_all(run: Run) -> None:
    """Record a sixteenth of the rows; all of them where that fits; see where a GPU waits."""
    model, all_rows = SHAPES[run.tiny][0], run.sized(262_144, 64)
    goal = "" if run.tiny else "at most 300"
    with run.trying("where the device waits"):
        _waits(run, model)
    estimate = _record(run, model, all_rows // 16, "1/16 of the rows") * 16
    run.add("all rows, estimated", estimate, unit="s", goal=goal, note="16 times 1/16")
    if estimate * 1.1 + 15 < run.left():
        _record(run, model, all_rows, "all rows", goal)
    else:
        run.add("all rows", note=f"not tried: {run.left():.0f} s were left")


def _record(run: Run, model: str, n: int, name: str, goal: str = "") -> float:
    prepared = run.rows(n, model, epochs=3, checkpoints=12)
    began = time.perf_counter()
    facts = record(prepared).facts
    took = time.perf_counter() - began
    stages = {kind: facts[f"seconds_{kind}"] for kind in ("training", "scoring")}
    stages["loading and probing"] = took - sum(stages.values())
    note = f"{n:,} rows, {prepared.plan.tokens:,} tokens, {prepared.plan.steps:,} steps"
    run.add(name, took, unit="s", goal=goal, note=f"{note}; {_memory(run)}")
    for stage, seconds in stages.items():
        note = ""
        if stage in ("training", "scoring"):
            note = f"{facts[f'{stage}_tokens_per_second']:,.0f} tokens/s"
        run.add(f"{name}: {stage}", 100 * seconds / took, unit="%", note=note)
    return took


def _waits(run: Run, model: str) -> None:
    """Profile ten training steps, and the scoring of as many examples."""
    prepared = run.rows(32 * run.sized(64, 2), model, batch_size=32)
    built = models.load(prepared.model, 0).to(run.device)
    losses = find_losses(prepared, built, run.device, run.bfloat16)
    training = Training(prepared, losses, run.device)

    def ten_steps() -> None:
        for _ in range(run.sized(10, 2)):
            training.advance()

    def scoring() -> None:
        built.eval()
        score_once(prepared, losses, run.device)

    for name, work in (("ten training steps", ten_steps), ("scoring", scoring)):
        work()
        wall = run.seconds(work)
        working, kernels = busy(work, run.device)
        largest = sorted(kernels, key=lambda key: -kernels[key])[:8]
        note = ", ".join(f"{key[:60]} {kernels[key] / working:.0%}" for key in largest)
        run.add(f"{name}: wall time", 1000 * wall, unit="ms")
        run.add(f"{name}: no kernel runs", 100 * max(0.0, 1 - working / wall), unit="%", note=note)


def generate(run: Run) -> None:
    """Answer questions greedily, in batches of several sizes."""
    settings = ModelSettings(
        device=str(run.device), precision="bfloat16" if run.bfloat16 else "float32"
    )
    sizes = (8, 16) if run.tiny else (64, 128, 256, 512)
    kind = run.model
    try:
        answerer = Answerer.load(run.model, settings)
        rows = wordproblems.training_rows(max(sizes), seed=0)
        asked: Sequence[Any] = [[Message("user", row["instruction"])] for row in rows]
    except (S2LError, OSError, ImportError) as error:
        answerer, asked = _random_answerer(run, settings, max(sizes))
        kind = f"random weights, {answerer.described.name}"
        reason = " ".join(str(error).split())[:300]
        run.add("model", note=f"{run.model} cannot be had, so {kind}: {reason}")
    new = run.sized(256, 8)
    answerer.answers(asked[:8], max_new_tokens=8, batch_size=8)
    for size in sizes:
        with run.trying(f"batches of {size}"):
            work = partial(answerer.answers, asked[:size], max_new_tokens=new, batch_size=size)
            took = run.seconds(work)
            run.add(f"batches of {size}", size / took, unit="answers/s",
                    note=f"{kind}; up to {new} tokens; {_memory(run)}")  # fmt: skip


class _OfTokens(Answerer):
    """Is asked by tokens, for its tokenizer knows no words."""

    def prompts(self, conversations: Sequence[Any]) -> list[np.ndarray]:
        return list(conversations)


def _random_answerer(
    run: Run, settings: ModelSettings, n: int
) -> tuple[Answerer, list[np.ndarray]]:
    """Give a model of random weights and n prompts, that never end an answer."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    prepared = run.rows(n, SHAPES[run.tiny][-1])
    words = Tokenizer(WordLevel({"<unk>": 0}, unk_token="<unk>")).to_str()
    answerer = _OfTokens(
        models.load(prepared.model, 0).to(run.device),
        prepared.model,
        replace(prepared.tokenizer, text=words),
        "alpaca",
        settings,
    )
    ends = prepared.offsets[:-1] + (prepared.order.lengths - prepared.n_tokens)
    prompts = [
        prepared.tokens[start:end] for start, end in zip(prepared.offsets[:-1], ends, strict=True)
    ]
    return answerer, prompts


def select(run: Run) -> None:
    """Cluster and select from trajectories, on all cores."""
    n = run.sized(10_000_000, 20_000)
    with tempfile.TemporaryDirectory() as folder:
        bench_select.write(Path(folder), "decays", n, 12)
        found = bench_select.measured("S2L", Path(folder), run.sized(2, 1))
    run.add(f"{n:,} x 12", statistics.median(found["seconds"]), unit="s",
            note=f"{cores()} cores; {found['anonymous']:.2f} GiB")  # fmt: skip


def study(run: Run) -> None:
    """Do the arms of a comparison in the time there is, the most telling first; it goes on."""
    recipe = read_comparison(read_yaml(find_recipe("smoke" if run.tiny else run.study)), False)
    folder, kept = run.out / "study", 0.1 * run.left()

    def check() -> None:
        if run.left() < kept:
            raise Interrupted("the time is over")

    every = list(list_arms(recipe))
    telling = [
        arm.name
        for arm in every
        if arm.method in ("untuned", "full", "random", "s2l", "s2l-by-source")
        and arm.budget in ("0%", "100%", recipe.budgets[0])
        and arm.equal == recipe.equal[0]
    ]
    with suppress(Interrupted):
        for arms in (telling, None):
            run_comparison(recipe, folder, Watch(check=check), arms=arms)
    missing = missing_arms(done := Results.open(folder), recipe.resolved())
    for row in read_table(done).rows if len(missing) < len(every) else ():
        run.add(f"{row.method}, {row.budget}, equal {row.equal}", row.main.mean,
                note=f"{row.seeds} seeds, {row.seconds:.0f} s of training each")  # fmt: skip
    run.add("arms that are not done", len(missing), note=f"{folder} goes on with the same command")


def _memory(run: Run) -> str:
    """Say the most memory of the device that was in use."""
    if run.device.type != "cuda":
        return ""
    most = torch.cuda.max_memory_allocated(run.device) / 2**30
    torch.cuda.reset_peak_memory_stats(run.device)
    return f"{most:.1f} GiB of the device"


PARTS: dict[str, Callable[[Run], None]] = {
    "machine": machine,
    "correct": correct,
    "ceiling": ceiling,
    "score": score,
    "train": train,
    "record": record_all,
    "generate": generate,
    "select": select,
    "study": study,
}


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--study", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args()
    until = time.monotonic() + given.seconds
    device = find_device(given.device)
    with fixed(cores(), device):
        it = Run(given.part, device, given.tiny, until, given.out, given.model, given.study)
        PARTS[given.part](it)


if __name__ == "__main__":
    main()
