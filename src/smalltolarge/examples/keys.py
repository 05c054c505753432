"""Keys that change what a row means: one table of all of them.

Whatever stands beside the texts of a row carries nothing for learning (ids, scores, provenance) and
passes untouched, unless it is in ``TABLE``: then it is read, honoured, or refused by name. A key
that is added there is looked for in every layout, and the pages and the tests know it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from smalltolarge.examples.nested import decoded
from smalltolarge.examples.problems import Reason, Refused, shown
from smalltolarge.examples.splits import is_of_evaluation

Place = Literal["row", "turn", "part"]
Value = Any

CONVERSATION = "conversation"
"""Instead of a role: the key stands beside a list of turns, not beside one answer."""
_LEARNABLE = ("assistant", CONVERSATION)
_YES, _NO = frozenset(("true", "1", "1.0")), frozenset(("false", "0", "0.0"))
_EMPTY_JSON = ("[]", "{}", "null")
_SWITCHES = _YES | _NO | {"on", "off", "yes", "no"}


@dataclass(slots=True)
class Said:
    """What the keys of the table say of one row, turn or part."""

    role: str
    """The role of the turn; for a row "assistant" where it has one answer, else CONVERSATION."""
    explicit: bool = False
    """Whether the layout was asked for by name."""
    reasoning: str = ""
    unlearned_by: str = ""
    """The field that marks it as not learned, if one does."""
    history: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Key:
    """Names that mean one thing, where they may stand, and what is done about them."""

    names: tuple[str, ...]
    places: tuple[Place, ...]
    means: str
    act: Callable[[Said, Value, str], None]
    """Take a value in, or raise ``Refused``, naming the field."""
    done: str = "refused"
    nothing: str = "empty"
    """The values that carry nothing, in words."""
    is_nothing: Callable[[Value, str], bool] = lambda value, role: is_empty(value)
    """Whether a value carries nothing on a turn of this role (or a row, see ``Said.role``)."""


def look(
    given: Mapping[str, Value],
    place: Place,
    said: Said,
    where: str = "",
    besides: frozenset[str] = frozenset(),
) -> Said:
    """Take in what the keys of one object say, but for the columns ``besides``."""
    table = BY_NAME[place]
    for name, value in given.items():
        key = table.get(name)
        if key and name not in besides and not key.is_nothing(value, said.role):
            field = f"{where}, {name}" if where else name
            try:
                key.act(said, value, field)
                if name not in key.names:
                    usual = next(one for one in key.names if name in _spellings(one))
                    raise Refused("not honoured", field, shown(value), f"the name {usual}")
            except Refused as refused:
                if place != "row":
                    raise
                flaw = refused.flaw
                wanted = f"{flaw.wanted}; or --ignore {name}, where it means nothing"
                raise Refused(flaw.reason, flaw.field, flaw.found, wanted) from None
    return said


def _spellings(name: str) -> frozenset[str]:
    """Give a name as people spell it: loss_mask, Loss_Mask, LossMask, lossMask, LOSS_MASK."""
    first, *others = name.split("_")
    joined = "".join(map(str.capitalize, others))
    return frozenset(
        (name, name.upper(), name.capitalize(), name.title(), first + joined,
         first.capitalize() + joined)
    )  # fmt: skip


def no_keys(columns: Iterable[str]) -> frozenset[str]:
    """Give the names that mean nothing more, since these columns have been given a part."""
    used = frozenset(columns)
    answers = frozenset().union(*map(_spellings, _ANSWERS.names))
    return used | answers if used & answers else used


def is_empty(value: Value) -> bool:
    """Tell whether there is nothing in a value, however it is nested."""
    if isinstance(value, dict):
        return all(map(is_empty, value.values()))
    if isinstance(value, list):
        return all(map(is_empty, value))
    return value is None or (type(value) is str and not value.strip())


def take_reasoning(said: Said, value: Value, where: str) -> None:
    """Take in what an assistant thought; two thoughts that differ are refused."""
    if type(value) is bool or (type(value) is str and value.strip().lower() in _SWITCHES):
        raise Refused(
            "not honoured", where, f"{shown(value)}, a switch",
            "the reasoning itself; options of a template go in by --template-arg",
        )  # fmt: skip
    if type(value) is not str:
        raise Refused("not text", where, shown(value), "the reasoning as one text, or null")
    if said.role == CONVERSATION:
        raise Refused(
            "not honoured", where, shown(value),
            "reasoning in the turn that it belongs to, beside its content",
        )  # fmt: skip
    if said.role != "assistant":
        raise Refused("not honoured", where, shown(value), "reasoning in assistant turns alone")
    if said.reasoning and said.reasoning != value:
        raise Refused(
            "not honoured", where, f"{shown(value)}, besides another reasoning", "one reasoning"
        )
    said.reasoning = value


def _blank(value: Value, role: str = "") -> bool:
    return value is None or (type(value) is str and not value.strip())


def _none_given(value: Value, role: str) -> bool:
    return _no(value, role) or (type(value) is str and value.strip() in _EMPTY_JSON)


def _no_text(value: Value, role: str) -> bool:
    return is_empty(value) or isinstance(value, bool | int | float)


def _no(value: Value, role: str) -> bool:
    return is_empty(value) or _yes_or_no(value) is False


def _yes_or_no(value: Value) -> bool | None:
    """Read it whoever made it: numpy and decimal have numbers of their own."""
    text = "" if isinstance(value, dict | list) else str(value).strip().lower()
    return True if text in _YES else False if text in _NO else None


def _is_usual(value: Value, role: str) -> bool:
    """Assistants' turns are learned and others are not, marked or unmarked."""
    return _blank(value) or _yes_or_no(value) is (role in _LEARNABLE)


