"""Rows as a model sees them: the very tokens of the training, as text."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from tokenizers import Tokenizer

import smalltolarge
from smalltolarge.errors import DataError
from smalltolarge.examples.shown import CLOSE, OPEN, Shown, Stretch
from smalltolarge.examples.table import Message
from smalltolarge.lm import prepare, show, show_first
from smalltolarge.report.rows import show_rows
from smalltolarge.settings import ProxySettings
from tests.conftest import Cli
from tests.lm_samples import CHATML, SMALL, examples_of, model_folder

TALKS = [
    [
        Message("system", "Be short."),
        Message("user", "What is 2 + 3?"),
        Message("assistant", "It is 5."),
        Message("user", "And twice as much? ✓"),
        Message("assistant", "That is\n10. ✓"),
    ],
    [
        Message("user", "Say <|im_end|>."),
        Message("assistant", "It was said.", learned=False),
        Message("user", "Say it again."),
        Message("assistant", "Again."),
    ],
]
SILENT = (  # system turns vanish
    "{% for m in messages %}{% if m.role != 'system' %}{{ m.role }}: {{ m.content }}</s>"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    from transformers import GPTNeoXConfig

    folder = tmp_path_factory.mktemp("models")
    chats = {"chatml": CHATML, "silent": SILENT}
    config = GPTNeoXConfig(**SMALL)
    return {name: str(model_folder(folder / name, config, chat=chats[name])) for name in chats}


def settings_of(models: dict[str, str], name: str, **more: Any) -> ProxySettings:
    return ProxySettings(proxy=models.get(name, name), device="cpu", **more)


def learned(row: Shown) -> str:
    return "".join(part.text for part in row.stretches if part.is_learned)


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("chatml", {}),
        ("chatml", {"template": "alpaca", "preamble": "Begin."}),
        ("chatml", {"max_length": 60}),
        ("silent", {}),
        ("scratch-0.1m", {}),
        ("scratch-0.1m", {"max_length": 45}),
    ],
)
def test_what_is_shown_is_what_is_trained_on(
    models: dict[str, str], model: str, settings: dict[str, Any]
) -> None:
    talks = TALKS[:1] if settings.get("max_length") else TALKS
    how, examples = settings_of(models, model, **settings), examples_of(talks)
    prepared = prepare(examples, how, 0)
    names = Tokenizer.from_str(prepared.tokenizer.text)
    rows = show(examples, how, range(len(talks)))
    assert rows[0] == show_first(examples, prepared)
    for number, row in enumerate(rows):
        tokens, mask = (
            array[prepared.offsets[number] : prepared.offsets[number + 1]]
            for array in (prepared.tokens, prepared.completion)
        )
        assert (row.n_tokens, row.n_learned) == (len(tokens), mask.sum())
        whole = names.decode(tokens.tolist(), skip_special_tokens=False)
        assert "".join(part.text for part in row.stretches) == whole
        taught = names.decode(tokens[mask].tolist(), skip_special_tokens=False)
        assert learned(row) == taught


def test_what_is_not_there_or_not_learned_is_named(models: dict[str, str]) -> None:
    examples = examples_of(TALKS)
    first, second = show(examples, settings_of(models, "silent"), [0, 1])
    assert first.notes == ("turn 1 (system): content left out",)
    assert second.notes == ("turn 2 (assistant): context, not to be learned",)
    (cut,) = show(examples, settings_of(models, "chatml", max_length=60), [0])
    whole = show(examples, settings_of(models, "chatml"), [0])[0]
    assert cut.notes == (
        f"cut at max_length 60: {whole.n_tokens - 60} more tokens, "
        f"{whole.n_learned - cut.n_learned} of them to be learned",
    )
    (short,) = show(examples, settings_of(models, "chatml", max_length=8), [0])
    assert short.notes[-1] == "left out of training: no completion token within max_length"
    assert (short.n_tokens, short.n_learned) == (8, 0)
    excluded = settings_of(models, "chatml", max_length=60, on_truncated="exclude")
    assert show(examples, excluded, [0])[0].notes[-1] == "left out of training: completion cut"


def test_special_tokens_are_told_from_text_that_looks_like_them(models: dict[str, str]) -> None:
    chat, headings = (
        show(examples_of(TALKS), settings_of(models, "chatml", template=template), [1])[0]
        for template in ("chat", "alpaca")
    )
    special = [part.text for part in chat.stretches if part.is_special]
    assert special.count("<|im_end|>") == 5  # one is in the row
    assert {part.text for part in headings.stretches if part.is_special} == {"</s>"}


def test_a_template_that_changes_an_answer_is_shown_with_what_it_changes(
    models: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "loud.jinja"
    file.write_text(CHATML.replace("{{ m['content'] }}", "{{ m['content'] | upper }}"))
    how = {"template": str(file)}
    (row,) = show(examples_of(TALKS), settings_of(models, "chatml", **how), [1])
    assert any("content changed; a run stops here" in note for note in row.notes)
    assert str(file) in row.written_by
    kept = settings_of(models, "chatml", **how, on_template_loss="exclude")
    assert "left out of training" in show(examples_of(TALKS), kept, [1])[0].notes[-1]


def test_a_vocabulary_of_some_rows_is_said_to_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smalltolarge.lm.showing._ENOUGH", 1)
    (row,) = show(examples_of(TALKS), settings_of({}, "scratch-0.1m"), [1])
    assert row.notes[-1].startswith("the vocabulary is that of the first 1 rows")


def printed(rows: list[Shown], **console: Any) -> str:
    file = io.StringIO()
    show_rows(rows, Console(file=file, width=80, **console))
    return file.getvalue()


def test_a_terminal_shows_colours_and_a_file_marks(models: dict[str, str]) -> None:
    rows = show(examples_of(TALKS), settings_of(models, "chatml"), [0, 1])
    plain = printed(rows)
    assert f"{OPEN}That is\n  10. ✓<|im_end|>{CLOSE}" in plain
    assert all(str(row) in plain for row in rows)
    coloured = printed(rows, force_terminal=True, color_system="standard", no_color=False)
    assert OPEN not in coloured
    assert "\x1b[32mIt is 5.\x1b[0m\x1b[4;35m<|im_end|>\x1b[0m" in coloured
    assert OPEN in printed(rows, force_terminal=True, color_system="standard", no_color=True)


def test_a_row_cannot_write_to_the_terminal(models: dict[str, str]) -> None:
    talk = [Message("user", "\x1b[31mred\x07"), Message("assistant", "a\tb\r\u202ec")]
    (row,) = show(examples_of([talk]), settings_of(models, "chatml"), [0])
    assert not set("\x1b\x07\r\u202e") & set(printed([row]))
    assert r"\x1b[31mred\x07" in str(row)


@given(
    st.lists(
        st.builds(Stretch, st.text("ab \n", min_size=1, max_size=400), *[st.booleans()] * 2),
        max_size=30,
    )
)
def test_in_short_a_row_is_a_few_lines(parts: list[Stretch]) -> None:
    row = Shown("rows.jsonl, row 1", "headings", tuple(parts), 9, 3)
    short = str(row.in_short()).split("\n")
    assert len(short) <= 11
    assert max(map(len, short)) <= 180
    marks = [character for character in str(row.in_short()) if character in OPEN + CLOSE]
    assert marks == [OPEN, CLOSE] * (len(marks) // 2)
    if len(str(row).split("\n")) <= 10 and max(map(len, str(row).split("\n"))) < 100:
        assert str(row.in_short()) == str(row)


def test_learned_lines_that_are_not_shown_stand_between_the_marks() -> None:
    lines = "".join(f"{number}\n" for number in range(20))
    row = Shown(
        "rows.jsonl, row 1", "headings", (Stretch("a\n", False), Stretch(lines, True)), 9, 3
    )
    text = str(row.in_short())
    assert text.count(OPEN) == text.count(CLOSE) == 1
    assert text.index(OPEN) < text.index("…") < text.index(CLOSE)


def test_the_command_shows_the_first_rows_or_those_asked_for(
    s2l: Cli, data: Path, tmp_path: Path
) -> None:
    shown = s2l("show-text", "data.jsonl", "--rows", "2", "--proxy", "scratch-0.1m").stdout
    first, second, *_ = map(json.loads, data.read_text().splitlines())
    assert shown.count("data.jsonl, row ") == 2
    for row in (first, second):
        said = row["output"].replace("\n", "\n  ")
        assert f"### Response:\n  {OPEN}{said}<|endoftext|>{CLOSE}" in shown
    rows = smalltolarge.show_text(str(data), rows=5, proxy="scratch-0.1m")
    assert [row.n_learned > 0 for row in rows] == [True] * 5
    name = rows[3].place.partition("id ")[2]
    again = s2l("show-text", "data.jsonl", "--proxy", "scratch-0.1m", "--id", name[:12]).stdout
    assert "row 4, id " + name in again
    assert again.count("data.jsonl, row ") == 1
    with pytest.raises(DataError, match="no row has an id that begins with zz"):
        smalltolarge.show_text(str(data), ids=["zz"], proxy="scratch-0.1m")


def test_the_first_row_is_shown_before_training(s2l: Cli, data: Path) -> None:
    planned = s2l("select", "data.jsonl", "--budget", "20%", "--dry-run").stderr
    recorded = s2l("record", "data.jsonl", "--dry-run").stderr
    for said in (planned, recorded):
        assert "data.jsonl, row 1, id " in said
        assert OPEN in said
