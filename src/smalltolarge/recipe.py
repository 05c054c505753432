"""What a person may ask for, as plain data, read strictly. The only user of pydantic.

The command line, a YAML file and the Python verbs all end in one of the two recipes here, by way of
the same reader, so that a misspelt or impossible setting gets the same answer everywhere.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from smalltolarge.errors import MissingArtifact, RecipeError, S2LError, printable
from smalltolarge.selection import Budget, Evidence, Selector, find_selector
from smalltolarge.selection.selector import check_seed
from smalltolarge.settings import ProxySettings, ReadingSettings

_LARGEST = 1_000_000
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class RecordRecipe:
    """Everything that decides the trajectories of a data set."""

    data: tuple[str, ...]
    """Files, folders or hub data sets, as given."""
    reading: ReadingSettings = field(default_factory=ReadingSettings)
    """How the files are read."""
    proxy: ProxySettings | None = field(default_factory=ProxySettings)
    """The small model; null when nothing is recorded."""
    seed: int = 0
    """Seed of the weights, the order of training, the clusters and the draw."""

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if not self.data:
            raise RecipeError("data: at least one file, folder or data set is needed")

    def resolved(self) -> RecordRecipe:
        """Write out every default."""
        return replace(self, proxy=None if self.proxy is None else self.proxy.resolved())


@dataclass(frozen=True, kw_only=True)
class SelectRecipe(RecordRecipe):
    """Everything that decides a subset."""

    budget: str | int
    """How much to choose: rows (30000, 30K), a share (11%) or completion tokens (2M-tokens)."""
    trajectories: str | None = None
    """A file of recorded losses to use instead of recording; no model is loaded then."""
    method: str = "s2l"
    """How to choose: s2l, random, or my_package.module:Class."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of the method."""

    def __post_init__(self) -> None:
        super().__post_init__()
        Budget.parse(self.budget)
        object.__setattr__(self, "budget", str(self.budget))

    def selector(self) -> Selector:
        """Make the method with its settings."""
        return read(self.settings, find_selector(self.method), f"{self.method}")

    def resolved(self) -> SelectRecipe:
        """Write out every default, and drop the proxy when none is trained."""
        selector = self.selector()
        records = Evidence.TRAJECTORIES in selector.needs and self.trajectories is None
        recipe = replace(self, settings=asdict(selector), proxy=self.proxy if records else None)
        return replace(recipe, proxy=recipe.proxy.resolved() if recipe.proxy else None)


