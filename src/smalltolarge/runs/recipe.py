"""What a person may ask for, as plain data, read strictly. The only user of pydantic.

The command line, a YAML file and the Python verbs all end in one of the recipes here, by way of
the same reader, so that a misspelt or impossible setting gets the same answer everywhere.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, get_type_hints

import numpy as np
import yaml
from pydantic import TypeAdapter, ValidationError

from smalltolarge.errors import MissingArtifact, RecipeError, S2LError, printable
from smalltolarge.selection import SELECTORS, Budget, Evidence, Selector, find_selector
from smalltolarge.selection.columns import Column, refuse_impossible
from smalltolarge.selection.selector import check_seed
from smalltolarge.settings import (
    AskingSettings,
    EvaluationSettings,
    ModelSettings,
    ProxySettings,
    ReadingSettings,
    ScoringSettings,
    Settings,
    TargetSettings,
    TrainingSettings,
    Within,
)

OF_A_PROXY = frozenset({Evidence.TRAJECTORIES, Evidence.EMBEDDINGS, Evidence.LOSSES_ALONE})
"""Evidence that only a trained proxy gives."""
_LARGEST = 1_000_000
_DEEPEST = 100
_MOST = 1000
"""Methods, budgets or seeds of one comparison, each."""
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9_]{0,29})")
_READY_MADE = Path(__file__).parent / "recipes"
_MOST_NAMED = 8
"""Settings named in the answer to one that there is not; those like it come first."""
_WHOLE = ("columns", "template_arg")
"""Mappings that one given beside a recipe replaces."""
FULL = "full"
"""The name of training on everything, in a comparison."""
UNTUNED = "untuned"
"""The name of the target as it is before any training, in a comparison."""
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_OF_A_SEED = re.compile(r"(^|-)proxy\d+$")
"""Ends of names that a proxy of another seed has."""
_PAPER_PROXY: dict[str, Any] = {
    "proxy": "EleutherAI/pythia-70m-deduped", "template": "alpaca", "epochs": 3.0,
    "learning_rate": 2e-5, "batch_size": 128, "warmup": 0.03, "weight_decay": 0.0,
    "max_length": 512, "checkpoints": 12, "schedule": "even", "losses": "scored",
}  # fmt: skip
_PAPER_S2L: dict[str, Any] = {
    "clusters": 100, "iterations": 20, "points_per_cluster": 256, "stratify": None,
    "balance": 1.0, "prune_slope": None, "part": "all", "every": 1, "standardise": False,
    "inside": "random",
}  # fmt: skip
PRESETS: Mapping[str, Mapping[str, dict[str, Any]]] = {
    "paper": {"proxy": _PAPER_PROXY, "settings": _PAPER_S2L},
    "authors-code": {"proxy": _PAPER_PROXY, "settings": _PAPER_S2L | {"stratify": "source"}},
}
"""Settings of the proxy and of s2l, by name; ``docs/faithfulness.md`` says where each is from."""
_BY_MACHINE = ("revision", "precision", "device", "threads", "unit_tokens")
"""Settings of a model that are found out when it is prepared, unless they are given."""
T = TypeVar("T")
R = TypeVar("R", bound="Recipe")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The safe loader, for which 1e-3 is a number, as in YAML 1.2; in YAML 1.1 it is a text."""


class _Dumper(yaml.SafeDumper):
    """Writes what ``_Loader`` reads as the same."""

    def represent_str(self, text: str) -> yaml.ScalarNode:
        """Write the line break of ISO 8859 by its number: in other quotes it is read as a space."""
        style = '"' if "\x85" in text else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _Dumper.represent_str)
for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
        list("-+0123456789"),
    )


@dataclass(frozen=True, kw_only=True)
class Recipe(Settings):
    """Everything that decides what a run gives."""


