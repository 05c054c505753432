"""The page of a selection, and its figures as files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from smalltolarge.errors import printable
from smalltolarge.progress import Watch
from smalltolarge.report.page import figures, rows
from smalltolarge.report.page.build import Both, Share, Table, render
from smalltolarge.report.page.drawing import Drawing
from smalltolarge.report.page.facts import Chosen
from smalltolarge.runs.recipe import RecordRecipe

_MOST_OPTIONS = 300
_NAME = 40


def headline(found: Mapping[str, Any]) -> str:
    """Say in a sentence what was kept, and what that saves."""
    kept, used = found["selected"], found["rows"]
    what = f"{kept:,} of {used:,} rows chosen"
    if found["tokens"]:
        share = found["tokens_selected"] / found["tokens"]
        return f"{what}: every epoch of training is {1 - share:.1%} shorter"
    return f"{what}: {1 - kept / used:.1%} of the rows need no training"


def standfirst(found: Mapping[str, Any]) -> str:
    """Say how they were chosen."""
    if not found["is_given"]:
        begin = "This run recorded losses and chose nothing; shown is what S2L takes at 11%. "
    else:
        begin = ""
    times = len(found["checkpoints"])
    if not times:
        return f"{begin}The rows were chosen by {found['method']}, without a proxy."
    who = "The losses that were given"
    if found["proxy"] is not None:
        proxy = printable(found["proxy"], 60)
        who = f"A small model ({proxy}) was trained on all of the rows; its losses"
    was = (
        f"{who} were recorded {times:,} times"
        if found["proxy"]
        else f"{who} are of {times:,} checkpoints"
    )
    if not found["is_of_training"]:
        was = f"Nothing was trained: the losses are of a model and {times - 1:,} perturbed copies"
    if found["has_clusters"]:
        last = len(found["clusters"]) - 1
        apart = ""
        if found["pruned"]:
            apart = (
                f" {found['pruned']:,} rows whose loss hardly falls were left out before; they are "
                f"shown as cluster {last}."
            )
        return (
            f"{begin}{was}. Rows whose losses moved alike form one of "
            f"{last if found['pruned'] else last + 1:,} clusters, and the subset takes as evenly "
            f"from them as it can.{apart}"
        )
    return (
        f"{begin}{was}, and the rows were chosen by {found['method']}, which makes no clusters: "
        "those shown are of S2L with its defaults."
    )


def _numbers(found: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    left = sum(found["excluded"].values())
    told = [
        ("Rows read", f"{found['read']:,}", f"{left:,} could not be used" if left else ""),
        ("Rows chosen", f"{found['selected']:,}", f"{found['selected'] / found['rows']:.1%}"),
    ]
    if found["tokens"]:
        told += [
            ("Completion tokens", _short(found["tokens"]), "of all rows"),
            (
                "of the chosen", _short(found["tokens_selected"]),
                f"{found['tokens_selected'] / found['tokens']:.1%}",
            ),
        ]  # fmt: skip
    if found["clusters"]:
        told.append(("Clusters", f"{len(found['clusters']):,}", ""))
    if found["seconds"]:
        told.append(("The proxy took", _time(found["seconds"]), "once"))
    return told


def _short(value: float) -> str:
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:,.0f}"


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    if minutes >= 10:
        return f"{minutes} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def _gave(found: Mapping[str, Any]) -> str:
    clusters = found["clusters"]
    whole = sum(one["selected"] == one["size"] for one in clusters)
    most = max(one["selected"] for one in clusters)
    if not found["has_clusters"]:
        return "The method did not look at these clusters; so much it took of each all the same."
    return (
        f"Taken whole: {whole:,} of the {len(clusters):,} clusters; of each of the others "
        f"{most:,} rows at most. Drawing evenly counts a rare way of being learned as much as a "
        "common one."
    )


def draw(found: Mapping[str, Any], chosen: Chosen, sampled: np.ndarray) -> dict[str, Any]:
    """Draw all figures that this run has: pairs of widths, panels and planes, by their name."""
    drawn: dict[str, Any] = {"curves": None, "sizes": None, "planes": []}
    drawn["sources"] = Both.of(figures.sources, found) if len(found["sources"]) > 1 else None
    drawn["lengths"] = Both.of(figures.lengths, found) if found["lengths"] else None
    if chosen.trajectories is None or chosen.labels is None:
        return drawn
    drawn["curves"] = Both.of(figures.curves, found)
    drawn["sizes"] = Both.of(figures.sizes, found)
    steps = np.array([figures.step_of(cluster) for cluster in found["clusters"]])[chosen.labels]
    for name, lay in (("map", figures.principal), ("cartography", figures.cartography)):
        plane = lay(chosen.trajectories)
        if plane is not None:
            mapped = figures.draw_plane(plane, chosen, sampled, steps)
            drawn["planes"].append((name, plane.title, mapped))
    return drawn


def files(found: Mapping[str, Any], drawn: Mapping[str, Any]) -> dict[str, Drawing]:
    """Give the figures that are written as files, by name."""
    named: dict[str, Drawing] = {
        name: drawn[name].wide
        for name in ("curves", "sizes", "sources", "lengths")
        if drawn[name] is not None
    }
    if found["clusters"]:
        named["clusters"] = figures.panels(found)
    return named | {name: mapped.drawing for name, _, mapped in drawn["planes"]}


_WORDS = {
    "map": "Two rows lie close together where their losses moved alike.",
    "cartography": "Rows that are learned at once and stay learned are easy; those whose loss "
    "moves much are ambiguous and teach most; those that stay high are hard, or wrong.",
}


def page(found: Mapping[str, Any], chosen: Chosen, inspection: Any, watch: Watch
         ) -> tuple[str, dict[str, Drawing]]:  # fmt: skip
    """Write the page; give the figures that may be written as files, too."""
    besides = [row for call in found["calls"] for row in call["examples"]]
    sampled = rows.sample(chosen, besides)
    texts, no_texts = rows.texts(chosen, sampled, watch)
    drawn = draw(found, chosen, sampled)
    names = [_source(name) for name in chosen.sources[1]]
    panels, cuts_start = [], False
    if found["clusters"]:
        scale, cuts_start = figures.panel_scale(found)
        panels = [
            {
                "number": one["cluster"],
                "drawing": figures.panel(found, one, scale),
                "rows": f"{one['size']:,}",
                "taken": f"{one['selected']:,}",
            }
            for one in figures.by_loss(found["clusters"])
        ]
    text = render(
        "selection.html",
        _data(found, chosen, sampled, texts, drawn),
        title=f"{found['selected']:,} of {found['rows']:,} rows",
        kicker=f"SmallToLarge · selection by {found['method']} · {found['run']}",
        headline=headline(found),
        standfirst=standfirst(found),
        warnings=found["warnings"],
        numbers=_numbers(found),
        run=found["run"],
        rows=f"{found['rows']:,}",
        shown=f"{len(sampled):,}",
        points=f"{int(chosen.selected[sampled].sum()):,} chosen and "
        f"{int((~chosen.selected[sampled]).sum()):,} not chosen, some of every cluster",
        curves=drawn["curves"],
        sizes=drawn["sizes"],
        sources=drawn["sources"],
        lengths=drawn["lengths"],
        gave=_gave(found) if found["clusters"] else "",
        panels=panels,
        cuts_start=cuts_start,
        panels_left=len(found["clusters"]) > len(panels),
        planes=[
            {"title": title, "words": _WORDS[name], "drawing": mapped.drawing}
            for name, title, mapped in drawn["planes"]
        ],
        hues=_hues(names),
        calls=[
            {
                "name": call["name"],
                "words": call["words"],
                "rows": f"{call['rows']:,}",
                "share": f"{call['rows'] / found['rows']:.1%}",
                "selected": f"{call['selected']:,}",
                "count": len(call["examples"]),
            }
            for call in found["calls"]
        ],
        filters=_filters(found, names),
        group="cluster" if found["clusters"] else "source",
        no_texts=no_texts,
        inspection=inspection,
        tables=_tables(found, chosen),
    )
    return text, files(found, drawn)


def _source(name: str | None) -> str:
    return "(none)" if name is None else printable(name, _NAME)


def _hues(names: list[str]) -> list[str]:
    if len(names) < 2:
        return []
    most = figures.HUES
    return names if len(names) <= most else [*names[: most - 1], "all others"]


def _filters(found: Mapping[str, Any], names: list[str]) -> list[dict[str, Any]]:
    options: list[tuple[str, str, list[tuple[str, str]]]] = [
        ("taken", "Rows", [("1", "chosen"), ("0", "not chosen")])
    ]
    if len(names) > 1:
        options.append(
            ("source", "Source", [(str(n), name) for n, name in enumerate(names[:_MOST_OPTIONS])])
        )
    if found["clusters"]:
        told = [
            (str(one["cluster"]), f"{one['cluster']}: {one['selected']:,} of {one['size']:,}")
            for one in found["clusters"]
        ]
        options.append(("cluster", "Cluster", told))
    return [{"key": key, "name": name, "options": found} for key, name, found in options]


def _data(
    found: Mapping[str, Any], chosen: Chosen, sampled: np.ndarray, texts: dict[Any, Any],
    drawn: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Give the script what it shows: rows, the bands of their clusters, their places on maps."""
    number = {row: place for place, row in enumerate(sampled.tolist())}
    names = [None if name is None else printable(name, _NAME) for name in chosen.sources[1]]
    clusters = found["clusters"]
    return {
        "kind": "rows",
        "columns": rows.COLUMNS,
        "items": rows.told(chosen, sampled, texts),
        "sources": names[:_MOST_OPTIONS],
        "method": found["method"],
        "by_cluster": found["has_clusters"],
        "n": found["rows"],
        "selected": found["selected"],
        "clusters": [[one["size"], one["selected"]] for one in clusters],
        "bands": [
            [np.round(one[name], 3).tolist() for name in ("low", "median", "high")]
            for one in clusters
        ],
        "steps": found["checkpoints"],
        "planes": [
            [mapped.x.tolist(), mapped.y.tolist()] for _, _, mapped in drawn["planes"]
        ],
        "calls": {
            call["name"]: [number[row] for row in call["examples"]] for call in found["calls"]
        },
    }  # fmt: skip