def place(flat: Mapping[str, Any], kind: type[RecordRecipe]) -> dict[str, Any]:
    """Sort settings given by bare name (epochs=1, clusters=50) into the sections of a recipe.

    Raises
    ------
    RecipeError
        A name is no setting of any section.
    """
    top = {f.name for f in fields(kind)} - {"reading", "proxy", "settings"}
    sections: dict[str, set[str]] = {
        "reading": {f.name for f in fields(ReadingSettings)},
        "proxy": {f.name for f in fields(ProxySettings)},
    }
    if issubclass(kind, SelectRecipe):
        method = find_selector(str(flat.get("method", "s2l")))
        sections["settings"] = {f.name for f in fields(method)}
    placed: dict[str, Any] = {}
    for name, value in flat.items():
        section = next((s for s, names in sections.items() if name in names), None)
        if name in top:
            placed[name] = value
        elif section is not None:
            placed.setdefault(section, {})[name] = value
        else:
            _refuse_select_names(name, kind)
            known = sorted(top.union(*sections.values()))
            of = f" of method {flat.get('method', 's2l')}" if "settings" in sections else ""
            raise RecipeError(f"{printable(name)} is not a setting{of}; {_nearest(name, known)}")
    return placed


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one recipe's plain data over another's, section by section."""
    merged = dict(under)
    for name, value in over.items():
        below = merged.get(name)
        both = isinstance(below, Mapping) and isinstance(value, Mapping) and name != "columns"
        merged[name] = merge(below, value) if both else value  # type: ignore[arg-type]
    return merged


def read(values: Mapping[str, Any], kind: type[T], where: str = "") -> T:
    """Make a settings class from plain data.

    Raises
    ------
    RecipeError
        A name is unknown (the nearest is given) or a value is not allowed; names its path.
    """
    _refuse_unknown_names(values, kind, where)
    if issubclass(kind, SelectRecipe) and "budget" in values:
        Budget.parse(values["budget"])
    try:
        text = json.dumps(_as_plain(values, where), allow_nan=False)
        return TypeAdapter(kind).validate_json(text, strict=True)
    except ValidationError as error:
        problems = []
        for problem in error.errors():
            cause = problem.get("ctx", {}).get("error")
            if isinstance(cause, S2LError):
                raise cause from error
            path = ".".join(str(part) for part in (*_words(where), *problem["loc"]))
            found = printable(json.dumps(problem["input"]))
            problems.append(f"{path}: {problem['msg']}, found {found}")
        raise RecipeError("\n".join(problems)) from error
    except RecipeError:
        raise
    except (TypeError, ValueError, RecursionError) as error:
        raise RecipeError(f"{where or 'recipe'}: {error}") from error


def _as_plain(value: object, where: str) -> Any:
    """Turn whole numbers and fractions of any type (NumPy's) into Python's; else name the path."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Mapping):
        return {
            name: _as_plain(inner, ".".join((*_words(where), str(name))))
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_as_plain(inner, where) for inner in value]
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    raise RecipeError(
        f"{printable(where)}: {printable(repr(value))} is a {type(value).__name__}; a text, a "
        "number, true or false, a list or a mapping is needed"
    )


def _refuse_unknown_names(values: Mapping[str, Any], kind: type[Any], where: str) -> None:
    hints = get_type_hints(kind)
    known = {f.name: hints[f.name] for f in fields(kind)}
    for name, value in values.items():
        path = ".".join((*_words(where), str(name)))
        if name not in known:
            _refuse_select_names(str(name), kind)
            raise RecipeError(
                f"{printable(path)} is not a setting; {_nearest(str(name), list(known))}"
            )
        inner = next(
            (k for k in (known[name], *getattr(known[name], "__args__", ())) if is_dataclass(k)),
            None,
        )
        if isinstance(inner, type) and isinstance(value, Mapping):
            _refuse_unknown_names(value, inner, path)


def _refuse_select_names(name: str, kind: type[Any]) -> None:
    """Answer a name that is of a select run where a record run is asked for."""
    own = sorted({f.name for f in fields(SelectRecipe)} - {f.name for f in fields(RecordRecipe)})
    if kind is RecordRecipe and name in own:
        raise RecipeError(
            f"{name} is a setting of a select run, not of record. If this is the recipe of a "
            f"select run, give it to s2l select, or take {', '.join(own)} out of it."
        )


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(known) or 'none'}"


def _words(where: str) -> tuple[str, ...]:
    return (where,) if where else ()


def to_yaml(recipe: RecordRecipe) -> str:
    """Write a recipe as YAML, every setting in its place."""
    return yaml.safe_dump(to_plain(recipe), sort_keys=False, allow_unicode=True)


def to_plain(recipe: RecordRecipe) -> dict[str, Any]:
    """Give a recipe as JSON-like data."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(recipe)))
    return plain


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a recipe file as plain data; tags and aliases are refused.

    Raises
    ------
    MissingArtifact
        There is no such file.
    RecipeError
        It is not a YAML mapping, or too large.
    """
    if not path.is_file():
        raise MissingArtifact(f"no recipe at {path}")
    if path.stat().st_size > _LARGEST:
        raise RecipeError(f"{path}: a recipe has at most {_LARGEST:,} bytes")
    try:
        text = path.read_text(encoding="utf-8")
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise RecipeError(f"{path}: aliases (*name) are not allowed in a recipe")
        values = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise RecipeError(f"{path} is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise RecipeError(f"{path}: a recipe is a mapping of settings to values")
    return values