@dataclass(frozen=True, kw_only=True)
class DataRecipe(Recipe):
    """What a run on fine-tuning data reads, and its seed."""

    data: tuple[str, ...]
    """Files, folders or hub data sets, as given."""
    reading: ReadingSettings = field(default_factory=ReadingSettings)
    """How the files are read."""
    seed: int = 0
    """Seed of the weights, the order of training, the clusters and the draw."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_seed(self.seed)
        if not self.data:
            raise RecipeError("data: at least one file, folder or data set is needed")


@dataclass(frozen=True, kw_only=True)
class TrainRecipe(DataRecipe):
    """Everything that decides a trained target."""

    target: TargetSettings = field(default_factory=TargetSettings)
    """The large model."""

    def resolved(self) -> TrainRecipe:
        """Write out every default."""
        return replace(self, target=self.target.resolved())


class Proxy(NamedTuple):
    """One of the proxies that a run trains."""

    name: str = ""
    """Of its settings, among ``proxies`` of the recipe; "": those of ``proxy``."""
    seed: int | None = None
    """None: that of the recipe."""

    def own(self, name: str) -> str:
        """Give its own name for a file or stage that every proxy has."""
        stem, dot, kind = name.partition(".")
        parts = [stem, *[self.name] * bool(self.name)]
        parts += [f"proxy{self.seed}"] * (self.seed is not None)
        return "-".join(parts) + dot + kind


THE_PROXY = Proxy()
"""Of most runs the only one; and the pool of methods that need none."""


@dataclass(frozen=True, kw_only=True)
class RecordRecipe(DataRecipe):
    """Everything that decides the trajectories of a data set."""

    proxy: ProxySettings | None = field(default_factory=ProxySettings)
    """The small model; null when nothing is recorded."""

    @property
    def has_proxy(self) -> bool:
        """Whether any is trained."""
        return self.proxy is not None

    def settings_of(self, proxy: Proxy) -> ProxySettings:
        """Give the settings of one of the proxies that are trained."""
        assert self.proxy is not None
        return self.proxy

    def seed_of(self, proxy: Proxy) -> int:
        """Give the seed of one of the proxies that are trained."""
        return self.seed if proxy.seed is None else proxy.seed

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
    embeddings: str | None = None
    """A file of embeddings of your own, for methods that need some."""
    add_columns: tuple[Column, ...] = ()
    """Columns that the subset gets beside its own: weight, order."""
    method: str = "s2l"
    """How to choose: a name of ``s2l methods``, or my_package.module:Class."""
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
        given = {kind for kind in Evidence if getattr(self, kind, None) is not None}
        missing = (selector.needs & OF_A_PROXY) - given
        if missing and self.trajectories is not None:
            extra = ", or give --embeddings" if Evidence.EMBEDDINGS in missing else ""
            raise RecipeError(
                f"method {self.method} needs {' and '.join(sorted(missing))} of a proxy, which "
                f"recorded losses do not have: leave --trajectories out{extra}"
            )
        proxy = self.proxy.resolved() if self.proxy is not None and missing else None
        refuse_impossible(
            self.add_columns,
            self.method,
            is_random=selector.is_random,
            has_losses=proxy is not None or self.trajectories is not None,
        )
        return replace(self, settings=asdict(selector), proxy=proxy)


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way of choosing that takes part in a comparison."""

    method: str
    """A name of ``s2l methods``, full for all rows whatever the budget, untuned for the target
    before any training, or my_package.module:Class."""
    label: str = ""
    """What it is called in the table. Default: the method's name."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of the method."""
    proxy: str = ""
    """The name of its proxy, among ``proxies``. Default: the settings of ``proxy``."""
    weighted: bool = False
    """Train with each row counting for those it stands for: size of its cluster, or other group
    that was drawn from, over the rows taken of it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", self.label or self.method.rpartition(":")[2])
        if _LABEL.fullmatch(self.label) is None:
            raise RecipeError(
                f"label {printable(self.label)!r}: up to 40 letters, digits, '.', '_' and '-'"
            )

    @cached_property
    def needs_proxy(self) -> bool:
        """Whether it needs a trained proxy."""
        selector = self.selector()
        return bool(selector and selector.needs & OF_A_PROXY)

    def selector(self) -> Selector | None:
        """Make the method with its settings; None for full and untuned, which choose nothing."""
        if self.method in (FULL, UNTUNED):
            if self.settings:
                raise RecipeError(f"methods.{self.label}: {self.method} has no settings")
            return None
        return read(self.settings, find_selector(self.method), f"methods.{self.label}")


@dataclass(frozen=True, kw_only=True)
class SampleData(Settings):
    """The word problems of ``s2l sample-data`` that a recipe asks for."""

    folder: str
    """Where they are made, if they are not there yet."""
    rows: Annotated[int, Within(1, 1_000_000)] = 2000
    """Training rows."""
    seed: Annotated[int, Within(0, 2**64 - 1)] = 0
    """Seed of the generator."""


@dataclass(frozen=True, kw_only=True)
class CompareRecipe(RecordRecipe):
    """Everything that decides a comparison: methods x budgets x seeds, and what they train."""

    target: TargetSettings = field(default_factory=TargetSettings)
    """The large model, trained once for every method, budget and seed."""
    evaluation: EvaluationSettings
    """What the trained targets are scored on."""
    methods: tuple[str | Method, ...]
    """What is compared; full and random are always part of it, and untuned on request."""
    budgets: tuple[str, ...]
    """How much each method chooses: rows (30000, 30K) or shares (11%)."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the draw and of the target's training."""
    proxies: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Other proxies, by a name that methods give: settings in which each differs from ``proxy``."""
    proxy_seeds: tuple[int, ...] | None = None
    """Seeds of the proxies, each of which is trained once for each. Default: ``seed`` alone."""
    equal: tuple[Literal["epochs", "steps"], ...] = ("epochs",)
    """What targets have in common: epochs, so that a subset takes fewer steps, or the steps that
    full takes. Both: each is trained twice."""
    keep_targets: bool = False
    """Keep every trained target in the run folder."""
    sample_data: SampleData | None = None
    """Word problems of ours that are made before anything is read."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.target.weights is not None:
            raise RecipeError("target.weights: in a comparison give methods weighted: true")
        chosen = [m if isinstance(m, Method) else Method(method=m) for m in self.methods]
        for always in ("random", FULL):
            if all(choice.method != always for choice in chosen):
                chosen.append(Method(method=always))
        object.__setattr__(self, "methods", tuple(chosen))
        several: dict[str, list[Any]] = {
            "methods": [choice.label for choice in chosen],
            "budgets": list(self.budgets),
            "seeds": list(self.seeds),
            "equal": list(self.equal),
            "proxy_seeds": list(self._seeds_of_proxies),
        }
        for name, values in several.items():
            if len(values) > _MOST:
                raise RecipeError(f"{name}: {len(values):,} are there, at most {_MOST:,} can be")
            twice = [value for value in values if values.count(value) > 1]
            if twice:
                raise RecipeError(f"{name}: {printable(twice[0])} is there twice")
            if not values:
                raise RecipeError(f"{name}: at least one is needed")
        for seed in (*self.seeds, *(self.proxy_seeds or ())):
            check_seed(seed)
        self._check_proxies()
        self._check_weighted()
        for budget in self.budgets:
            if Budget.parse(budget).unit == "tokens":
                raise RecipeError(
                    f"budgets: {printable(budget)} is in tokens; rows or shares are compared here"
                )

    @property
    def choices(self) -> tuple[Method, ...]:
        """The methods, each with its settings."""
        return tuple(choice for choice in self.methods if isinstance(choice, Method))

    @property
    def _seeds_of_proxies(self) -> tuple[int | None, ...]:
        seeds = (self.seed,) if self.proxy_seeds is None else self.proxy_seeds
        return tuple(None if seed == self.seed else seed for seed in seeds)

    def proxies_of(self, choice: Method) -> tuple[Proxy, ...]:
        """Give the proxies that a method has its arms with; none where it needs none."""
        if not choice.needs_proxy:
            if choice.proxy:
                raise RecipeError(f"methods.{choice.label}.proxy: {choice.method} needs no proxy")
            return ()
        return tuple(Proxy(choice.proxy, seed) for seed in self._seeds_of_proxies)

    @property
    def trained(self) -> dict[Proxy, frozenset[Evidence]]:
        """The proxies that the methods need, that without a name first, and what of each."""
        found: dict[Proxy, frozenset[Evidence]] = {}
        for choice in self.choices:
            selector = choice.selector()
            for proxy in self.proxies_of(choice):
                assert selector is not None
                found[proxy] = found.get(proxy, frozenset()) | selector.needs
        return dict(sorted(found.items(), key=lambda one: bool(one[0].name)))

    @property
    def has_proxy(self) -> bool:
        """Whether any is trained."""
        return bool(self.trained)

    def settings_of(self, proxy: Proxy) -> ProxySettings:
        """Give the settings of one of the proxies that are trained."""
        if not proxy.name:
            return super().settings_of(proxy)
        base = {} if self.proxy is None else asdict(self.proxy)
        return read({**base, **self.proxies[proxy.name]}, ProxySettings, f"proxies.{proxy.name}")

    @property
    def models(self) -> tuple[TrainingSettings, ...]:
        """The settings of every model that is trained."""
        return (self.target, *(self.settings_of(proxy) for proxy in self.trained))

    def _check_proxies(self) -> None:
        for name in self.proxies:
            if _LABEL.fullmatch(name) is None or _OF_A_SEED.search(name):
                raise RecipeError(
                    f"proxies: the name {printable(name)!r}: up to 40 letters, digits, '.', '_' "
                    "and '-', and not proxy with a number at its end"
                )
            self.settings_of(Proxy(name))
        for choice in self.choices:
            if choice.proxy and choice.proxy not in self.proxies:
                raise RecipeError(
                    f"methods.{choice.label}.proxy: {printable(choice.proxy)!r} is not among "
                    f"proxies; {_nearest(choice.proxy, list(self.proxies))}"
                )
        unused = set(self.proxies) - {choice.proxy for choice in self.choices}
        if unused:
            raise RecipeError(f"proxies.{min(unused)}: no method has it as its proxy")

    def _check_weighted(self) -> None:
        for choice in self.choices:
            selector = choice.selector() if choice.weighted else None
            if choice.weighted and (selector is None or not selector.is_random):
                raise RecipeError(
                    f"methods.{choice.label}.weighted: {choice.method} draws nothing at random, "
                    "so that its rows stand for no others"
                )

    def resolved(self) -> CompareRecipe:
        """Write out every default, and drop the proxy when no method needs one."""
        methods = tuple(
            replace(choice, settings=asdict(selector) if selector else {})
            for choice in self.choices
            for selector in [choice.selector()]
        )
        names = {proxy.name for proxy in self.trained}
        are_others = bool(names) and self._seeds_of_proxies != (None,)
        settled = {
            "methods": methods,
            "proxies": {
                name: asdict(self.settings_of(Proxy(name)).resolved()) for name in self.proxies
            },
            "proxy": self.proxy.resolved() if self.proxy and "" in names else None,
            "proxy_seeds": self.proxy_seeds if are_others else None,
            "target": self.target.resolved(),
        }
        return replace(self, **settled)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class EvaluateRecipe(ScoringSettings, Recipe):
    """Everything that decides what a model is worth at tasks."""

    model: str
    """A causal language model: a folder with safetensors, a GGUF file, a hub name, or
    smollm2-135m (which is installed as a package)."""
    answering: ModelSettings = field(default_factory=ModelSettings)
    """How the model is found, how prompts are written for it, and where it runs."""
    evaluation: AskingSettings
    """What it is asked, and how."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.evaluation.tasks:
            raise RecipeError("--task: name at least one; s2l tasks lists them")


def settled(recipe: R, settings: TrainingSettings, proxy: str = "") -> R:
    """Write out what the settings of a model came to on this machine.

    ``proxy`` is its name among the proxies of a comparison, which take over from the first of
    them what they leave open.
    """
    for name in ("proxy", "target"):
        if type(getattr(recipe, name, None)) is type(settings) and not proxy:
            changes: dict[str, Any] = {name: settings}
            recipe = replace(recipe, **changes)
    if isinstance(recipe, CompareRecipe) and isinstance(settings, ProxySettings):
        found = asdict(replace(settings, revision=None))
        proxies = {name: _filled(values, found) for name, values in recipe.proxies.items()}
        proxies |= {proxy: asdict(settings)} if proxy else {}
        recipe = replace(recipe, proxies=proxies)
    return recipe


def continued(recipe: R, found: Mapping[str, Any] | None) -> R:
    """Take over what was left open here from the run whose recipe is found, as plain data.

    It went by the machine, and for precision perhaps by chance; a run goes on as it began.
    """
    found = found or {}
    changes: dict[str, Any] = {}
    for name in ("proxy", "target"):
        model, old = getattr(recipe, name, None), found.get(name)
        if model is not None and isinstance(old, Mapping):
            changes[name] = read(_filled(asdict(model), old), type(model), name)
    olds = found.get("proxies")
    if isinstance(recipe, CompareRecipe) and isinstance(olds, Mapping):
        changes["proxies"] = {
            name: _filled(values, old) if isinstance(old := olds.get(name), Mapping) else values
            for name, values in recipe.proxies.items()
        }
    return replace(recipe, **changes)


def _filled(values: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in settings of a model that are left open and go by the machine."""
    open_ones = [one for one in _BY_MACHINE if values.get(one) in (None, "auto")]
    return {**values, **{one: old[one] for one in open_ones if one in old}}