def _is_usually_masked(value: Value, role: str) -> bool:
    return _blank(value) or _yes_or_no(value) is (role not in _LEARNABLE)


def _mark(said: Said, value: Value, where: str) -> None:
    if _yes_or_no(value) is None:
        raise Refused(
            "not honoured", where, shown(value),
            "0 or 1, true or false: a turn is learned or not, other weights are not used",
        )  # fmt: skip
    if said.role not in _LEARNABLE:
        raise Refused(
            "not honoured", where, f"{shown(value)} on a {said.role} turn",
            "no such mark: assistant turns alone are learned",
        )  # fmt: skip
    said.unlearned_by = where


def _grade(said: Said, value: Value, where: str) -> None:
    if not said.explicit:
        raise Refused(
            "preference data", where, f"{shown(value)}, a grade of the answer as KTO uses",
            "no grade. Add --format to read the good answers and refuse the bad",
        )  # fmt: skip
    if not _yes_or_no(value):
        raise Refused(
            "preference data", where, f"{shown(value)}, which marks a bad answer", "good answers"
        )


def _refuse(
    reason: Reason, wanted: str, *, unless_asked: bool = False
) -> Callable[[Said, Value, str], None]:
    def act(said: Said, value: Value, where: str) -> None:
        if not (unless_asked and said.explicit):
            raise Refused(reason, where, shown(value), wanted)

    return act


def _rounds(said: Said, value: Value, where: str) -> None:
    wanted = "a list of [question, answer] pairs of texts beside one answer"
    found = decoded(value, where, wanted) if type(value) is str else value
    if said.role == CONVERSATION or not isinstance(found, list):
        raise Refused("not honoured", where, shown(value), wanted)
    for number, pair in enumerate(found, 1):
        if not isinstance(pair, list) or [type(text) for text in pair] != [str, str]:
            raise Refused("not honoured", f"{where}, round {number}", shown(pair), wanted)
        if any(map(_blank, pair)):
            raise Refused("not honoured", f"{where}, round {number}", shown(pair), "no blank text")
        said.history.append((pair[0], pair[1]))


def _calls(said: Said, value: Value, where: str) -> None:
    if said.role != "assistant":
        raise Refused("not honoured", where, shown(value), "tool calls in assistant turns alone")


_refuse_media = _refuse("not only text", "text alone: images, sounds and videos are not read")
_ANSWERS = Key(
    names=(
        "chosen", "rejected", "chosen_response", "rejected_response", "chosen_messages",
        "rejected_messages", "preferred_output", "non_preferred_output",
    ),
    places=("row",),
    means="one of two answers, of which one is better: preference data, as DPO uses",
    done="refused, unless `--columns` gives one of these columns a part, as in "
    "`completion=chosen`; the others are then left aside",
    nothing="empty, a number, true, false",
    is_nothing=_no_text,
    act=_refuse(
        "preference data",
        "one answer to learn: to learn the better ones, name their column, as in --columns "
        "messages=chosen or --columns completion=chosen",
    ),
)  # fmt: skip

