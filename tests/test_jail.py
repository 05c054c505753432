"""Programs that a model wrote run in a jail."""

from __future__ import annotations

import pytest

from smalltolarge.evaluation.jail import Jails, find_backend


@pytest.mark.parametrize("backend", ["bubblewrap", "landlock", "unconfined"])
def test_programs_print_in_order(backend: str) -> None:
    if backend != "unconfined" and find_backend(unconfined=True) == "unconfined":
        pytest.skip("no jail here")
    with Jails(backend, workers=2) as jails:
        found = jails.run([f"print({number}**2)" for number in range(20)])
    assert [ran.printed for ran in found] == [f"{number**2}\n" for number in range(20)]
