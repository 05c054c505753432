"""What must hold when a stranger made the files: nothing of his runs, and nothing outside changes.

Commands run under an audit hook that forbids to open pickles, to start programs other than this
Python, to connect, and to write outside the folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import transformers

from smalltolarge.runs.manifest import as_bytes
from tests import hostile_models
from tests.faults import damage, process, trees
from tests.faults.claims import Campaign
from tests.faults.damage import REFUSED
from tests.faults.lab import Broken, Lab, Void, check_said
from tests.faults.malformed import MEMORY, SECONDS, mutate
from tests.faults.process import Done
from tests.faults.scenarios import CLUSTERED, PROXY, SCENARIOS, TINY, Scenario
from tests.lm_samples import CHATML, SMALL, model_folder

SECRET = b"a file of the user\n"
_PICKLE = b"cos\nsystem\n(S'touch CANARY'\ntR."
_AGAIN = {
    scenario.name: scenario
    for scenario in (
        Scenario("again", [*CLUSTERED, *PROXY], ("data.jsonl", "subset.jsonl", "runs"),
                 "runs/subset"),
        Scenario("read-losses", ["inspect", "runs/subset", "--target", "losses.parquet"],
                 ("data.jsonl", "losses.parquet", "runs"), "runs/subset"),
        Scenario("show-text", ["show-text", "data.jsonl", "--proxy", "model"],
                 ("data.jsonl", "model")),
    )
}  # fmt: skip
_ASKED = ["--template", "auto"]
_STRANGER = {
    scenario.name: scenario
    for scenario in (
        Scenario("record-model", ["record", "data.jsonl", "--out", "losses.parquet", "--proxy",
                 "m", "--checkpoints", "2", *TINY, *_ASKED], ("data.jsonl", "m")),
        Scenario("train-model", ["train", "m", "data.jsonl", "--out", "model", "--trainer", "own",
                 *TINY, *_ASKED], ("data.jsonl", "m")),
        Scenario("evaluate-model", ["evaluate", "m", "--task", "questions.jsonl", "--form",
                 "direct", "--out", "runs/answers", "--max-new-tokens", "2", "--threads", "1",
                 *_ASKED], ("questions.jsonl", "m")),
        Scenario("show-text-model", ["show-text", "data.jsonl", "--proxy", "m"],
                 ("data.jsonl", "m")),
    )
}  # fmt: skip
"""Commands that open the model ``m`` of a stranger."""
ALL = {**SCENARIOS, **_AGAIN, **_STRANGER}


def _link(target: str) -> Callable[[Path, Path], None]:
    return lambda path, outside: path.symlink_to(
        target if target.startswith("/") else outside / target
    )


def _content(content: bytes) -> Callable[[Path, Path], None]:
    def make(path: Path, outside: Path) -> None:
        path.write_bytes(content)

    return make


def _folder(path: Path, outside: Path) -> None:
    path.mkdir()
    (path / "mine.txt").write_bytes(SECRET)


KINDS: dict[str, Callable[[Path, Path], None]] = {
    "link": _link("secret"),
    "dangling": _link("nothing"),
    "link-to-folder": _link("."),
    "link-to-zeros": _link("/dev/zero"),
    "fifo": lambda path, outside: os.mkfifo(path),
    "folder": _folder,
    "empty": _content(b""),
    "mine": _content(SECRET),
    "pickle": _content(_PICKLE),
    "deep": _content(b"[" * 100_000),
    "huge-header": _content((2**62).to_bytes(8, "little") + b"{}"),
    "code": _content(
        json.dumps(
            {
                "auto_map": {"AutoConfig": "evil.Config", "AutoTokenizer": ["evil.T", None]},
                "model_type": "evil",
                "architectures": ["Evil"],
                "num_hidden_layers": 10**9,
                "weight_map": {"x": "../../outside/secret", "y": "evil.bin"},
                "chat_template": "{% for x in range(10**12) %}{{ x }}{% endfor %}",
                "trust_remote_code": True,
            }
        ).encode()
    ),
}
"""What stands at a name: made of the name and the folder outside."""


def _watch(folder: Path, log: Path) -> Callable[[], None]:
    """Give a function that forbids this process what no file may make it do."""
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    allowed = [str(folder), tempfile.gettempdir(), os.environ["HOME"], "/dev/", "/proc/"]
    writes = (
        "os.rename",
        "os.remove",
        "os.mkdir",
        "os.rmdir",
        "os.link",
        "os.symlink",
        "os.truncate",
    )

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        bad = event in (
            "pickle.find_class",
            "os.system",
            "socket.connect",
            "os.exec",
            "os.posix_spawn",
        )
        if event == "subprocess.Popen":
            bad = str(arguments[0]) != sys.executable
        elif event == "open":
            path, _, flags = arguments
            writing = (flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            bad = bool(writing) and isinstance(path, (str, bytes)) and not is_inside(path)
        elif event in writes:
            bad = not all(is_inside(path) for path in arguments if isinstance(path, (str, bytes)))
        if bad:
            os.write(handle, f"{event} {arguments!r}"[:500].encode("utf-8", "replace") + b"\n")

    def is_inside(path: str | bytes) -> bool:
        real = os.path.realpath(os.fsdecode(path))
        return any(real.startswith(place) for place in allowed)

    def begin() -> None:
        process.limit_memory(MEMORY)
        sys.addaudithook(hook)

    return begin


def _outside(lab: Lab) -> Path:
    """Make the folder that no command may change."""
    outside = lab.place / "outside"
    shutil.rmtree(outside, ignore_errors=True)
    outside.mkdir()
    (outside / "secret").write_bytes(SECRET)
    return outside


def _watched(lab: Lab, words: Sequence[str], *, writes_link: bool = False) -> Done:
    """Run a command under watch, and claim that it did nothing forbidden and said why it ended."""
    outside, log = lab.place / "outside", lab.place / "forbidden"
    before = trees.tree_of(outside)
    watch = _watch(lab.folder, log)
    done = process.run(words, lab.folder, before=watch, seconds=SECONDS)
    changed = trees.differences(trees.tree_of(outside), before)
    if changed and not writes_link:
        raise Broken(f"outside: {'; '.join(changed)}: {done.brief}")
    if (lab.folder / "CANARY").exists() or log.read_bytes():
        raise Broken(f"forbidden: {log.read_text(errors='replace')[:300]}: {done.brief}")
    check_said(done, (0, *REFUSED))
    if "\x1b" in done.said:
        raise Broken(f"an escape character is printed: {done.brief}")
    return done


def _is_allowed(lab: Lab, scenario: Scenario) -> None:
    """Claim, once, that the command ends well under watch where nothing is a stranger's."""
    if scenario.name not in lab.allowed:
        lab.lay_out(scenario)
        _outside(lab)
        done = _watched(lab, scenario.words)
        if done.exit != 0:
            raise Broken(f"with nothing of a stranger: {done.brief}")
        lab.allowed.add(scenario.name)


