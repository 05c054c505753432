"""Folders and lists of files that are named by split."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict
from datasets.data_files import EmptyDatasetError, get_data_patterns, resolve_pattern
from hypothesis import given, settings
from hypothesis import strategies as st

from smalltolarge.errors import DataError
from smalltolarge.examples import Examples, describe, load, would_read
from smalltolarge.examples.overlap import read_questions
from smalltolarge.examples.splits import by_name
from smalltolarge.settings import ReadingSettings

from .conftest import Cli, said


def write(folder: Path, *names: str) -> Path:
    """Write files of one row each, which says the file's name."""
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".parquet":
            Dataset.from_list([{"prompt": name, "completion": "A"}]).to_parquet(file)
        else:
            file.write_text(json.dumps({"prompt": name, "completion": "A"}) + "\n")
    return folder


def files(examples: Examples) -> list[str]:
    """Which files the rows came from."""
    return [turns[0][1] for turns in said(examples)]


def read(folder: Path, split: str | None = None) -> list[str]:
    return files(load(folder, settings=ReadingSettings(split=split)))


@pytest.mark.parametrize(
    ("names", "train", "test"),
    [
        (["train.jsonl", "test.jsonl"], ["train.jsonl"], ["test.jsonl"]),
        (["a_training_1.jsonl", "b-eval.jsonl"], ["a_training_1.jsonl"], ["b-eval.jsonl"]),
        (["Train.jsonl", "TEST.jsonl"], ["Train.jsonl"], ["TEST.jsonl"]),
        (
            ["data/train-00001-of-00002.parquet", "data/train-00000-of-00002.parquet",
             "data/test-00000-of-00001.parquet", "README.md", "dataset_infos.json"],
            ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"],
            ["data/test-00000-of-00001.parquet"],
        ),
        (["train/a.jsonl", "train/b.jsonl", "testing/a.jsonl"],
         ["train/a.jsonl", "train/b.jsonl"], ["testing/a.jsonl"]),
        (["x/train/deep/a.jsonl", "x/test/a.jsonl", ".test/a.jsonl", "__x/train.jsonl"],
         ["x/train/deep/a.jsonl"], ["x/test/a.jsonl"]),
        (["train.jsonl", "eval/answers.jsonl"], ["train.jsonl"], ["eval/answers.jsonl"]),
        (["train/a.jsonl", "train.jsonl", "test.jsonl"], ["train/a.jsonl"], ["test.jsonl"]),
    ],
)  # fmt: skip
def test_a_folder_named_by_split_is_read_as_one(
    names: list[str], train: list[str], test: list[str], tmp_path: Path
) -> None:
    folder = write(tmp_path, *names)
    assert read(folder) == read(folder, "train") == train
    assert read(folder, "test") == test


def test_names_that_only_look_like_splits_are_none(tmp_path: Path) -> None:
    names = ["latest.jsonl", "mytrain.jsonl", "trainer.jsonl", "value.jsonl"]
    examples = load(write(tmp_path, *names, "sub/c.jsonl"))
    assert files(examples) == names and examples.split is None


def test_the_split_is_said_first_and_what_there_is(tmp_path: Path, s2l: Cli) -> None:
    write(tmp_path / "d", "valid.jsonl", "dev.jsonl", "test.jsonl", "train.jsonl")
    examples = load(tmp_path / "d", settings=ReadingSettings(split="validation"))
    assert files(examples) == ["dev.jsonl", "valid.jsonl"]
    assert examples.split == ("validation", ("train", "validation", "test"))
    line = (
        "split train of train, validation, test; prompt-completion: prompt, completion; 1 rows; "
        "no source column"
    )
    assert describe(load(tmp_path / "d")) == line
    assert (s2l("load", "d").stderr + s2l("load", "d").stdout).splitlines()[0] == line
    refused = s2l("load", "d/train.jsonl", "--split", "train", expect=3)
    assert "d/train.jsonl has no splits" in refused.stderr


