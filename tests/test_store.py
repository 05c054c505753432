"""What is written appears whole or not at all."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from smalltolarge import store
from smalltolarge.errors import (
    IntegrityError,
    OutOfSpace,
    RecipeError,
    RefusedForSafety,
    StaleArtifact,
)
from smalltolarge.runs.folder import RunFolder
from smalltolarge.runs.manifest import as_bytes, read_manifest

RECIPE: dict[str, Any] = {"budget": "11%", "proxy": {"epochs": 3.0}}


@contextmanager
def hold(
    path: Path, recipe: dict[str, Any] = RECIPE, *, known: bool = False
) -> Iterator[RunFolder]:
    with RunFolder.hold(path, recipe, RECIPE if known else None) as run:
        run.commit("load", {"recipe.yaml": b""}, {})
        yield run


def test_an_error_while_writing_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "f"
    store.write_bytes(file, b"old")

    with pytest.raises(ZeroDivisionError), store.atomic_write(file) as handle:
        handle.write(b"%d" % (1 // 0))
    assert file.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]


def test_a_process_killed_while_writing_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"old")
    program = (
        "import os, sys; from pathlib import Path; from smalltolarge import store\n"
        "with store.atomic_write(Path(sys.argv[1])) as f:\n"
        "    f.write(b'n' * 100_000); f.flush(); os.kill(os.getpid(), 9)"
    )
    run = subprocess.run([sys.executable, "-c", program, str(file)], check=False)
    assert run.returncode == -signal.SIGKILL
    assert file.read_bytes() == b"old"


def test_a_full_disk_is_said_with_the_file_and_nothing_is_lost(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"old")
    program = (
        "import signal, sys; from pathlib import Path; from smalltolarge import store, errors\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "try: store.write_bytes(Path(sys.argv[1]), b'n' * 100_000)\n"
        "except errors.OutOfSpace as error: print(error)"
    )
    run = subprocess.run(
        [sys.executable, "-B", "-c", program, str(file)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"cannot write {file}" in run.stdout
    assert file.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failing_sync_or_rename_is_an_error_and_not_a_result(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    store.write_bytes(tmp_path / "f", b"old")
    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OutOfSpace, match="Input/output error"):
        store.write_bytes(tmp_path / "f", b"new")
    monkeypatch.undo()
    assert (tmp_path / "f").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real" / "f")
    store.write_bytes(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "f").read_bytes() == b"new"


def test_the_umask_is_respected(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        store.write_bytes(tmp_path / "f", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o640


def test_a_stage_is_done_when_its_manifest_entry_is_written(tmp_path: Path) -> None:
    with hold(tmp_path / "run") as run:
        assert not run.is_done("record")
        run.commit("record", {"out.bin": b"x"}, {"rows": 3})
    with hold(tmp_path / "run", known=True) as run:
        assert run.is_done("record")
        assert run.facts("record") == {"rows": 3}


def test_a_changed_output_is_set_aside_aloud_with_what_was_made_from_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with hold(tmp_path / "run") as run:
        for name in ("load", "record", "select", "write"):
            run.commit(name, {f"{name}.bin": b"written"}, {})
        (run.path / "record.bin").write_bytes(b"wriTten")
        assert run.is_done("load")
        assert not run.is_done("record")
        assert not run.is_done("select")
        run.commit("record", {"record.bin": b"again"}, {})
        (run.path / "record.bin").write_bytes(b"agaiN")
        assert not run.is_done("record")
    assert "record.bin is not what was written" in caplog.text
    assert (tmp_path / "run" / "record.bin.damaged").read_bytes() == b"wriTten"
    assert (tmp_path / "run" / "record.bin.damaged-2").read_bytes() == b"agaiN"


def test_a_missing_output_is_said_to_be_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with hold(tmp_path / "run") as run:
        run.commit("select", {"out.bin": b"x"}, {})
        (run.path / "out.bin").unlink()
        assert not run.is_done("select")
    assert "out.bin is missing" in caplog.text


def test_a_folder_of_another_command_is_refused_without_a_list_of_settings(tmp_path: Path) -> None:
    with hold(tmp_path / "run"):
        pass
    trained = {"target": {"epochs": 1.0}}
    with (
        pytest.raises(StaleArtifact, match="holds a run of s2l select, and s2l train") as caught,
        hold(tmp_path / "run", trained, known=True),
    ):
        pass
    assert "epochs" not in str(caught.value)


def test_other_settings_are_refused_with_each_difference(tmp_path: Path) -> None:
    with hold(tmp_path / "run"):
        pass
    other = {"budget": "20%", "proxy": {"epochs": 1.0}}
    with pytest.raises(StaleArtifact) as caught, hold(tmp_path / "run", other, known=True):
        pass
    assert 'budget: "11%" there, "20%" now' in str(caught.value)
    assert "proxy.epochs: 3.0 there, 1.0 now" in str(caught.value)


def test_a_folder_in_use_is_refused_at_once_and_free_after_a_kill(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from smalltolarge.runs.folder import RunFolder\n"
        "with RunFolder.hold(Path(sys.argv[1]), {}, None):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "run")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None and holder.stdin is not None
    assert holder.stdout.readline() == b"held\n"
    with (
        pytest.raises(StaleArtifact, match=f"process {holder.pid}"),
        hold(tmp_path / "run"),
    ):
        pass
    holder.kill()
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()
    with RunFolder.hold(tmp_path / "run", {}, {}) as run:
        assert run.path.is_dir()


def test_a_folder_in_which_nothing_was_written_is_not_left_behind(tmp_path: Path) -> None:
    with RunFolder.hold(tmp_path / "runs" / "run", RECIPE, None) as run:
        assert run.path.is_dir()
    assert os.listdir(tmp_path / "runs") == []


def test_what_another_run_began_in_the_meantime_is_not_gone_on_with(tmp_path: Path) -> None:
    with hold(tmp_path / "run"):
        pass
    with (
        pytest.raises(StaleArtifact, match="begun by another run just now"),
        hold(tmp_path / "run"),
    ):
        pass


def test_an_empty_folder_of_the_user_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with RunFolder.hold(tmp_path / "mine", RECIPE, None):
        pass
    assert os.listdir(tmp_path / "mine") == []


def test_what_a_kill_left_half_written_is_cleared_away(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from smalltolarge import store\n"
        "from smalltolarge.runs.folder import RunFolder\n"
        "with RunFolder.hold(Path(sys.argv[1]), {}, None) as run:\n"
        "    half = lambda path: [store.write_bytes(path, b''), os.kill(os.getpid(), 9)]\n"
        "    run.commit('load', {'recipe.yaml': half}, {})"
    )
    run = subprocess.run([sys.executable, "-c", program, str(tmp_path / "run")], check=False)
    assert run.returncode == -signal.SIGKILL
    assert sorted(os.listdir(tmp_path / "run")) == [".lock", ".working", "manifest.json"]
    with hold(tmp_path / "run"):
        assert sorted(os.listdir(tmp_path / "run")) == [".lock", "manifest.json", "recipe.yaml"]


@pytest.mark.parametrize(
    "name",
    ["run/.working", "run/.working/making", "run/.working/making/.a.s2l-part", ".b.s2l-part"],
)
@pytest.mark.parametrize("make", [os.mkfifo, Path.touch])
def test_what_has_a_name_of_ours_is_taken_away(
    make: Callable[[Path], object], name: str, tmp_path: Path
) -> None:
    with hold(tmp_path / "run"):
        pass
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    make(tmp_path / name)
    with hold(tmp_path / "run", known=True) as run:
        run.commit("select", {"a": b"text"}, {})
        store.write_bytes(tmp_path / "b", b"text")
    assert sorted(os.listdir(tmp_path)) == ["b", "run"]
    assert sorted(os.listdir(run.path)) == [".lock", "a", "manifest.json", "recipe.yaml"]


def test_a_link_with_the_name_of_a_part_is_taken_away_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "text").write_text("precious")
    (tmp_path / ".a.s2l-part").symlink_to("mine")
    store.write_bytes(tmp_path / "a", b"text")
    assert sorted(os.listdir(tmp_path)) == ["a", "mine"]
    assert (tmp_path / "mine" / "text").read_text() == "precious"


@pytest.mark.parametrize("name", [".lock", "environment.json", "proxy", "a/b"])
def test_a_run_folder_with_links_is_refused_and_the_target_untouched(
    name: str, tmp_path: Path
) -> None:
    with hold(tmp_path / "run"):
        pass
    (tmp_path / "victim").write_text("precious")
    link = tmp_path / "run" / name
    link.unlink(missing_ok=True)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(tmp_path / "victim")
    with pytest.raises(RefusedForSafety, match="is a link"), hold(tmp_path / "run", known=True):
        pass
    assert (tmp_path / "victim").read_text() == "precious"


def test_a_folder_whose_digest_is_asked_for_is_digested_whole(tmp_path: Path) -> None:
    for name, text in (("a", "x"), ("b/c", "y")):
        (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / name).write_text(text)
    before = store.digest(tmp_path / "d")
    (tmp_path / "d" / "b" / "c").write_text("z")
    assert store.digest(tmp_path / "d") != before


def test_of_many_who_start_at_once_one_wins(tmp_path: Path) -> None:
    with hold(tmp_path / "run"):
        pass

    def attempt(_: int) -> bool:
        try:
            with hold(tmp_path / "run", known=True):
                barrier.wait()
        except StaleArtifact:
            barrier.wait()
            return False
        return True

    barrier = threading.Barrier(20)
    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(attempt, range(20))) == 1


@pytest.mark.parametrize("name", ["..", ".hidden", "a b", "x" * 101, "ü", "-rf"])
def test_run_names_are_plain(name: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError), hold(tmp_path / name):
        pass


def test_a_folder_of_somebody_else_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("years of work")
    with pytest.raises(StaleArtifact, match="not a run folder"), hold(tmp_path / "run"):
        pass
    assert os.listdir(tmp_path / "run") == ["thesis.tex"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"schema": 2, "stages": {"a": {}}}',
        '{"schema": 2, "stages": []}',
        "[" * 9999,
    ],
)
def test_a_manifest_that_is_none_is_an_integrity_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(IntegrityError, match="manifest.json"):
        read_manifest(tmp_path)


def manifest_of(stages: dict[str, Any]) -> bytes:
    whole = {
        name: {"facts": {}, "measured": {}, "outputs": {}, **entry}
        for name, entry in stages.items()
    }
    return as_bytes(whole)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "", ".", "a/b", "x\0"])
def test_a_manifest_never_reaches_outside_its_folder(name: str, tmp_path: Path) -> None:
    outputs = {name: {"sha256": "", "bytes": 0}}
    (tmp_path / "manifest.json").write_bytes(manifest_of({"a": {"outputs": outputs}}))
    with pytest.raises(IntegrityError, match="it names the output"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ({"facts": {"excluded": 5}}, "stage load.excluded is 5"),
        ({"facts": {"inputs": [{"path": "x"}]}}, r"stage load.inputs\[0\] lacks kind"),
        ({"facts": {"used": True}}, "stage load.used is True"),
        ({"facts": {"used": 2**64}}, "stage load.used is 18446744073709551616"),
        ({"facts": {"flops": 10**400}}, "stage load.flops is 1000"),
        ({"facts": {"out": "a\0b"}}, "stage load.out is 'a"),
        ({"facts": {"out": "\ud800"}}, "stage load.out is '"),
        ({"measured": {"seconds": "1"}}, "it.stages.load.measured.seconds is '1'"),
        ({"outputs": {"a": {"sha256": 5, "bytes": 0}}}, "it.stages.load.outputs.a.sha256 is 5"),
    ],
)
def test_facts_of_another_shape_are_named_though_the_digest_fits(
    stage: dict[str, Any], message: str, tmp_path: Path
) -> None:
    (tmp_path / "manifest.json").write_bytes(manifest_of({"load": stage}))
    with pytest.raises(IntegrityError, match=message):
        read_manifest(tmp_path)


def test_every_value_of_a_manifest_is_closed_by_its_digests(tmp_path: Path) -> None:
    stage = {
        "facts": {"rows": 1, "excluded": {"x": 2}, "flops": 3.0, "own": [None, {"a": "b"}]},
        "measured": {"seconds": 1.5},
        "outputs": {"a.bin": {"sha256": "ab", "bytes": 1}},
    }
    whole = manifest_of({"load": stage})
    file = tmp_path / "manifest.json"
    file.write_bytes(whole)
    assert read_manifest(tmp_path)["stages"] == {"load": stage}
    for place in range(len(whole)):
        for changed in (
            whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :],
            whole[:place] + whole[place + 1 :],
            whole[:place] + b" " + whole[place:],
        ):
            file.write_bytes(changed)
            with pytest.raises((IntegrityError, StaleArtifact), match=r"manifest\.json"):
                read_manifest(tmp_path)


def test_a_manifest_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"schema": 99, "stages": {}}')
    with pytest.raises(StaleArtifact, match="schema 99"):
        read_manifest(tmp_path)


def test_what_appears_in_the_meantime_stays_and_nothing_is_lost(tmp_path: Path) -> None:
    for name in ("file", "folder"):
        place = tmp_path / name
        with (  # noqa: PT012
            pytest.raises(StaleArtifact, match="kept as") as caught,
            store.holding(place) as held,
        ):
            if name == "folder":
                (held.made / "inner").mkdir(parents=True)
                place.mkdir()
                (place / "theirs").write_bytes(b"theirs")
            else:
                held.made.write_bytes(b"ours")
                place.write_bytes(b"theirs")
            held.put()
        kept = Path(str(caught.value).rpartition("kept as ")[2].rstrip("."))
        assert os.listdir(kept) == ["inner"] if name == "folder" else kept.read_bytes() == b"ours"
    assert (tmp_path / "file").read_bytes() == b"theirs"
    assert os.listdir(tmp_path / "folder") == ["theirs"]


def test_what_is_written_in_a_folder_that_is_made_needs_nothing_beside_it(tmp_path: Path) -> None:
    with store.atomic_file(tmp_path / "folder") as folder:
        folder.mkdir()
        store.write_bytes(folder / "deep" / "file", b"one")
        store.write_bytes(folder / "deep" / "file", b"two")
        assert os.listdir(folder / "deep") == ["file"]
        assert not (tmp_path / "folder").exists()
    assert (tmp_path / "folder/deep/file").read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["folder"]


def test_who_holds_a_place_is_named_with_the_time(tmp_path: Path) -> None:
    who = rf"file is in use by another run \(process {os.getpid()} on .+ since \d{{4}}-"
    with store.holding(tmp_path / "file"), pytest.raises(StaleArtifact, match=who):
        store.write_bytes(tmp_path / "file", b"")
    assert os.listdir(tmp_path) == []


def test_a_folder_that_a_kill_took_away_before_its_replacement_came_is_back(tmp_path: Path) -> None:
    old = tmp_path / ".folder.s2l-part" / ".old"
    (old / "theirs").mkdir(parents=True)
    with store.holding(tmp_path / "folder"):
        assert os.listdir(tmp_path / "folder") == ["theirs"]
    assert os.listdir(tmp_path) == ["folder"]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EIO])
def test_a_file_system_without_locks_is_said_and_gone_on_with(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", fail)
    with hold(tmp_path / "run") as run:
        assert run.is_done("load")
    assert "no locks on its file system" in caplog.text


def test_names_may_be_as_long_as_the_system_lets_them(tmp_path: Path) -> None:
    store.write_bytes(tmp_path / ("ü" * 127), b"x")
    assert os.listdir(tmp_path) == ["ü" * 127]
    with pytest.raises(RecipeError, match="File name too long"):
        store.write_bytes(tmp_path / ("x" * 256), b"x")


def test_a_run_that_is_done_needs_no_disk_to_write_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hold(tmp_path / "run"):
        pass
    real = os.open

    def read_only(path: Any, flags: int, *mode: int, **more: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        return real(path, flags, *mode, **more)

    monkeypatch.setattr(os, "open", read_only)
    with RunFolder.hold(tmp_path / "run", RECIPE, RECIPE) as run:
        assert run.is_done("load")
        with pytest.raises(StaleArtifact, match="in use"), RunFolder.open(tmp_path / "run"):
            pass
