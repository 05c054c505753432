"""A finished run, or a plan, as tables for the terminal."""

from __future__ import annotations

import inspect
import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from smalltolarge.errors import printable
from smalltolarge.examples import usual_suffix
from smalltolarge.examples.sniff import stem_of
from smalltolarge.runs.estimate import of_recording
from smalltolarge.runs.outcomes import Arm
from smalltolarge.runs.recipe import (
    FULL,
    OF_A_PROXY,
    UNTUNED,
    CompareRecipe,
    DataRecipe,
    Recipe,
    SelectRecipe,
)
from smalltolarge.runs.results import Run, reasons
from smalltolarge.selection import S2L, SELECTORS, Budget, Evidence, find_selector
from smalltolarge.settings import ReadingSettings, describe

if TYPE_CHECKING:
    from smalltolarge.examples import Examples

_MOST_SOURCES = 30


def show_selection(run: Run, console: Console) -> None:
    """Print what a ``select`` run read, chose and spent, and what to type next."""
    recipe = run.recipe
    assert isinstance(recipe, SelectRecipe)
    selected, written = run.facts("select"), run.facts("write")
    parts: list[RenderableType] = [_rows(run.facts("load"), selected), _sources(selected)]
    parts.append(_spent(run))
    files = Table.grid(padding=(0, 2))
    files.add_row("Subset", Text(str(written["out"])))
    files.add_row("Run", Text(f"{run.path}  (every row and its reason: selection.parquet)"))
    parts.append(files)
    recorded = recipe.trajectories
    if recorded is None and "record" in run.stages:
        recorded = f"{run.path}/trajectories.parquet"
    data, out = _data(recipe), Path(written["out"])
    kind = find_selector(recipe.method)
    if recorded is not None and kind.needs & OF_A_PROXY <= {Evidence.TRAJECTORIES}:
        settings = _settings(recipe.settings, kind)
        method = "" if recipe.method == "s2l" else f" --method {shlex.quote(recipe.method)}"
        used = Budget.parse("20%").least_rows(selected["rows"]) == selected["selected"]
        share = "10" if used else "20"
        settings += "".join(f" --add-column {name}" for name in recipe.add_columns)
        parts.append(
            _next(
                "another budget, in seconds, from the same losses",
                f"s2l select {data} --trajectories {shlex.quote(recorded)}{method}{settings} "
                f"--budget {share}% --out {_beside(out, share)}",
            )
        )
    if recipe.method != "random":
        rival, drawn = "random", "at random"
        if len(selected["sources"]) > 1 and recipe.method != "random-by-source":
            rival, drawn = "random-by-source", "evenly over the sources"
        parts.append(
            _next(
                f"what it has to beat: as many rows drawn {drawn}",
                f"s2l select {data} --method {rival} --budget {selected['selected']} "
                f"--out {_beside(out, rival)}",
            )
        )
    console.print(Group(*(_spaced(parts))))


def offer_page(run: Path, console: Console) -> None:
    """Say how a run is looked at."""
    told = _next("look at it in a browser", f"s2l report {shlex.quote(str(run))}")
    console.print(Text("\n"), told, sep="")


def show_recording(run: Run, console: Console) -> None:
    """Print what a ``record`` run read and spent, and what to type next."""
    loaded, out = run.facts("load"), Path(run.facts("write")["out"])
    excluded = Counter(loaded["excluded"]) + Counter(run.facts("record")["left_out"])
    subset = out.with_name(f"subset{usual_suffix(loaded['inputs'][0]['kind'])}")
    parts: list[RenderableType] = [
        _rows(loaded, {"excluded": excluded}),
        _spent(run),
        Text(f"Trajectories  {out}"),
        _next(
            "choose a subset, in seconds",
            f"s2l select {_data(run.recipe)} --trajectories {shlex.quote(str(out))} "
            f"--budget 11% --out {shlex.quote(str(subset))}",
        ),
    ]
    console.print(Group(*_spaced(parts)))


def show_examples(examples: Examples, console: Console) -> None:
    """Print what was read."""
    sources = Counter(examples.sources())
    console.print(_rows({"read": examples.n_read}, {"excluded": reasons(examples)}))
    if len(sources) > 1:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("Source")
        table.add_column("rows", justify="right")
        for source, rows in sources.most_common(_MOST_SOURCES):
            table.add_row(Text("(none)" if source is None else printable(source, 60)), f"{rows:,}")
        rest = [rows for _, rows in sources.most_common()[_MOST_SOURCES:]]
        if rest:
            table.add_row(f"({len(rest):,} more)", f"{sum(rest):,}")
        console.print(Text(), table)


