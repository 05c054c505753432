"""What is known not to hold, and why: a trial, what is seen there, the reason."""

from __future__ import annotations

import re

KNOWN: list[tuple[str, str, str]] = [
    (
        r"damage-read/.*/export:.*(/manifest\.json|:subset\.jsonl)$",
        "^export with a damaged .* exit 0",
        "an export goes on without the settings of a run whose manifest is damaged, or that wrote "
        "another file, and says so",
    ),
]
"""Regular expressions of trials and of what is seen, and a reason, as docs/reliability.md says."""


def reason_for(trial: str, what: str) -> str | None:
    """Give the reason why a trial is known not to hold; None where it is not known."""
    for trials, seen, reason in KNOWN:
        if re.match(trials, trial) and re.search(seen, what):
            return reason
    return None
