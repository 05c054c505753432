"""The page: one HTML file of its own, that loads nothing, and in which no text of data is markup.

What may stand in the page as it is comes from three places alone: drawings, whose texts
ElementTree escapes; data, as JSON in which no character can end the element it stands in; and the
style and script of this folder. All else is escaped by jinja2.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from smalltolarge.errors import harmless
from smalltolarge.report.page.drawing import Drawing
from smalltolarge.report.page.figures import NARROW, WIDE

HERE = Path(__file__).parent
_UNSAFE = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


class Json:
    """Data for the script of a page."""

    def __init__(self, content: object) -> None:
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        self.text = text.translate(_UNSAFE)

    def __html__(self) -> str:
        """Give it as it may stand in a script element."""
        return self.text


class _Own:
    """A file of this folder, with which the page is shown."""

    def __init__(self, *names: str) -> None:
        self.text = "\n".join((HERE / name).read_text(encoding="utf-8") for name in names)

    def __html__(self) -> str:
        return self.text

    @property
    def digest(self) -> str:
        """What the policy of the page lets pass."""
        sha256 = hashlib.sha256(self.text.encode()).digest()
        return f"'sha256-{base64.b64encode(sha256).decode()}'"


@dataclass(frozen=True)
class Cell:
    """A cell of a table: what is shown, and the number itself where it is one."""

    text: str
    value: float | None = None

    @property
    def is_number(self) -> bool:
        """Whether it is a number."""
        return self.value is not None


@dataclass(frozen=True)
class Table:
    """A table under a figure."""

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    @classmethod
    def of(cls, caption: str, headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
        """Make one of texts, numbers and None; shares are numbers in [0, 1] of the type Share.

        Columns in which there is nothing are left out.
        """
        cells = [[_cell(value) for value in row] for row in rows]
        columns = [n for n in range(len(headings)) if any(row[n].text for row in cells)]
        return cls(
            caption,
            [headings[n] for n in columns],
            [[row[n] for n in columns] for row in cells],
        )

    def is_number(self, column: int) -> bool:
        """Whether a column holds nothing but numbers, which stand to the right."""
        cells = [row[column] for row in self.rows if row[column].text]
        return bool(cells) and all(cell.is_number for cell in cells)


class Share(float):
    """A number that is told in percent."""


def _cell(value: Any) -> Cell:
    if isinstance(value, Cell):
        return value
    if value is None:
        return Cell("")
    if isinstance(value, Share):
        return Cell(f"{value:.1%}", float(value))
    if isinstance(value, int):
        return Cell(f"{value:,}", value)
    if isinstance(value, float):
        return Cell(f"{value:,.3f}" if abs(value) < 1000 else f"{value:,.0f}", value)
    return Cell(harmless(str(value)))


@dataclass(frozen=True)
class Both:
    """A figure in two widths, of which one is seen."""

    wide: Drawing
    narrow: Drawing

    @classmethod
    def of(cls, draw: Callable[..., Drawing], *given: Any) -> Both:
        """Draw it twice."""
        return cls(draw(*given, WIDE), draw(*given, NARROW))


def render(template: str, data: object | None, **values: Any) -> str:
    """Fill a template of this package; every text in ``values`` is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = _Own("figures.css", "page.css"), _Own("page.js")
    policy = (
        f"default-src 'none'; style-src {style.digest}; script-src {script.digest}; "
        "base-uri 'none'; form-action 'none'"
    )
    from smalltolarge import __version__

    return environment.get_template(template).render(
        style=style,
        script=script,
        policy=policy,
        version=__version__,
        data=None if data is None else Json(data),
        **values,
    )