def test_a_folder_without_the_split_is_refused_naming_those_it_has(tmp_path: Path) -> None:
    folder = write(tmp_path, "test-1.jsonl", "test-2.jsonl", "val.jsonl", "more.jsonl")
    wanted = r"validation: val.jsonl; test: test-1.jsonl and 1 more\) has no split train; it has "
    with pytest.raises(DataError, match=wanted + "validation, test. Choose with --split"):
        load(folder)
    with pytest.raises(DataError, match="no split dev"):
        read(folder, "dev")


def test_files_of_no_split_beside_those_of_splits_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write(tmp_path, "train.jsonl", "more.jsonl", "sub/other.jsonl")
    assert read(folder) == ["train.jsonl"]
    assert "more.jsonl, by name of no split, is not read" in caplog.text


@pytest.mark.parametrize("way", ["file", "folder", "list", "pattern", "saved"])
def test_a_split_of_what_has_none_is_refused(way: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "d", "a.jsonl", "b.jsonl")
    Dataset.from_list([{"prompt": "q", "completion": "a"}]).save_to_disk(tmp_path / "saved")
    ways: dict[str, str | Path | Sequence[Path]] = {
        "file": folder / "a.jsonl", "folder": folder, "list": [folder / "a.jsonl"],
        "pattern": str(folder / "*.jsonl"), "saved": tmp_path / "saved",
    }  # fmt: skip
    source = ways[way]
    load(source)
    with pytest.raises(DataError, match="has no splits, so there is none to choose with --split"):
        load(source, settings=ReadingSettings(split="train"))


def test_files_named_one_by_one_are_all_read_and_other_splits_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write(tmp_path, "train.jsonl", "test.jsonl", "c.jsonl", "valid/x.jsonl")
    with caplog.at_level(logging.WARNING):
        load(folder / "test.jsonl")
        load([folder / "train.jsonl", folder / "c.jsonl"])
        load([folder / "test.jsonl"])
        assert not caplog.records
        for source, others in (
            (str(folder / "*.jsonl"), "test: "),
            ([folder / "c.jsonl", folder / "test.jsonl"], "test: "),
            ([folder / "c.jsonl", folder / "valid" / "x.jsonl"], "validation: "),
        ):
            load(source)
            assert "not for training (" + others in caplog.text
            caplog.clear()


README = """---
license: mit
configs:
{}
---
# A data set
"""


def configs(folder: Path, text: str) -> Path:
    (folder / "README.md").write_text(README.format(text))
    return folder


def test_a_repository_s_readme_goes_before_names(tmp_path: Path) -> None:
    names = ["a/one.jsonl", "a/two.jsonl", "b/test.jsonl", "val.jsonl"]
    folder = configs(
        write(tmp_path, *names),
        "- config_name: default\n  data_files:\n  - split: train\n    path: a/*\n"
        "  - split: held\n    path: [b/*.jsonl]\n  - split: gone\n    path: c/*",
    )
    examples = load(folder)
    assert files(examples) == ["a/one.jsonl", "a/two.jsonl"]
    assert examples.split == ("train", ("train", "held", "validation"))
    assert read(folder, "held") == ["b/test.jsonl"]


def test_a_repository_of_several_data_sets_is_not_mixed(tmp_path: Path) -> None:
    names = [f"{name}/{split}.jsonl" for name in ("main", "other") for split in ("train", "test")]
    several = "- config_name: main\n  data_dir: main\n- config_name: other\n  data_dir: other"
    folder = configs(write(tmp_path, *names), several)
    with pytest.raises(DataError, match=r"several data sets, its README.md says: main, other\."):
        load(folder)
    assert read(folder / "main") == ["main/train.jsonl"]
    configs(folder, several + "\n  default: true")
    assert read(folder, "test") == ["other/test.jsonl"]