def _met(lab: Lab, scenario: Scenario, name: str, kind: str, after: Callable[[], None]) -> None:
    """Run a command over what a stranger made. A result that is given as a link is the user's."""
    outside = _outside(lab)
    path = lab.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    KINDS[kind](path, outside)
    _watched(lab, scenario.words, writes_link=kind == "dangling" and name in scenario.out)
    after()


def _replaced(lab: Lab, scenario: Scenario, detail: str) -> None:
    """A file that the command finds is of a stranger."""
    kind, _, name = detail.partition(":")
    _is_allowed(lab, scenario)
    lab.lay_out(scenario)
    (lab.folder / name).unlink()
    _met(lab, scenario, name, kind, lambda: None)


def _planted(lab: Lab, scenario: Scenario, detail: str) -> None:
    """Something of the user's, or a link, stands where the command writes: it stays as it is."""
    kind, _, name = detail.partition(":")
    lab.lay_out(scenario)

    ours = ".s2l-part" in name or "/.working" in name or "runs" in scenario.needs

    def stays() -> None:
        file = lab.folder / name
        if ours:
            return
        if kind == "folder":
            file /= "mine.txt"
        if kind in ("mine", "folder") and (not file.is_file() or file.read_bytes() != SECRET):
            raise Broken(f"the user's {name} is gone or changed")

    _met(lab, scenario, name, kind, stays)