def show_training(facts: Mapping[str, Any], console: Console) -> None:
    """Print what a ``train`` run took, and where the model is."""
    table = _facts()
    table.add_row("Rows", f"{facts['rows']:,}")
    for reason, count in facts["left_out"].items():
        table.add_row(Text(f"  left out: {printable(reason)}"), f"{count:,}")
    table.add_row("Parameters", f"{facts['parameters']:,}")
    if facts["trained_parameters"] != facts["parameters"]:
        table.add_row("  trained", f"{facts['trained_parameters']:,}")
    table.add_row("Steps", f"{facts['steps']:,}")
    table.add_row("Tokens", f"{facts['tokens']:,}")
    table.add_row("FLOPs", f"{facts['flops']:.3g}")
    if facts["train_loss"] is not None:
        table.add_row("Loss of the last steps", f"{facts['train_loss']:.3f}")
    table.add_row("Time training", _duration(facts["seconds"]))
    console.print(Group(*_spaced([table, Text(f"Model  {facts['out']}")])))


def show_methods(name: str | None, console: Console) -> None:
    """Print all methods with a line each, or one with its settings."""
    if name is not None:
        kind = find_selector(name)
        console.print(Text(inspect.cleandoc(kind.__doc__ or "")))
        needs = ", ".join(sorted(kind.needs)) or "nothing but the ids"
        console.print(Text(f"\nNeeds: {needs}"))
        for field, words in describe(kind).items():
            default = next(f.default for f in fields(kind) if f.name == field)
            console.print(Text(f"\n  {field} (default: {default})\n    {words}"))
        return
    lines = {kind.name: inspect.cleandoc(kind.__doc__ or "") for kind in SELECTORS.values()}
    lines[FULL] = "Train on everything, whatever the budget (in s2l run alone)."
    lines[UNTUNED] = "The target before any training (in s2l run alone)."
    for name, text in lines.items():
        proxy = name in SELECTORS and SELECTORS[name].needs & OF_A_PROXY
        first = text.partition("\n")[0]
        console.print(Text(f"{name:<22}{'proxy' if proxy else '-':<7}{first}"))
        settings = ", ".join(describe(SELECTORS[name])) if name in SELECTORS else ""
        if settings:
            console.print(Text(f"{'':29}settings: {settings}"))
    console.print(Text("\nproxy: trains one. One method with its settings: s2l methods NAME"))


def show_arms(
    examples: Examples, recipe: CompareRecipe, arms: Sequence[Arm], console: Console
) -> None:
    """Print what a comparison would do."""
    table = _facts()
    table.add_row("Rows that can be used", f"{len(examples):,}")
    if proxies := [
        " ".join(
            [proxy.name or recipe.settings_of(proxy).model]
            + [f"(seed {proxy.seed})"] * (proxy.seed is not None)
        )
        for proxy in recipe.trained
    ]:
        table.add_row("Proxies", ", ".join(proxies))
    words = {"Methods": "method", "Budgets": "budget", "Seeds": "seed", "Equal": "equal"}
    for word, name in words.items():
        table.add_row(word, ", ".join(dict.fromkeys(str(getattr(arm, name)) for arm in arms)))
    table.add_row("Arms, a target each", f"{len(arms):,}")
    console.print(table)
    console.print("No target was trained (--dry-run).")


def show_plan(examples: Examples, plan: Any | None, console: Console) -> None:
    """Print what a run would do."""
    table = _facts()
    table.add_row("Rows read", f"{examples.n_read:,}")
    table.add_row("Rows that can be used", f"{len(examples) if plan is None else plan.rows:,}")
    if plan is None:
        table.add_row("Proxy", "none is trained")
    else:
        table.add_row("Tokens", f"{plan.tokens:,}")
        table.add_row("Completion tokens", f"{plan.completion_tokens:,}")
        table.add_row("Proxy parameters", f"{plan.parameters:,}")
        table.add_row("Training steps", f"{plan.steps:,}")
        table.add_row("Checkpoints", f"{len(plan.checkpoints)}")
        table.add_row("FLOPs of training", f"{plan.training_flops:.3g}")
        table.add_row("FLOPs of scoring", f"{plan.scoring_flops:.3g}")
        table.add_row("Disk, at least", f"{of_recording(plan) / 1e6:,.1f} MB")
    console.print(table)
    console.print("Nothing was trained or written (--dry-run).")


def _facts(*more: Literal["left", "right"]) -> Table:
    """A table of words and numbers, and of columns that have this place each."""
    table = Table.grid(padding=(0, 2))
    for place in ("left", "right", *more):
        table.add_column(justify=place)
    return table


