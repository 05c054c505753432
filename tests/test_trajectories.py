"""The trajectory file: anybody can write one and read one."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from smalltolarge.errors import DataError, IntegrityError, MissingArtifact
from smalltolarge.trajectories import Trajectories

IDS = np.array([b"a", b"b", b"c"])
SOME = Trajectories(
    np.arange(6).reshape(3, 2), np.array([0, 7]), IDS, np.array([5, 6, 7], np.int32), {"seed": 1}
)


@settings(max_examples=30, deadline=None)
@given(
    losses=hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 20), st.integers(1, 6)),
        elements=st.floats(0, 2**60, width=32),
    ),
    names=st.data(),
)
def test_what_is_written_is_read_back(
    losses: np.ndarray, names: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    n, t = losses.shape
    text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)
    ids = np.array(
        [i.encode() for i in names.draw(st.lists(text, min_size=n, max_size=n, unique=True))]
    )
    file = tmp_path_factory.mktemp("t") / "t.parquet"
    written = Trajectories(losses, np.arange(t) * 3, ids, origin={"proxy": "x"})
    written.to_parquet(file)
    found = Trajectories.from_parquet(file)
    assert np.array_equal(found.losses, losses)
    assert np.array_equal(found.ids, ids)
    assert found.steps.tolist() == [3 * i for i in range(t)]
    assert found.n_tokens is None
    assert found.origin == {"proxy": "x"}


def test_pandas_polars_and_duckdb_read_the_file(tmp_path: Path) -> None:
    file = tmp_path / "t.parquet"
    SOME.to_parquet(file)
    columns = ["id", "n_tokens", "loss_0", "loss_7"]
    assert list(pd.read_parquet(file).columns) == columns
    assert polars.read_parquet(file)["loss_7"].to_list() == [1.0, 3.0, 5.0]
    query = f"select id, n_tokens from '{file}' where loss_0 > 1 order by id"
    found = duckdb.connect().execute(query).fetchall()
    assert found == [("b", 6), ("c", 7)]


def test_losses_written_by_pandas_are_welcome(tmp_path: Path) -> None:
    file = tmp_path / "mine.parquet"
    frame = pd.DataFrame({"loss_100": [1.0, 2.0], "id": ["x", "y"], "loss_20": [3.0, 4.0]})
    frame.to_parquet(file)
    found = Trajectories.from_parquet(file)
    assert found.steps.tolist() == [20, 100]
    assert found.losses.tolist() == [[3.0, 1.0], [4.0, 2.0]]


def test_equal_trajectories_are_equal_bytes(tmp_path: Path) -> None:
    for name in "xy":
        SOME.to_parquet(tmp_path / name)
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()


def test_rows_are_joined_by_id() -> None:
    aligned = SOME.align(np.array([b"c", b"a"]))
    assert aligned.losses.tolist() == [[4.0, 5.0], [0.0, 1.0]]
    assert aligned.n_tokens is not None and aligned.n_tokens.tolist() == [7, 5]


def test_an_example_without_a_trajectory_is_named() -> None:
    with pytest.raises(DataError, match=r"1 of 2 examples have no trajectory \(first id zz\)"):
        SOME.align(np.array([b"a", b"zz"]))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_not_finite_is_named_by_id_and_step(value: float) -> None:
    losses = np.ones((3, 2))
    losses[1, 1] = value
    with pytest.raises(DataError, match="for id b at step 7"):
        Trajectories(losses, np.array([0, 7]), IDS)


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(DataError, match="do not fit"):
        Trajectories(np.ones((3, 2)), np.array([0]), IDS)
    with pytest.raises(DataError, match="steps must increase"):
        Trajectories(np.ones((3, 2)), np.array([7, 7]), IDS)
    with pytest.raises(DataError, match="more than once, the first a"):
        Trajectories(np.ones((3, 1)), np.array([0]), np.array([b"a", b"b", b"a"]))
    with pytest.raises(DataError, match="at least one example"):
        Trajectories(np.ones((0, 1)), np.array([0]), np.array([], dtype="S4"))


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"id": ["a"]}, "one 'loss_<step>' per checkpoint"),
        ({"loss_0": [1.0]}, "a trajectory file has 'id'"),
        ({"id": ["a"], "loss_0": ["1.0"]}, "column 'loss_0'"),
        ({"id": ["a", None], "loss_0": [1.0, 2.0]}, "column 'id'"),
        ({"id": ["a", "b"], "loss_0": [1.0, float("inf")]}, "not finite"),
        ({"id": ["a", "a"], "loss_0": [1.0, 2.0]}, "more than once"),
        ({"id": ["a"], "loss_0": [1.0], "n_tokens": ["7"]}, "column 'n_tokens'"),
        ({"id": ["a", "b"], "loss_0": [1.0, 2.0], "n_tokens": [7, None]}, "column 'n_tokens'"),
        ({"id": ["a"], "loss_0": [1.0], "n_tokens": [0]}, "n_tokens is 0 for id a"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(
    frame: dict[str, list[object]], message: str, tmp_path: Path
) -> None:
    file = tmp_path / "wrong.parquet"
    pd.DataFrame(frame).to_parquet(file)
    with pytest.raises(DataError, match=message) as caught:
        Trajectories.from_parquet(file)
    assert str(file) in str(caught.value)


def test_damaged_and_missing_files_are_named(tmp_path: Path) -> None:
    file = tmp_path / "t.parquet"
    with pytest.raises(MissingArtifact, match="t.parquet"):
        Trajectories.from_parquet(file)
    SOME.to_parquet(file)
    whole = file.read_bytes()
    for cut in (0, 3, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:cut])
        with pytest.raises(IntegrityError, match="t.parquet"):
            Trajectories.from_parquet(file)