def _replaced_details(lab: Lab, scenario: Scenario, draw: Random) -> Iterator[str]:
    lab.lay_out(scenario)
    files = [one for one in lab.folder.rglob("*") if one.is_file() and one.name != ".lock"]
    names = sorted(one.relative_to(lab.folder).as_posix() for one in files)
    found = [f"{kind}:{name}" for kind in KINDS for name in names]
    draw.shuffle(found)
    yield from found


def _planted_details(lab: Lab, scenario: Scenario, draw: Random) -> Iterator[str]:
    whole = lab.whole(scenario)
    written = {one.path for one in whole.log if one.what in ("open", "mkdir")}
    written |= {one.second for one in whole.log if one.what in ("rename", "link")}
    names = sorted((written | whole.tree.keys()) - whole.before.keys() - {".", "runs"})
    kinds = [
        kind for kind in KINDS if kind not in ("deep", "huge-header", "code", "pickle", "empty")
    ]
    found = [f"{kind}:{name}" for kind in kinds for name in names if name != scenario.run]
    draw.shuffle(found)
    yield from found


# A manifest of a stranger, whose digests are right, and his models

_SEALED: dict[str, Any] = {
    **damage.OTHER, "absolute": "/etc/hostname", "home": "~/.bashrc", "hub": "owner/name",
    "long": "x" * 5000, "zero byte": "a\0b", "surrogate": "\ud800", "many": 2**63, "tiny": 5e-324,
    "nested": {"a": {"b": ["c"]}}, "key": "KEY", "other": "OTHER", "fifo": "fifo",
}  # fmt: skip
_KEYS = ("../../outside/secret", "/etc/hostname", "\x1b[31m", "", "a\0b", "x" * 5000, "load")


def _give_value(manifest: Any, how: str, place: int, draw: Random) -> None:
    """Put another value in a place of a manifest."""
    places = list(damage.places(manifest))
    *way, last = places[place]
    holder = damage.at(manifest, way)
    if how == "removed":
        del holder[last]
    elif how == "key":
        if isinstance(holder, list):
            raise Void
        holder[draw.choice(_KEYS)] = holder.pop(last)
    elif how == "other":
        holder[last] = damage.at(manifest, draw.choice(places))
    else:
        holder[last] = _SEALED[how]


def _give_another(run: Path, stages: Any, draw: Random) -> None:
    """Put another content in the place of a file of a run, and its digest into the manifest."""
    outputs = [
        (stage, name) for stage in sorted(stages) for name in sorted(stages[stage]["outputs"])
    ]
    stage, name = draw.choice([one for one in outputs if (run / one[1]).is_file()])
    content = (run / name).read_bytes()
    other = run / draw.choice(outputs)[1]
    if draw.random() < 0.3 and other.is_file():
        content = other.read_bytes()
    elif draw.random() < 0.2:
        content = b""
    elif name.endswith(".parquet"):
        table = pq.read_table(run / name, use_threads=False, pre_buffer=False)
        column = draw.randrange(table.num_columns)
        changed = draw.choice(list(_COLUMNS.values()))(table.num_rows)
        field = pa.field(table.column_names[column], changed.type)
        pq.write_table(table.set_column(column, field, changed), run / name)
        content = (run / name).read_bytes()
    else:
        content = mutate(content, draw)
    (run / name).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    stages[stage]["outputs"][name] = {"sha256": digest, "bytes": len(content)}


_COLUMNS: dict[str, Callable[[int], Any]] = {
    "nulls": lambda n: pa.nulls(n, pa.string()),
    "text": lambda n: pa.array(["\x1b[31m"] * n),
    "large": lambda n: pa.array([2**63 - 1] * n),
    "minus": lambda n: pa.array([-1] * n, pa.int32()),
    "nan": lambda n: pa.array([float("nan")] * n, pa.float32()),
    "true": lambda n: pa.array([True] * n),
    "lists": lambda n: pa.array([[1.0]] * n),
}


def _sealed(lab: Lab, scenario: Scenario, detail: str) -> None:
    """A value or a file of a run is other and digests are made anew: a run, or one message."""
    how, place = detail.split(":")
    for words in (["verify", str(scenario.run)], ["inspect", str(scenario.run)], scenario.words):
        damage.finish(lab, scenario)
        _outside(lab)
        os.mkfifo(lab.folder / "fifo")
        run = lab.folder / str(scenario.run)
        manifest = json.loads((run / "manifest.json").read_bytes())
        draw = Random(detail)
        if how == "file":
            _give_another(run, manifest["stages"], draw)
        else:
            _give_value(manifest, how, int(place), draw)
        try:
            (run / "manifest.json").write_bytes(as_bytes(manifest["stages"]))
        except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
            raise Void from error  # no digest can be made
        _watched(lab, words)


