"""Which column plays which part: decided over all rows, whatever their order.

Every row leaves only its *shape* here: which of the columns that could matter it fills, and with
what kind of value. The layout follows from the set of shapes; where two layouts fit, nobody
guesses.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from smalltolarge.errors import DataError, RecipeError, printable
from smalltolarge.examples.keys import IN_ROWS
from smalltolarge.examples.nested import first_turn
from smalltolarge.settings import ReadingSettings

CONVERSATIONS = ("messages", "conversations", "conversation", "dialog", "turns", "chat")
PAIRS = (
    ("alpaca", "instruction", "output"),
    ("instruction-response", "instruction", "response"),
    ("instruction-response", "instruction", "answer"),
    ("instruction-response", "question", "answer"),
    ("instruction-response", "question", "response"),
    ("instruction-response", "query", "response"),
    ("instruction-response", "query", "answer"),
    ("instruction-response", "instruction", "generation"),
    ("instruction-response", "problem", "solution"),
    ("instruction-response", "problem", "generated_solution"),
    ("instruction-response", "question", "generated_solution"),
    ("prompt-completion", "prompt", "completion"),
    ("prompt-completion", "prompt", "response"),
    ("prompt-completion", "prompt", "output"),
    ("prompt-completion", "input", "output"),
    ("prompt-completion", "findings", "impression"),
)
INPUTS = ("input", "context")
SYSTEMS = ("system", "system_prompt", "system_message")
TOOLS = ("tools", "functions")
SOURCES = ("dataset", "data_source", "problem_source", "category", "domain", "type")
"""Columns that are proposed as the source of examples where there is none of that name."""
ROLES = (
    "instruction", "input", "output", "system", "prompt", "completion", "messages", "tools",
    "source",
)  # fmt: skip
_OTHER = ("text", "instances", "segments", "replies", "parent_id", "source")
_WATCHED = frozenset(
    [
        *(name for pair in PAIRS for name in pair[1:]),
        *CONVERSATIONS,
        *INPUTS,
        *SYSTEMS,
        *SOURCES,
        *_OTHER,
        *IN_ROWS,
    ]
)
_FAMILY = {
    "alpaca": {"instruction", "input", "output"},
    "instruction-response": {"instruction", "input", "output"},
    "prompt-completion": {"prompt", "completion"},
    "messages": {"messages"},
    "sharegpt": {"messages"},
}
_LAYOUTS = """Accepted layouts:
  alpaca                instruction, input (may be absent), output
  instruction-response  instruction, response; or question, answer; or problem, solution
  prompt-completion     prompt, completion (texts, or lists of messages)
  messages              messages: [{"role": "user", "content": ...}, {"role": "assistant", ...}]
  sharegpt              conversations: [{"from": "human", "value": ...}, {"from": "gpt", ...}]"""
_FOREIGN: tuple[tuple[tuple[tuple[str, str], ...], str], ...] = (
    (
        (("input_ids", ""),),
        "tokens, which belong to one model. Give the texts that they were made from, for example "
        "as prompt and completion.",
    ),
    (
        (("segments", ""),),
        "pieces of text, each with a label that says whether it is learned. Write what comes "
        "before a learned piece as prompt, and the piece as completion.",
    ),
    (
        (("replies", "other"),),
        "a tree of messages. Write every path from a first message to an answer as one row with "
        "messages, as role and content.",
    ),
    (
        (("parent_id", "?"), ("text", "text")),
        "one message of a tree. Write every path from a first message to an answer as one row "
        "with messages, as role and content.",
    ),
)
"""What no layout reads (columns and their kinds), and what to do."""
_MOST_NAMES = 40
_MOST_KEPT = 10_000  # columns and sets of columns, should every row have its own
_MAY_BE_TURNS = "[ \t\r\n"  # how JSON text of a list may begin; "" is in it, too
_Counts = dict[tuple[str, ...], list[Any]]


@dataclass(frozen=True)
class Layout:
    """A layout and the column of each part."""

    format: str
    columns: Mapping[str, str]
    twin: Layout | None = None
    """A pair of columns that may say the same as the turns; where it does not, somebody must
    choose."""


@dataclass
class Shapes:
    """What the rows seen so far look like."""

    settings: ReadingSettings
    names: dict[str, None] = field(default_factory=dict)
    """Every column seen, in order."""
    rows: int = 0
    _watched: frozenset[str] = frozenset()
    _known: dict[tuple[str, ...], tuple[tuple[str, ...], _Counts]] = field(default_factory=dict)
    _counts: dict[tuple[str, ...], _Counts] = field(default_factory=dict)

    def __post_init__(self) -> None:
        used = set((self.settings.columns or {}).values())
        self._watched = (_WATCHED - set(self.settings.ignore)) | used

    def note(self, names: Iterable[str]) -> list[str]:
        """Note columns that exist; give those that may matter."""
        found = list(names)
        self.names.update(dict.fromkeys(found))
        return [name for name in found if name in self._watched]

    def observe(self, row: Mapping[str, Any], file: str, number: int) -> None:
        """Note the shape of one row."""
        keys = tuple(row)
        known = self._known.get(keys) or self._meet(keys)
        kinds = tuple(
            [
                "text"
                if type(value := row[name]) is str and value[:1] not in _MAY_BE_TURNS
                else _kind(value)
                for name in known[0]
            ]
        )
        count = known[1].get(kinds)
        if count is None:
            known[1][kinds] = [1, file, number]
        else:
            count[0] += 1
        self.rows += 1

    def _meet(self, keys: tuple[str, ...]) -> tuple[tuple[str, ...], _Counts]:
        names = tuple(name for name in keys if name in self._watched)
        self._name(keys)
        if len(self._known) > _MOST_KEPT:
            self._known.clear()
        found = self._known[keys] = (names, self._counts.setdefault(names, {}))
        return found

    def _name(self, keys: Iterable[str]) -> None:
        for key in keys:
            if len(self.names) < _MOST_KEPT or key in self._watched:
                self.names[key] = None

    def plain(self) -> list[Any]:
        """Give all of it as plain data, for ``join``."""
        counts = [[names, list(shapes.items())] for names, shapes in self._counts.items()]
        return [list(self.names), self.rows, counts]

    def join(self, names: list[str], rows: int, counts: list[Any]) -> None:
        """Take in the shapes of the rows that follow, as ``plain`` gives them."""
        self._name(names)
        self.rows += rows
        for columns, shapes in counts:
            known = self._counts.setdefault(tuple(columns), {})
            for kinds, (count, *first) in shapes:
                known.setdefault(tuple(kinds), [0, *first])[0] += count

    def having(self, *wanted: tuple[str, str]) -> tuple[int, str]:
        """Count the rows with all of these (column, kind), and name the first.

        The kind "" is any content; "?" is any, even none.
        """
        total, first = 0, ""
        for names, shapes in self._counts.items():
            for kinds, (count, file, number) in shapes.items():
                kind_of = dict(zip(names, kinds, strict=True))
                if all(_fits(kind_of.get(name), kind) for name, kind in wanted):
                    total += count
                    first = first or f"{printable(file, 100)}, row {number}"
        return total, first


def _fits(found: str | None, wanted: str) -> bool:
    if found is None:
        return False
    return wanted == "?" or (found != "" if wanted == "" else found == wanted)


def _kind(value: object) -> str:
    if value is None or (type(value) in (str, list) and not value):
        return ""
    if type(value) is str:
        turn = first_turn(value)
        return "text" if turn is None else _kind([turn])
    if type(value) is list and isinstance(value[0], dict):
        turn = value[0]
        if turn.get("from") is not None or turn.get("value") is not None:
            return "from/value"
        if turn.get("role") is not None or turn.get("content") is not None:
            return "role/content"
    return "yes or no" if type(value) is bool else "other"


def check_columns(settings: ReadingSettings) -> None:
    """Raise ``RecipeError`` for parts that do not exist or do not go together."""
    columns = settings.columns or {}
    for role in columns:
        if role not in ROLES:
            near = difflib.get_close_matches(role, ROLES, 1)
            hint = f"; did you mean {near[0]}?" if near else "."
            raise RecipeError(
                f"columns: no part is called {printable(role)}{hint} Parts: {', '.join(ROLES)}."
            )
    used = columns.keys() - {"system", "tools", "source"}
    fitting = [name for name, family in _FAMILY.items() if used <= family]
    if settings.format != "auto" and settings.format not in fitting:
        raise RecipeError(
            f"columns: {', '.join(sorted(used))} are no parts of the {settings.format} format; its "
            f"parts are {', '.join(sorted(_FAMILY[settings.format]))}, system, tools and source."
        )
    if not fitting:
        raise RecipeError(
            f"columns: {', '.join(sorted(used))} do not go together. Give instruction, input and "
            "output, or prompt and completion, or messages."
        )


def recognise(shapes: Shapes, data: str) -> Layout:
    """Decide the one layout of all rows seen; ``data`` is what they are called in messages.

    Raises
    ------
    DataError
        No layout fits, or several do.
    RecipeError
        A column asked for does not exist.
    """
    for role, column in (shapes.settings.columns or {}).items():
        if column not in shapes.names:
            near = difflib.get_close_matches(column, list(shapes.names), 1)
            hint = f"; did you mean {printable(near[0])}?" if near else "."
            raise RecipeError(
                f"columns: {role}={printable(column)}, but {data} has no such column{hint} "
                f"Columns: {_listed(shapes.names)}."
            )
    for column in shapes.settings.ignore:
        if column not in shapes.names:
            raise RecipeError(
                f"ignore: {data} has no column {printable(column)}. Columns: "
                f"{_listed(shapes.names)}."
            )
    explicit = bool(shapes.settings.columns) or shapes.settings.format != "auto"
    pairs_of_answers = shapes.having(("chosen", ""), ("rejected", ""))[0]
    found = _candidates(shapes, "")
    if (pairs_of_answers and not explicit) or not found:
        found = [] if pairs_of_answers else _candidates(shapes, "?")
    if not found:
        raise _not_recognised(shapes, data)
    if len(found) == 2 and _may_be_twins(shapes, *found):
        return replace(found[0], twin=found[1])
    if len(found) > 1:
        raise _ambiguous(shapes, data, found)
    return found[0]


def _may_be_twins(shapes: Shapes, turns: Layout, pair: Layout) -> bool:
    """Tell whether every row of a pair of columns has turns as well."""
    column = turns.columns.get("messages")
    if column is None or "messages" in pair.columns:
        return False
    texts = [(name, "") for role, name in _parts(pair).items() if role != "input"]
    kind = "role/content" if turns.format == "messages" else "from/value"
    return shapes.having((column, kind), *texts)[0] == shapes.having(*texts)[0]


def _candidates(shapes: Shapes, content: str) -> list[Layout]:
    given = shapes.settings.columns or {}
    used = given.keys() - {"system", "tools", "source"}
    wanted = [
        name
        for name, family in _FAMILY.items()
        if used <= family and shapes.settings.format in ("auto", name)
    ]
    found: list[Layout] = []
    if "messages" in wanted or "sharegpt" in wanted:
        for column in [given["messages"]] if "messages" in given else CONVERSATIONS:
            for name, kind in (("messages", "role/content"), ("sharegpt", "from/value")):
                if name in wanted and shapes.having((column, kind))[0]:
                    found.append(Layout(name, _with_extras(shapes, {"messages": column})))
        if not found and content == "?" and ("messages" in given or len(wanted) <= 2):
            usual = "messages" if wanted[0] == "messages" else "conversations"
            column = given.get("messages", usual)
            if shapes.having((column, "?"))[0]:
                found.append(Layout(wanted[0], _with_extras(shapes, {"messages": column})))
    found += _pair_candidates(shapes, content, wanted)
    return found


def _pair_candidates(shapes: Shapes, content: str, wanted: list[str]) -> list[Layout]:
    given = shapes.settings.columns or {}
    one_format = shapes.settings.format != "auto"
    asked = one_format or given.keys() - {"system", "tools", "source"}
    instructed = not asked and shapes.having(("instruction", ""))[0] > 0
    found: dict[tuple[str, str], Layout] = {}
    for name, prompt, completion in PAIRS:
        if name not in wanted:
            continue
        first, second = _FAMILY_ROLES[name]
        if (prompt, completion) == ("input", "output") and instructed:
            continue  # there, ``input`` is what the instruction is about
        prompt, completion = given.get(first, prompt), given.get(second, completion)
        if prompt == completion or (prompt, completion) in found:
            continue
        if not shapes.having((prompt, content), (completion, content))[0]:
            continue
        columns = {first: prompt, second: completion}
        if first == "instruction":
            context = given.get("input") or _first_filled(shapes, INPUTS, (prompt, completion))
            if context:
                columns = {first: prompt, "input": context, second: completion}
            if not one_format:
                name = "alpaca" if completion == "output" else "instruction-response"
        found[prompt, completion] = Layout(name, _with_extras(shapes, columns))
        if one_format and (prompt, completion) == _OWN_NAMES[name]:
            break  # asked for by name, and there under its own names
    return list(found.values())


_OWN_NAMES = {name: (prompt, completion) for name, prompt, completion in reversed(PAIRS)}
_FAMILY_ROLES = {
    "alpaca": ("instruction", "output"),
    "instruction-response": ("instruction", "output"),
    "prompt-completion": ("prompt", "completion"),
}


def _first_filled(shapes: Shapes, names: Iterable[str], taken: tuple[str, ...]) -> str | None:
    given = (shapes.settings.columns or {}).values()
    for name in names:
        if name not in taken and name not in given and shapes.having((name, ""))[0]:
            return name
    return None


def _with_extras(shapes: Shapes, columns: dict[str, str]) -> dict[str, str]:
    given = shapes.settings.columns or {}
    taken = tuple(columns.values())
    system = given.get("system") or _first_filled(shapes, SYSTEMS, taken)
    tools = given.get("tools")
    turns = "messages" in columns or shapes.having((columns.get("prompt", ""), "role/content"))[0]
    if tools is None and turns:
        tools = _first_filled(shapes, TOOLS, taken)
    source = given.get("source") or _first_filled(shapes, ("source",), taken)
    extras = {"system": system, "tools": tools, "source": source}
    return columns | {role: column for role, column in extras.items() if column}


def _ambiguous(shapes: Shapes, data: str, found: list[Layout]) -> DataError:
    lines = []
    for layout in found:
        parts = _parts(layout)
        if "messages" in parts:
            kind = "role/content" if layout.format == "messages" else "from/value"
            count, first = shapes.having((parts["messages"], kind))
        else:
            count, first = shapes.having(
                *((column, "") for role, column in parts.items() if role != "input")
            )
        rows = f"{count:,} of {shapes.rows:,} rows, the first {first}"
        lines.append(f"  {_options(layout)}   ({rows})")
    return DataError(
        f"{data} can be read in more than one way:\n" + "\n".join(lines) + "\nChoose one of these."
    )


def twins_differ(layout: Layout, where: str) -> DataError:
    """Say that the turns of a row are not what the pair of columns beside them says."""
    assert layout.twin is not None
    either = [", ".join(_parts(one).values()) for one in (layout, layout.twin)]
    return DataError(
        f"{where}: {printable(either[0])} and {printable(either[1])} do not say the same, so the "
        f"data can be read in more than one way:\n  {_options(layout)}\n"
        f"  {_options(layout.twin)}\nChoose one of these."
    )


def _parts(layout: Layout) -> dict[str, str]:
    extras = ("system", "tools", "source")
    return {role: column for role, column in layout.columns.items() if role not in extras}


def _options(layout: Layout) -> str:
    said = " ".join(f"--columns {role}={printable(col)}" for role, col in _parts(layout).items())
    return f"--format {layout.format} {said}"


def _choosing(shapes: Shapes) -> str:
    """Say how the chosen answers of preference pairs are read."""
    if any(shapes.having(("chosen", kind))[0] for kind in ("role/content", "from/value")):
        return "--columns messages=chosen"
    for name in dict.fromkeys([*(prompt for _, prompt, _ in PAIRS), *CONVERSATIONS]):
        if shapes.having((name, ""))[0]:
            family = {prompt: layout for layout, prompt, _ in reversed(PAIRS)}
            first, second = _FAMILY_ROLES[family.get(name, "prompt-completion")]
            return f"--columns {first}={name} --columns {second}=chosen"
    return "--columns prompt=COLUMN --columns completion=chosen"


def _not_recognised(shapes: Shapes, data: str) -> DataError:
    listed = _listed(shapes.names)
    if shapes.having(("chosen", ""), ("rejected", ""))[0]:
        return DataError(
            f"{data} looks like preference pairs (chosen, rejected), which DPO-like training uses. "
            "Supervised fine-tuning learns one completion per row. To learn the chosen answers "
            f"alone, add {_choosing(shapes)}."
        )
    for columns, words in _FOREIGN:
        count, first = shapes.having(*columns)
        if count:
            return DataError(f"{first}, {', '.join(name for name, _ in columns)}: {words}")
    if shapes.having(("instances", "other"))[0]:
        return DataError(
            f"{data} has nested lists: each row's column instances holds several examples. Write "
            "one row per example, with instruction, input and output."
        )
    others = [name for name in shapes.names if name != "text"]
    if shapes.having(("text", "text"))[0] and len(others) <= len(
        [name for name in others if name in ("id", "meta", "source", "url", "timestamp")]
    ):
        return DataError(
            f"{data} is plain text: its column text has no boundary between prompt and completion, "
            "so there is nothing to tell what is to be learned. Split it into two columns, prompt "
            "and completion."
        )
    for name in CONVERSATIONS:
        count, first = shapes.having((name, "other"))
        if count:
            return DataError(
                f"{first}, {name}: no turns with a role, perhaps texts of which nobody knows who "
                'says them. Write them as [{"role": "user", "content": ...}, {"role": '
                '"assistant", "content": ...}].'
            )
        if shapes.having((name, "text"))[0]:
            return DataError(
                f"{data}: its column {name} holds text that is not the JSON text of a list of "
                "turns with role and content, or from and value. Write it with json.dumps, or as "
                "JSONL or Parquet with real lists."
            )
    asked = "" if shapes.settings.format == "auto" else f" as {shapes.settings.format}"
    fitting = ""
    for layout in _candidates(replace(shapes, settings=ReadingSettings()), "") if asked else []:
        fitting = f" It can be read as {layout.format}."
    return DataError(
        f"{data} cannot be read{asked}: no layout fits its columns ({listed}).{fitting}\n"
        f"{_LAYOUTS}\n"
        "Say which column is which, for example --columns prompt=COLUMN --columns "
        "completion=COLUMN."
    )


def _listed(names: Iterable[str]) -> str:
    found = [printable(name, 60) for name in names]
    more = f" and {len(found) - _MOST_NAMES:,} more" if len(found) > _MOST_NAMES else ""
    return (", ".join(found[:_MOST_NAMES]) + more) or "none"