TABLE = (
    Key(
        names=("reasoning_content", "reasoning", "thinking"),
        places=("row", "turn"),
        means="what the assistant thought before it answered",
        done="read: part of the conversation, before the answer's text. Refused where it is no "
        "text, stands beside a list of turns or in a turn that is not the assistant's, is a mere "
        "switch (`on`), or differs from another one there",
        nothing="null, blank",
        is_nothing=_blank,
        act=take_reasoning,
    ),
    Key(
        names=("reasoning_details", "thinking_blocks"),
        places=("turn",),
        means="reasoning in pieces, some of them perhaps encrypted",
        act=_refuse("not honoured", "the reasoning as one text, in reasoning_content"),
    ),
    Key(
        names=("thought", "thoughts", "think", "cot", "complex_cot", "chain_of_thought"),
        places=("row", "turn"),
        means="perhaps reasoning that belongs to the answer, perhaps somebody's notes on it",
        nothing="empty, a number, true, false",
        is_nothing=_no_text,
        act=_refuse("not honoured", "reasoning that is to be learned in reasoning_content"),
    ),
    Key(
        names=("channel",),
        places=("turn",),
        means="whether a turn is said or thought, as in OpenAI's Harmony",
        done="`analysis` and `commentary` are refused",
        nothing="anything else",
        is_nothing=lambda value, role: (
            type(value) is not str or value.strip().lower() not in ("analysis", "commentary")
        ),
        act=_refuse("not honoured", "thoughts in reasoning_content of the turn that follows"),
    ),
    Key(
        names=(
            "weight",
            "loss_weight",
            "loss_scale",
            "train",
            "training",
            "trainable",
            "loss_mask",
        ),
        places=("row", "turn", "part"),
        means="whether this is learned",
        done="0 and false are honoured: an assistant turn so marked, itself or in all its parts, "
        "is context for others; a row so marked has nothing to learn. Other weights, parts of one "
        "turn that differ, and 1 or true on a turn that is not the assistant's are refused",
        nothing="null, blank; 1, true; 0, false on other turns than the assistant's",
        is_nothing=_is_usual,
        act=_mark,
    ),
    Key(
        names=("loss", "step_loss_mask"),
        places=("turn", "part"),
        means="the same",
        done="the same",
        nothing="the same",
        is_nothing=_is_usual,
        act=_mark,
    ),
    Key(
        names=("loss",),
        places=("row",),
        means="true or false: whether this row is learned; a number: some model's loss on it",
        done="false is honoured: the row has nothing to learn",
        nothing="all but false",
        is_nothing=lambda value, role: str(value).strip().lower() != "false",
        act=_mark,
    ),
    Key(
        names=("sample_weight",),
        places=("row",),
        means="how much this row counts",
        done="0 is honoured: the row has nothing to learn; other weights are refused",
        nothing="null, blank, 1, true",
        is_nothing=_is_usual,
        act=_mark,
    ),
    Key(
        names=("masked",),
        places=("row", "turn", "part"),
        means="whether this is kept from being learned",
        done="as the marks above, the other way round",
        nothing="null, blank; 0, false; 1, true on other turns than the assistant's",
        is_nothing=_is_usually_masked,
        act=_mark,
    ),
    Key(
        names=("mask",),
        places=("row", "turn", "part"),
        means="to some tools what is learned, to others what is not",
        nothing="null, blank; the user's role, in a row",
        is_nothing=lambda value, role: (
            _blank(value) or (type(value) is str and value.strip().lower() in ("user", "human"))
        ),
        act=_refuse("not honoured", '"train": true or false, which leaves no doubt'),
    ),
    Key(
        names=("train_detail", "training_detail"),
        places=("turn",),
        means="which characters of a turn are learned",
        act=_refuse("not honoured", "turns that are learned as a whole or not"),
    ),
    Key(
        names=("mask_history", "train_on_prompt", "train_on_input", "train_on_inputs"),
        places=("row",),
        means="whether earlier answers are left out, or prompts learned as well",
        nothing="empty, 0, false",
        is_nothing=_no,
        act=_refuse(
            "not honoured", "no such field; --learn last leaves all but the last answer out"
        ),
    ),
    Key(
        names=("label", "kto_tag"),
        places=("row", "turn"),
        means="whether an answer is good or bad: preference data, as KTO uses",
        done="refused. With `--format`, rows of good answers are read, and those of bad ones "
        "refused one by one",
        nothing="all but 0, 1, true, false, as text too: the name of a class",
        is_nothing=lambda value, role: _yes_or_no(value) is None,
        act=_grade,
    ),
    _ANSWERS,
    Key(
        names=("images", "image", "audios", "audio", "videos", "video"),
        places=("row", "turn", "part"),
        means="something to see or to hear that the text is about",
        nothing='empty, 0, false; `"[]"`, `"{}"`, `"null"`',
        is_nothing=_none_given,
        act=_refuse_media,
    ),
    Key(
        names=("image_url", "input_audio"),
        places=("part",),
        means="the same",
        nothing='empty, 0, false; `"[]"`, `"{}"`, `"null"`',
        is_nothing=_none_given,
        act=_refuse_media,
    ),
    Key(
        names=("history",),
        places=("row",),
        means="earlier rounds, as a list of [question, answer]",
        done="read beside one answer: turns before the prompt, their answers learned too. Refused "
        "beside a list of turns, and where it is anything else",
        act=_rounds,
    ),
    Key(
        names=("tool_calls", "function_call"),
        places=("turn",),
        means="tools that the assistant calls",
        done="read: after the text of the turn. Refused in a turn that is not the assistant's",
        act=_calls,
    ),
    Key(
        names=("function_calls",),
        places=("turn",),
        means="tools that the assistant calls, in a form of its own",
        act=_refuse("not honoured", "the calls in tool_calls"),
    ),
    Key(
        names=("tools", "functions"),
        places=("row", "turn"),
        means="the tools there are",
        done="one of them is read beside a list of turns, and where `--columns` names it; else "
        "refused",
        nothing='null, blank, 0, false, `[]`, `{}`; `"[]"`, `"{}"`, `"null"`',
        is_nothing=lambda value, role: (
            not value or (type(value) is str and value.strip() in ("", *_EMPTY_JSON))
        ),
        act=_refuse(
            "not honoured",
            "tools in one column beside turns, or one that is named, as in --columns tools=tools",
        ),
    ),
    Key(
        names=("system", "system_prompt", "system_message"),
        places=("row",),
        means="what the model is told first",
        done="the first of them with content, over all rows, is read, or the one that `--columns` "
        "names; another is refused",
        nothing="null, blank",
        is_nothing=_blank,
        act=_refuse("not honoured", "system texts in one column"),
    ),
    Key(
        names=("input", "context"),
        places=("row",),
        means="what a question is about",
        done="one of them is read beside an instruction or a question; what is not read is refused "
        "beside texts, since the prompt may lack it, unless `--format` asks for these texts",
        nothing="null, blank, `[]`; anything beside a list of turns",
        is_nothing=lambda value, role: role == CONVERSATION or _blank(value) or value == [],
        act=_refuse(
            "not honoured",
            "a prompt that says it all, or --columns instruction=COLUMN --columns input=COLUMN",
            unless_asked=True,
        ),
    ),
    Key(
        names=("choices", "options"),
        places=("row",),
        means="the answers that a question lets choose among",
        done="refused beside texts, since the prompt may lack them",
        nothing='empty, a number, true, false; `"[]"`, `"{}"`, `"null"`; anything beside a list of '
        "turns",
        is_nothing=lambda value, role: (
            role == CONVERSATION or _none_given(value, role) or _no_text(value, role)
        ),
        act=_refuse("not honoured", "a prompt that lists what it lets choose among"),
    ),
    Key(
        names=("refusal",),
        places=("turn",),
        means="what the assistant said in place of an answer",
        act=_refuse("not honoured", "what is to be learned in content"),
    ),
    Key(
        names=("chat_template_kwargs",),
        places=("row",),
        means="options of the chat template for this row",
        done="refused; `--template-arg` gives one to all rows",
        act=_refuse("not honoured", "none: give options to all rows by --template-arg"),
    ),
    Key(
        names=("input_ids",),
        places=("row",),
        means="tokens in place of texts",
        act=_refuse("not honoured", "the texts, without tokens of some tokenizer"),
    ),
    Key(
        names=("split", "data_split", "partition", "subset"),
        places=("row",),
        means="the part of the data that the row is of",
        done="names with a word of an evaluation split (test, validation, valid, val, dev, eval, "
        "as in test_sft) are refused, unless `--columns` gives the column a part, as in "
        "`source=split`",
        nothing="anything else",
        is_nothing=lambda value, role: type(value) is not str or not is_of_evaluation(value),
        act=_refuse("held out", "rows to train on: leave these out with --on-bad-row exclude"),
    ),
)

BY_NAME: Mapping[Place, Mapping[str, Key]] = {
    place: {
        spelled: key
        for key in TABLE
        if place in key.places
        for name in key.names
        for spelled in _spellings(name)
    }
    for place in ("row", "turn", "part")
}
IN_ROWS, IN_TURNS, IN_PARTS = (frozenset(BY_NAME[place]) for place in ("row", "turn", "part"))
MARKS = tuple(dict.fromkeys(name for key in TABLE if key.act is _mark for name in key.names))
"""What may say that a turn is not learned."""