def _tables(found: Mapping[str, Any], chosen: Chosen) -> dict[str, Table]:
    steps = [f"loss at {step:,}" for step in found["checkpoints"]]
    sources = [
        [_source(one["source"]), one["rows"], Share(one["rows"] / found["rows"]), one["selected"],
         Share(one["selected"] / max(found["selected"], 1)), Share(one["selected"] / one["rows"])]
        for one in found["sources"]
    ]  # fmt: skip
    clusters = [
        [str(one["cluster"]), one["size"], one["selected"], Share(one["selected"] / one["size"]),
         _source(one["main_source"]), *one["median"]]
        for one in found["clusters"]
    ]  # fmt: skip
    tables = {
        "sources": Table.of(
            f"Table of all {len(sources):,} sources",
            ["source", "rows", "share", "chosen", "share of chosen", "taken of it"], sources,
        ),
        "clusters": Table.of(
            f"Table of all {len(clusters):,} clusters, with median losses",
            ["cluster", "rows", "chosen", "taken", "most frequent source", *steps], clusters,
        ),
        "made": Table.of("Settings and costs", ["setting", "value"], _made(found, chosen)),
    }  # fmt: skip
    if found["lengths"]:
        edges = found["lengths"]["edges"]
        bins = zip(edges, edges[1:], found["lengths"]["rows"], found["lengths"]["selected"],
                   strict=False)  # fmt: skip
        tables["lengths"] = Table.of(
            "Table of lengths",
            [f"{found['lengths']['unit']}", "rows", "chosen"],
            [[f"{low:,} to {high:,}", before, after] for low, high, before, after in bins],
        )
    return tables


def _made(found: Mapping[str, Any], chosen: Chosen) -> list[list[Any]]:
    recipe = chosen.run.recipe
    assert isinstance(recipe, RecordRecipe)
    told: list[list[Any]] = [
        ["data", ", ".join(printable(name, 200) for name in recipe.data)],
        ["method", found["method"]],
        ["budget", str(found["budget"])],
        ["seed", str(found["seed"])],
    ]
    settings = getattr(recipe, "settings", {}) if found["is_given"] else {}
    told += [[f"setting: {name}", "none" if value is None else str(value)]
             for name, value in settings.items()]  # fmt: skip
    if found["proxy"]:
        told.append(["proxy", printable(found["proxy"], 200)])
    for reason, count in found["excluded"].items():
        told.append([f"rows left out: {printable(str(reason), 80)}", count])
    if found["truncated"] is not None:
        told.append(["rows cut at the proxy's length limit", found["truncated"]])
    if found["out"]:
        told.append(["subset", printable(found["out"], 200)])
    return told
