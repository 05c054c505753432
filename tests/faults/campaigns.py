"""All campaigns by name, and one trial of one of them."""

from __future__ import annotations

import time
from typing import Any

from tests.faults import claims, damage, hostile, malformed, ranks
from tests.faults.lab import Broken, Lab
from tests.faults.scenarios import Scenario

CAMPAIGNS = {
    **claims.CAMPAIGNS, **damage.CAMPAIGNS, **malformed.CAMPAIGNS, **hostile.CAMPAIGNS,
    **ranks.CAMPAIGNS,
}  # fmt: skip


def find(trial: str) -> tuple[claims.Campaign, Scenario, str]:
    """Read CAMPAIGN/SCENARIO/DETAIL."""
    campaign, name, detail = trial.split("/", 2)
    return CAMPAIGNS[campaign], hostile.ALL[name], detail


def make(lab: Lab, trial: str) -> dict[str, Any]:
    """Make a trial; gives what was seen instead of what is claimed (nothing where it holds)."""
    campaign, scenario, detail = find(trial)
    began = time.monotonic()
    measured: claims.Measured | None = None
    what = ""
    try:
        measured = campaign.make(lab, scenario, detail)
    except Broken as broken:
        what = str(broken)
    seconds = round(time.monotonic() - began, 3)
    return {"trial": trial, "what": what, "seconds": seconds, **(measured or {})}