def _rows(load: Mapping[str, Any], selected: Mapping[str, Any]) -> Table:
    table = _facts("left")
    excluded = selected["excluded"]
    table.add_row("Rows read", f"{load['read']:,}")
    for reason, count in excluded.items():
        table.add_row(Text(f"  excluded: {printable(reason)}"), f"{count:,}")
    used = load["read"] - sum(excluded.values())
    table.add_row("Rows used", f"{used:,}")
    if "selected" in selected:
        if "pruned" in selected:
            table.add_row("  pruned: their loss hardly falls", f"{selected['pruned']:,}")
        if "clusters" in selected:
            table.add_row("Clusters", f"{selected['clusters']:,}")
        chosen = selected["selected"]
        table.add_row("Rows selected", f"{chosen:,}", _share(chosen, used))
    if "tokens" in selected:
        table.add_row("Completion tokens", f"{selected['tokens']:,}")
        kept = selected["tokens_selected"]
        table.add_row("  selected", f"{kept:,}", _share(kept, selected["tokens"]))
        table.add_row("  saved in every epoch", f"{selected['tokens'] - kept:,}")
    return table


def _sources(selected: Mapping[str, Any]) -> RenderableType:
    sources = selected["sources"]
    if len(sources) < 2:
        return Text()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("Source")
    for heading in ("rows", "share", "selected", "share"):
        table.add_column(heading, justify="right")
    for entry in sources[:_MOST_SOURCES]:
        name = "(none)" if entry["source"] is None else printable(entry["source"], 60)
        table.add_row(
            Text(name),
            f"{entry['rows']:,}",
            _share(entry["rows"], selected["rows"]),
            f"{entry['selected']:,}",
            _share(entry["selected"], selected["selected"]),
        )
    rest = sources[_MOST_SOURCES:]
    if rest:
        table.add_row(
            f"({len(rest):,} more)",
            f"{sum(entry['rows'] for entry in rest):,}",
            "",
            f"{sum(entry['selected'] for entry in rest):,}",
        )
    return table


def _spent(run: Run) -> Table:
    table = _facts("right")
    words = {"load": "reading", "record": "recording", "select": "selecting", "write": "writing"}
    for stage, word in words.items():
        if stage not in run.stages:
            continue
        facts = run.facts(stage)
        if "seconds" in facts:
            rate = _rate(facts.get("read", 0) / max(facts["seconds"], 1e-9), "rows")
            table.add_row(f"Time {word}", _duration(facts["seconds"]), rate)
        for part in ("preparing", "training", "scoring"):
            seconds = facts.get(f"seconds_{part}", 0.0)
            if seconds:
                rate = _rate(facts.get(f"{part}_tokens_per_second", 0.0), "tokens")
                table.add_row(f"  {part}", _duration(seconds), rate)
    return table


def _rate(a_second: float, unit: str) -> str:
    return f"{a_second:,.0f} {unit}/s" if a_second else ""


def _data(recipe: Recipe) -> str:
    """The data and how it is read, as typed."""
    assert isinstance(recipe, DataRecipe)
    names = " ".join(map(shlex.quote, recipe.data))
    reading = {f.name: getattr(recipe.reading, f.name) for f in fields(ReadingSettings)}
    seed = f" --seed {recipe.seed}" if recipe.seed else ""
    return names + _settings(reading, ReadingSettings) + seed


def _settings(values: Mapping[str, Any], kind: type[Any]) -> str:
    """Settings that are not the default, as typed."""
    typed = []
    own = kind in (S2L, ReadingSettings)
    for f in fields(kind):
        value, flag = values.get(f.name, f.default), f"--{f.name.replace('_', '-')}"
        if not own and value != f.default:
            typed.append(f"--set {shlex.quote(f'settings.{f.name}={json.dumps(value)}')}")
            continue
        if value == f.default or value is None:
            continue
        if value is True:
            typed.append(flag)
        elif isinstance(value, tuple):
            typed += [f"{flag} {shlex.quote(one)}" for one in value]
        elif isinstance(value, Mapping):
            typed += [f"{flag} {shlex.quote(f'{k}={v}')}" for k, v in value.items()]
        else:
            typed.append(f"{flag} {shlex.quote(str(value))}")
    return "".join(f" {part}" for part in typed)


def _beside(out: Path, word: str) -> str:
    """Another file name beside ``out``, as typed."""
    stem = stem_of(out)
    return shlex.quote(str(out.with_name(f"{stem}-{word}{out.name.removeprefix(stem)}")))


def _next(why: str, command: str) -> Text:
    return Text.assemble(("Next", "bold"), f": {why}\n  ", (command, "cyan"))


def _spaced(parts: list[RenderableType]) -> list[RenderableType]:
    kept = [part for part in parts if not (isinstance(part, Text) and not part.plain)]
    return [piece for part in kept for piece in (part, Text())][:-1]


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