def with_threads(recipe: CompareRecipe, threads: int) -> CompareRecipe:
    """Give a comparison whose models compute in so many threads, but for those that say."""
    changes: dict[str, Any] = {
        name: replace(model, threads=model.threads or threads)
        for name, model in (("proxy", recipe.proxy), ("target", recipe.target))
        if model is not None
    }
    proxies = {
        name: {**values, "threads": values.get("threads") or threads}
        for name, values in recipe.proxies.items()
    }
    return replace(recipe, **changes, proxies=proxies)


def by_machine(model: ModelSettings) -> dict[str, Any]:
    """Give the settings of a model that are found out when it is prepared, as far as they are."""
    return {name: getattr(model, name) for name in _BY_MACHINE if hasattr(model, name)}


def place(flat: Mapping[str, Any], kind: type[Recipe]) -> dict[str, Any]:
    """Sort settings given by bare name (epochs=1, clusters=50) into the sections of a recipe.

    Raises
    ------
    RecipeError
        A name is no setting of any section.
    """
    kinds: dict[str, type[Any]] = {
        "reading": ReadingSettings,
        "proxy": ProxySettings,
        "target": TargetSettings,
        "answering": ModelSettings,
        "evaluation": AskingSettings,
    }
    own = {f.name for f in fields(kind)}
    top = own - {*kinds, "settings"}
    sections = {name: {f.name for f in fields(kinds[name])} for name in kinds if name in own}
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
            of = ""
            if "settings" in sections:
                of = f" of method {printable(flat.get('method', 's2l'))}"
                _refuse_setting_of_another_method(name, of, sections["settings"])
            known = sorted(top.union(*sections.values()))
            raise RecipeError(f"{printable(name)} is not a setting{of}; {_nearest(name, known)}")
    return placed


