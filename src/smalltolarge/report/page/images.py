"""Drawings as PNG, by resvg, which is an extra of this package."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from smalltolarge.report.page.drawing import Drawing

log = logging.getLogger("smalltolarge")

_ZOOM = 2
"""Pixels for each unit of a drawing."""


def images(drawings: Mapping[str, Drawing]) -> dict[str, bytes]:
    """Give drawings as PNG, by their name; where this cannot be had, none, and a line says why."""
    try:
        import resvg_py
    except ModuleNotFoundError:
        log.warning(
            "figures are written as SVG alone; as PNG, too, after: "
            "pip install 'smalltolarge[figures]'"
        )
        return {}

    def draw(drawing: Drawing) -> bytes:
        return bytes(resvg_py.svg_to_bytes(svg_string=drawing.to_svg().decode(), zoom=_ZOOM))

    blank, written = Drawing(20, 20, ""), Drawing(20, 20, "")
    written.text(2, 18, "0")
    if draw(blank) == draw(written):
        log.warning("figures are written as SVG alone: there is no font here to write in PNG with")
        return {}
    return {name: draw(drawing) for name, drawing in drawings.items()}
