"""The trajectory file: anybody can write one and read one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from smalltolarge.errors import DataError, IntegrityError, MissingArtifact
from smalltolarge.features import read_features, write_features
from smalltolarge.trajectories import Trajectories

IDS = np.array([b"a", b"b", b"c"])
SOME = Trajectories(
    np.arange(6).reshape(3, 2), np.array([0, 7]), IDS, np.array([5, 6, 7], np.int32), {"seed": 1}
)


def test_trajectories_show_themselves_in_one_line() -> None:
    assert repr(SOME) == "<Trajectories: 3 examples at 2 checkpoints, steps 0 to 7>"
    named = Trajectories(SOME.losses, SOME.steps, IDS, origin={"proxy": "scratch-2m"})
    assert repr(named).endswith(", proxy scratch-2m>")


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


def test_ids_that_share_a_number_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "smalltolarge.trajectories._numbers", lambda ids: np.zeros(len(ids), dtype=np.uint64)
    )
    assert len(Trajectories(np.ones((3, 1)), np.array([0]), IDS)) == 3
    with pytest.raises(DataError, match="1 ids occur more than once, the first b"):
        Trajectories(np.ones((3, 1)), np.array([0]), np.array([b"c", b"b", b"b"]))


def test_arrays_of_the_right_type_are_not_copied(tmp_path: Path) -> None:
    losses = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (3, 2))
    found = Trajectories(losses, np.array([0, 7]), IDS)
    assert np.shares_memory(found.losses, losses) and np.shares_memory(found.ids, IDS)


@pytest.mark.parametrize("row", [0, 65_535, 65_536, 149_999])
def test_one_wrong_row_among_many_is_found(row: int) -> None:
    losses = np.ones((150_000, 2), dtype=np.float32)
    ids = np.array([b"%d" % number for number in range(150_000)])
    losses[row, 1] = np.nan
    with pytest.raises(DataError, match=f"1 losses are not finite, the first nan for id {row} "):
        Trajectories(losses, np.array([0, 7]), ids)
    losses[row, 1], ids[row] = 1, ids[row - 1]
    name = ids[row].decode()
    with pytest.raises(DataError, match=f"1 ids occur more than once, the first {name}$"):
        Trajectories(losses, np.array([0, 7]), ids)


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


def trajectories(**change: Any) -> Trajectories:
    plain = {"losses": [[1.0, 2.0], [3.0, 4.0]], "steps": [0, 5], "ids": ["a", "b"]}
    return Trajectories(**{**plain, **change})


def test_plain_lists_and_any_whole_numbers_are_taken() -> None:
    found = trajectories(steps=[0.0, 5.0], n_tokens=[1, 2])
    assert str(found.losses.dtype) == "float32" and str(found.steps.dtype) == "int64"
    assert found.n_tokens is not None and found.n_tokens.dtype == np.int32
    assert found.n_tokens.tolist() == [1, 2]


@pytest.mark.parametrize(
    "ids",
    [
        ["é", "b"],
        np.array(["é", "b"], dtype=object),
        np.array(["é".encode(), b"b"], dtype=object),
        np.array(["é".encode(), "b"], dtype=object),
        pd.Series(["é", "b"]),
    ],
)
def test_ids_of_any_text_type_join(ids: Any) -> None:
    joined = trajectories(ids=ids).align(np.array([b"b", "é".encode()]))
    assert joined.losses[:, 0].tolist() == [3.0, 1.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": [1, 2]}, r"ids: text is needed, found 1 \(int\) in row 0"),
        ({"ids": [1, 2], "losses": [[np.nan, 1], [1, 1]]}, "ids: text is needed"),
        ({"ids": ["a", None]}, "ids: text is needed, found None"),
        ({"ids": ["a", "\ud800"]}, "in row 1 is not valid Unicode"),
        ({"losses": [[1.0, 2.0], [3.0]]}, "losses: one array with rows of one length"),
        ({"losses": [["1", "2"], ["3", "4"]]}, "losses: an array of numbers is needed"),
        ({"losses": [[1.0, None], [3.0, 4.0]]}, "losses: an array of numbers is needed"),
        ({"losses": [[1.0, 2.0], [3.0, 1e300]]}, "1 losses are too large for float32.* for id b"),
        ({"steps": [0.2, 1.7]}, "steps is 0.2: a whole number"),
        ({"steps": [-1, 1]}, "steps is -1: a whole number of at least 0"),
        ({"steps": [0, 10**18]}, "steps is 1000000000000000000"),
        ({"steps": [0, np.nan]}, "steps is nan"),
        ({"steps": [0, np.inf]}, "steps is inf"),
        ({"steps": [0, 10**30]}, "steps: whole numbers below"),
        ({"steps": ["0", "1"]}, "steps: whole numbers below"),
        ({"n_tokens": [1, 2**31]}, "n_tokens is 2147483648 for id b"),
        ({"n_tokens": [1, 1.5]}, "n_tokens is 1.5 for id b"),
        ({"n_tokens": [1, [2]]}, "n_tokens: one array"),
        ({"n_tokens": [1]}, r"n_tokens has shape \(1,\)"),
        ({"origin": [1]}, "origin is a list"),
        ({"origin": {"left_out": 5}}, "left_out maps ids to the reason"),
        ({"origin": {"left_out": {"a": 5}}}, "left_out maps ids to the reason"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_wrong_arrays_are_answered_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        trajectories(**change)


@pytest.mark.parametrize(
    ("columns", "metadata", "message"),
    [
        (["id", "loss_99999999999999999999"], "{}", "at most 18 digits"),
        (["id", "loss_-1"], "{}", "column loss_-1: a step is a whole number"),
        (["id", "loss_007"], "{}", "without sign or leading zeros"),
        (["id", "id", "loss_0"], "{}", "has the column id twice"),
        (["id", "loss_0", "loss_0"], "{}", "has the column loss_0 twice"),
        (["id", "loss_0"], "[1]", "origin is a list"),
        (["id", "loss_0"], "[" * 100_000, "its metadata 'smalltolarge' is not JSON"),
        (["id", "loss_0"], "{", "its metadata 'smalltolarge' is not JSON"),
        (["id", "loss_0"], '{"left_out": 5}', "left_out maps ids"),
    ],
)
def test_a_file_by_a_stranger_is_answered_with_what_is_wrong(
    columns: list[str], metadata: str, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "wrong.parquet"
    arrays: list[Any] = [pa.array(["a"] if name == "id" else [1.0]) for name in columns]
    table = pa.Table.from_arrays(arrays, names=columns)
    pq.write_table(table.replace_schema_metadata({"smalltolarge": metadata}), file)
    with pytest.raises(DataError, match=message) as caught:
        Trajectories.from_parquet(file)
    assert str(file) in str(caught.value)


def test_a_small_file_of_many_losses_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    file = tmp_path / "bomb.parquet"
    zeros = np.zeros(9_000_000, np.int8)
    same = pa.DictionaryArray.from_arrays(zeros, pa.array(["a" * 32]))
    pq.write_table(pa.table({"id": same, "loss_0": pa.array(zeros, pa.float32())}), file)
    before = pa.total_allocated_bytes()
    for read in (Trajectories.from_parquet, lambda path: read_features(path, "loss_0", IDS)):
        with pytest.raises(DataError, match=r"bomb\.parquet: unpacks to more than 200 times"):
            read(file)
    assert pa.total_allocated_bytes() - before < 10_000_000


def test_a_text_that_is_no_utf8_is_damage(tmp_path: Path) -> None:
    file = tmp_path / "odd.parquet"
    odd = pa.array([b"\xff"]).view(pa.string())
    pq.write_table(pa.table({"id": odd, "loss_0": [1.0]}), file)
    with pytest.raises(IntegrityError, match=r"odd\.parquet is not a readable Parquet file"):
        Trajectories.from_parquet(file)


def test_an_id_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "long.parquet"
    ids = [*map(str, range(999)), "a" * 100_000]
    pq.write_table(pa.table({"id": ids, "loss_0": [1.0] * 1000}), file)
    with pytest.raises(DataError, match=r"long\.parquet: unpacks to more than 200 times"):
        Trajectories.from_parquet(file)


@pytest.mark.filterwarnings("error")
def test_a_loss_too_large_for_the_file_format_is_not_blamed_on_the_training(tmp_path: Path) -> None:
    file = tmp_path / "large.parquet"
    pd.DataFrame({"id": ["a", "b"], "loss_0": [1.0, 1e300]}).to_parquet(file)
    with pytest.raises(DataError, match="too large for float32") as caught:
        Trajectories.from_parquet(file)
    assert "learning rate" not in str(caught.value)


def test_a_changed_byte_of_our_file_is_noticed_wherever_it_is(tmp_path: Path) -> None:
    file = tmp_path / "t.parquet"
    SOME.to_parquet(file)
    whole = file.read_bytes()
    for place in range(0, len(whole), 3):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        try:
            found = Trajectories.from_parquet(file)
        except (DataError, IntegrityError):
            continue
        assert file_of(found, tmp_path) == whole or not found.origin, place


def test_losses_that_were_changed_and_written_by_another_are_noticed(tmp_path: Path) -> None:
    file = tmp_path / "t.parquet"
    SOME.to_parquet(file)
    table = pq.read_table(file)
    column = table.column_names.index("loss_7")
    changed = table.set_column(column, "loss_7", pa.array([1.0, 3.0, 5.5], pa.float32()))
    pq.write_table(changed, file)
    with pytest.raises(IntegrityError, match="its content is not what was written"):
        Trajectories.from_parquet(file)


def test_a_file_without_a_digest_is_read_and_said_to_be_unchecked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pd.DataFrame({"id": ["a"], "loss_0": [1.0]}).to_parquet(tmp_path / "theirs.parquet")
    SOME.to_parquet(tmp_path / "ours.parquet")
    with caplog.at_level("INFO"):
        Trajectories.from_parquet(tmp_path / "ours.parquet")
        assert not caplog.text
        Trajectories.from_parquet(tmp_path / "theirs.parquet")
    assert "theirs.parquet has no digest of ours" in caplog.text


@pytest.mark.parametrize("name", ["embedding", "loss_alone"])
def test_features_are_checked_as_losses_are(name: str, tmp_path: Path) -> None:
    file = tmp_path / "f.parquet"
    values = np.arange(6, dtype=np.float32).reshape((3, 2) if name == "embedding" else 6)
    ids = np.array([b"a", b"b", b"c", b"d", b"e", b"f"][: len(values)])
    write_features(file, name, ids, values)
    assert np.array_equal(read_features(file, name, ids), values)
    table = pq.read_table(file)
    swapped = table.set_column(0, "id", table["id"].take([1, 0, *range(2, len(ids))]))
    pq.write_table(swapped, file)
    with pytest.raises(IntegrityError, match=r"f\.parquet is damaged"):
        read_features(file, name, ids)


def test_an_id_with_two_different_embeddings_is_named_with_both_rows(tmp_path: Path) -> None:
    file = tmp_path / "e.parquet"
    frame: dict[str, list[Any]] = {
        "id": ["a", "b", "a"],
        "embedding": [[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]],
    }
    pd.DataFrame(frame).to_parquet(file)
    assert read_features(file, "embedding", IDS[:2]).tolist() == [[1, 2], [3, 4]]
    frame["embedding"][2] = [1.0, 5.0]
    pd.DataFrame(frame).to_parquet(file)
    with pytest.raises(DataError, match="id a has one embedding in row 1 and another in row 3"):
        read_features(file, "embedding", IDS[:2])


def test_a_pipe_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "t.parquet")
    with pytest.raises(IntegrityError, match="is no plain file"):
        Trajectories.from_parquet(tmp_path / "t.parquet")


def file_of(made: Trajectories, folder: Path) -> bytes:
    made.to_parquet(folder / "again.parquet")
    return (folder / "again.parquet").read_bytes()