def over_preset(
    values: Mapping[str, Any], name: str | None, kind: type[Recipe]
) -> Mapping[str, Any]:
    """Lay values under which a recipe of ``kind`` is read over what a preset has for it, if any.

    Raises
    ------
    RecipeError
        There is none of that name.
    """
    if name is None:
        return values
    if name not in PRESETS:
        raise RecipeError(f"preset {printable(name)} is not there; {_nearest(name, [*PRESETS])}")
    is_s2l = values.get("method", "s2l") == "s2l"
    own = {f.name for f in fields(kind)} - (set() if is_s2l else {"settings"})
    return merge({part: has for part, has in PRESETS[name].items() if part in own}, values)


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one recipe's plain data over another's, section by section."""
    merged = dict(under)
    for name, value in over.items():
        below = merged.get(name)
        both = isinstance(below, Mapping) and isinstance(value, Mapping) and name not in _WHOLE
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
    text = json.dumps(_as_plain(values, where))
    try:
        made: T = adapter_of(kind).validate_json(text, strict=True)
        return made
    except ValidationError as error:
        problems = []
        for problem in error.errors():
            cause = problem.get("ctx", {}).get("error")
            if isinstance(cause, S2LError):
                raise cause from error
            path = ".".join(str(part) for part in (*_words(where), *problem["loc"]))
            found = printable(json.dumps(problem["input"]))
            problems.append(f"{printable(path)}: {problem['msg']}, found {found}")
        raise RecipeError("\n".join(problems[:_MOST_NAMED])) from error


_adapters: dict[type[Any], TypeAdapter[Any]] = {}


def adapter_of(kind: type[Any]) -> TypeAdapter[Any]:
    """Read what a settings class is made of, once."""
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def _as_plain(value: object, where: str, depth: int = 0) -> Any:
    """Turn whole numbers and fractions of any type (NumPy's) into Python's; else name the path."""
    place = printable(where) or "recipe"
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise RecipeError(f"{place}: {printable(value)} is not valid Unicode") from error
        return str(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if depth > _DEEPEST:
        raise RecipeError(f"{place}: nested more than {_DEEPEST} deep")
    if isinstance(value, Mapping):
        odd = next((name for name in value if not isinstance(name, str)), None)
        if odd is not None:
            raise RecipeError(f"{place}: the name {printable(odd)} is no text; put it in quotes")
        return {
            str(name): _as_plain(inner, ".".join((*_words(where), name)), depth + 1)
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_as_plain(inner, where, depth + 1) for inner in value]
    if isinstance(value, Integral):
        whole = int(value)
        if not -(2**63) <= whole < 2**64:
            raise RecipeError(
                f"{place} is {printable(whole)}: from -2**63 to 2**64 - 1 is possible"
            )
        return whole
    if isinstance(value, Real):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise RecipeError(f"{place} is {printable(value)}: a finite number is needed")
        return number
    raise RecipeError(
        f"{place}: {printable(repr(value))} is a {type(value).__name__}; a text, a number, true or "
        "false, a list or a mapping is needed"
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
        if kind is CompareRecipe and name == "methods" and isinstance(value, list | tuple):
            for number, entry in enumerate(value):
                if isinstance(entry, Mapping):
                    _refuse_unknown_names(entry, Method, f"{path}.{number}")


def _refuse_select_names(name: str, kind: type[Any]) -> None:
    """Answer a name that is of a select run where a record run is asked for."""
    own = sorted({f.name for f in fields(SelectRecipe)} - {f.name for f in fields(RecordRecipe)})
    if kind is RecordRecipe and name in own:
        raise RecipeError(
            f"{name} is a setting of a select run, not of record. If this is the recipe of a "
            f"select run, give it to s2l select, or take {', '.join(own)} out of it."
        )


def _refuse_setting_of_another_method(name: str, of: str, own: Collection[str]) -> None:
    """Answer a name that is a setting of other methods than the one asked for."""
    others = [one for one, kind in SELECTORS.items() if name in {f.name for f in fields(kind)}]
    if others:
        raise RecipeError(
            f"{name} is not a setting{of}, which has {', '.join(sorted(own)) or 'none'}; it is one "
            f"of {', '.join(others)}"
        )


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"did you mean {near[0]}?"
    by_likeness = sorted(known, key=lambda one: -difflib.SequenceMatcher(None, name, one).ratio())
    more = f" and {len(known) - _MOST_NAMED} more" if len(known) > _MOST_NAMED else ""
    return f"known: {', '.join(by_likeness[:_MOST_NAMED]) or 'none'}{more}"


def _words(where: str) -> tuple[str, ...]:
    return (where,) if where else ()


def assign(values: Mapping[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """Set values of plain data by path, as ``proxy.epochs=1``; what is set is read as YAML.

    Raises
    ------
    RecipeError
        An assignment has no ``=``, is not YAML, or leads through a value that is no mapping.
    """
    changed: dict[str, Any] = json.loads(json.dumps(dict(values)))
    for text in assignments:
        path, equals, given = text.partition("=")
        names = path.strip().split(".")
        if not equals or not all(names) or len(names) > _DEEPEST:
            raise RecipeError(
                f"--set {printable(text)}: NAME=VALUE is needed, for example proxy.epochs=1"
            )
        inner = changed
        for name in names[:-1]:
            below = inner.setdefault(name, {})
            if not isinstance(below, dict):
                raise RecipeError(f"--set {printable(text)}: {printable(name)} is no section")
            inner = below
        try:
            inner[names[-1]] = _parsed(given)
        except RecipeError as error:
            raise RecipeError(f"--set {printable(text)}: the value is {error}") from error
    return changed


def scalar(text: str) -> str | int | float | bool | None:
    """Read one value as YAML does; what is no number, truth value or null is the text itself."""
    try:
        value = _parsed(text)
    except RecipeError:
        return text
    return value if value is None or isinstance(value, str | int | float) else text


def to_yaml(recipe: Recipe) -> str:
    """Write a recipe as YAML, every setting in its place."""
    return yaml.dump(to_plain(recipe), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def to_plain(recipe: Recipe) -> dict[str, Any]:
    """Give a recipe as JSON-like data."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(recipe)))
    return plain


def ready_made() -> dict[str, Path]:
    """Give the recipes of comparisons that come with this package, by name."""
    return {file.stem: file for file in sorted(_READY_MADE.glob("*.yaml"))}


def about(file: Path) -> str:
    """Give the line that a recipe file begins with, which says what it is for."""
    return file.read_text(encoding="utf-8").partition("\n")[0].removeprefix("#").strip()


def find_recipe(name: str | PathLike[str]) -> Path:
    """Give the file of a recipe: its path, or the name of one that comes with this package.

    Raises
    ------
    MissingArtifact
        There is neither.
    """
    path, known = Path(name), ready_made()
    if path.is_file():
        return path
    if str(name) not in known:
        near = difflib.get_close_matches(path.stem, known, n=1)
        answer = f"did you mean {near[0]}?" if near else f"by name there are {', '.join(known)}"
        raise MissingArtifact(f"no recipe at {printable(path, 200)}; {answer}")
    return known[str(name)]


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a recipe file as plain data; see ``_parsed`` for what is refused.

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
        values = _parsed(path.read_text(encoding="utf-8"))
    except (RecipeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{printable(path, 200)}: {error}") from error
    if not isinstance(values, dict):
        raise RecipeError(f"{printable(path, 200)}: a recipe is a mapping of settings to values")
    return values


def _parsed(text: str) -> Any:
    """Read YAML of texts, numbers, truth values, null, lists and mappings.

    Raises
    ------
    RecipeError
        It is no YAML, or has what may be read as something else than is meant: aliases, tags, a
        name twice, dates, numbers that are not decimal.
    """
    try:
        loader = _Loader(text)
        loader.get_event()
        if loader.check_event(yaml.StreamEndEvent):
            return None
        loader.get_event()
        value = _value(loader, 0)
        loader.get_event()
        if not loader.check_event(yaml.StreamEndEvent):
            raise RecipeError("not YAML of one document")
    except (yaml.YAMLError, UnicodeEncodeError) as error:
        mark = getattr(error, "problem_mark", None)
        at = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        why = getattr(error, "problem", None) or getattr(error, "reason", None) or "damaged"
        raise RecipeError(f"not YAML: {printable(why)}{at}") from error
    return value


def _value(loader: Any, depth: int) -> Any:
    event = loader.get_event()

    def refused(what: str) -> RecipeError:
        return RecipeError(f"not YAML that is read here: line {event.start_mark.line + 1}, {what}")

    if isinstance(event, yaml.AliasEvent):
        raise refused("aliases (*name) are not allowed")
    if event.tag is not None:
        raise refused(f"tags ({printable(event.tag)}) are not allowed")
    if depth > _DEEPEST:
        raise refused(f"nested more than {_DEEPEST} deep")
    if isinstance(event, yaml.SequenceStartEvent):
        items = []
        while not loader.check_event(yaml.SequenceEndEvent):
            items.append(_value(loader, depth + 1))
        loader.get_event()
        return items
    if isinstance(event, yaml.MappingStartEvent):
        found: dict[str, Any] = {}
        while not loader.check_event(yaml.MappingEndEvent):
            name = _value(loader, depth + 1)
            if not isinstance(name, str):
                raise refused(f"the name {printable(name)} is no text; put it in quotes")
            if name in found:
                raise refused(f"{printable(name)} is there twice")
            found[name] = _value(loader, depth + 1)
        loader.get_event()
        return found
    tag = loader.resolve(yaml.ScalarNode, event.value, event.implicit).rpartition(":")[2]
    if tag == "int" and _DECIMAL.fullmatch(event.value):
        return int(event.value.replace("_", ""))
    if tag == "int" or (tag == "float" and ":" in event.value):
        raise refused(f"{printable(event.value)} is no plain decimal number; a text is in quotes")
    if tag not in ("str", "null", "bool", "float"):
        raise refused(f"{printable(event.value)} is read as a {tag}; put it in quotes")
    return loader.construct_object(yaml.ScalarNode(f"tag:yaml.org,2002:{tag}", event.value))