def _sealed_details(lab: Lab, scenario: Scenario, draw: Random) -> Iterator[str]:
    damage.finish(lab, scenario)
    manifest = json.loads((lab.folder / str(scenario.run) / "manifest.json").read_bytes())
    count = len(list(damage.places(manifest)))
    found = [f"{how}:{place}" for place in range(count) for how in _SEALED if how != "deep"]
    found += [f"file:{number}" for number in range(count * 4)]
    draw.shuffle(found)
    yield from found


def _stranger(lab: Lab, scenario: Scenario, detail: str) -> None:
    """A model of a stranger: it is used, or refused in one message; nothing of it runs."""
    [kind] = [one for one in hostile_models.hostile() if one.name == detail]
    good = lab.materials / "m"
    if not good.exists():
        model_folder(good, transformers.GPTNeoXConfig(**SMALL), chat=CHATML)
    _is_allowed(lab, scenario)
    lab.lay_out(scenario)
    _outside(lab)
    kind.make(lab.folder / "m")
    done = _watched(lab, scenario.words)
    if done.exit == 0 and scenario.name == "record-model":
        raise Broken(f"it is taken: {done.brief}")


def _stranger_details(lab: Lab, scenario: Scenario, draw: Random) -> Iterator[str]:
    names = [kind.name for kind in hostile_models.hostile() if not kind.slow]
    draw.shuffle(names)
    yield from names


# Many at once


def _race(lab: Lab, scenario: Scenario, detail: str) -> None:
    """Many starts at once: one works, the others are refused or find it done; nothing is lost.

    Those of a comparison share the work, and all of them end well.
    """
    what, _, count = detail.partition("@")
    lab.lay_out(scenario)
    processes = []
    for number in range(int(count)):
        words = list(scenario.words)
        if what == "out":
            words += ["--run", f"runs/number-{number}"]
        said = lab.place / f"said-{number}"
        processes.append((process.fork(words, lab.folder, said), said))
    exits = [os.waitstatus_to_exitcode(os.waitpid(one, 0)[1]) for one, _ in processes]
    refused = {0} if scenario.name == "run" else {0, 4}
    if exits.count(0) < 1 or set(exits) - refused or (what == "out" and exits.count(0) != 1):
        other = [file.read_text()[-200:] for (_, file), code in zip(processes, exits, strict=True)
                 if code not in (0, 4)]  # fmt: skip
        raise Broken(f"exits {sorted(exits)}: {other[:1]}")
    if what == "folder":
        lab.has(lab.whole(scenario).tree, detail)
    else:
        result = trees.tree_of(lab.folder)
        if any(result.get(out) != lab.whole(scenario).tree[out] for out in scenario.out):
            raise Broken(f"{detail}: the result is other")


def _race_details(lab: Lab, scenario: Scenario, draw: Random) -> Iterator[str]:
    places = ("folder", "out") if scenario.out else ("folder",)
    while True:
        yield f"{draw.choice(places)}@{draw.choice((2, 8, 25))}"


_REPLACED = (
    "again", "inspect", "verify", "read-losses", "select-given", "select-folder", "evaluate",
    "export-trl", "show-text", "run", "prepare",
)  # fmt: skip
CAMPAIGNS = {
    "hostile": Campaign(
        "a stranger's file, link, FIFO or folder among those that are read",
        _replaced, _replaced_details, _REPLACED,
    ),
    "sealed": Campaign(
        "a stranger's run with other values or files and right digests",
        _sealed, _sealed_details, damage.RUNS,
    ),
    "models": Campaign(
        "a stranger's model, tokenizer, template or adapter",
        _stranger, _stranger_details, tuple(_STRANGER),
    ),
    "planted": Campaign(
        "a link, or a file of the user's, where the command writes", _planted, _planted_details
    ),
    "race": Campaign(
        "many starts at once on one folder or one result", _race, _race_details,
        ("select-random", "select-given", "record", "train", "run"),
    ),
}  # fmt: skip