@pytest.mark.parametrize("text", ["- 1", "x: [", "- data_files: 3", "- data_files:\n  - path: 1"])
def test_a_readme_that_says_nothing_of_use_changes_nothing(text: str, tmp_path: Path) -> None:
    assert read(configs(write(tmp_path, "train.jsonl", "test.jsonl"), text)) == ["train.jsonl"]


@pytest.mark.parametrize(
    ("names", "split", "out", "wanted"),
    [
        (["train.jsonl"], None, "subset.jsonl", False),
        (["train.jsonl"], None, "train-subset.jsonl", True),
        (["train.jsonl"], None, "sub/train/subset.jsonl", True),
        (["train.jsonl"], None, "sub/.train/subset.jsonl", False),
        (["train.jsonl", "test.jsonl"], "test", "train-subset.jsonl", False),
        (["a.jsonl"], None, "subset.jsonl", True),
        (["a.jsonl"], None, "sub/subset.jsonl", False),
        (["a.jsonl"], None, "test.jsonl", True),  # then there are splits, and none is train
        (["train.jsonl"], None, "train.jsonl", True),
    ],
)
def test_an_output_that_changes_what_is_read_is_known(
    names: list[str], split: str | None, out: str, wanted: bool, tmp_path: Path
) -> None:
    folder = write(tmp_path, *names)
    before = read(folder, split)
    assert would_read([str(folder)], folder / out, split) is wanted
    if out not in names:
        write(folder, out)
        try:
            assert (read(folder, split) != before) is wanted
        except DataError:
            assert wanted


def test_a_saved_dictionary_of_data_sets_is_read_one_split_at_a_time(tmp_path: Path) -> None:
    one = Dataset.from_list([{"prompt": "q", "completion": "a"}])
    DatasetDict(train=one, test=one, extra=one).save_to_disk(tmp_path / "d")
    assert load(tmp_path / "d").split == ("train", ("train", "test", "extra"))
    assert describe(load(tmp_path / "d")).startswith("split train of train, test, extra; ")


def test_questions_to_keep_out_are_those_of_every_split(tmp_path: Path) -> None:
    folder = write(tmp_path / "files", "train.jsonl", "test.jsonl")
    one = Dataset.from_list([{"prompt": "q", "completion": "a"}])
    DatasetDict(train=one, test=one).save_to_disk(tmp_path / "saved")
    for source in (folder, tmp_path / "saved"):
        assert sum(map(len, read_questions(source))) == 2


words = ["train", "training", "test", "testing", "eval", "dev", "val", "valid", "validation"]
part = st.builds(
    lambda *parts: "".join(parts),
    st.sampled_from(["", "a", "a-", "my_", "x.", "9"]),
    st.sampled_from([*words, "other", "data"]),
    st.sampled_from(["", "-b", "_2", "3", "er", ".v1"]),
)
paths = st.lists(
    st.builds(
        lambda folders, name: "/".join([*folders, f"{name}.jsonl"]),
        st.lists(part, max_size=2),
        part,
    )
    | st.builds("data/{}-00000-of-00001.parquet".format, st.sampled_from(["train", "x_y", "test"])),
    min_size=1,
    max_size=6,
    unique=True,
)


@settings(max_examples=60, deadline=None)
@given(paths)
def test_a_split_that_datasets_finds_has_the_files_that_it_finds(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("repository")
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            (folder / name).touch()
        except OSError:  # a folder of this name
            return
    try:
        found = get_data_patterns(str(folder))
    except EmptyDatasetError:
        return
    ours = by_name(sorted(names))
    if found == {"train": ["**"]}:
        assert ours == {}
        return
    for split, patterns in found.items():
        theirs: set[str] = set()
        for pattern in patterns:
            try:
                theirs |= set(resolve_pattern(pattern, str(folder)))
            except FileNotFoundError:
                continue
        assert {str(folder / name) for name in ours[split]} == theirs, split
