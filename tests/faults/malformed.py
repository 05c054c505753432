"""What must hold when an input is malformed: small valid files of every format, mutated."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import zstandard

from tests.faults import process
from tests.faults.claims import Campaign
from tests.faults.lab import Broken, Lab, check_said
from tests.faults.scenarios import CLUSTERED, Scenario, lay_out

MEMORY = 2_000_000_000
"""Bytes that a command may take beside what its libraries have taken."""
SECONDS = 20.0
_LOAD = ["load", "FILE", "--out", "table.parquet"]
_FILES: dict[str, list[str]] = {
    "data.jsonl": _LOAD,
    "data.json": _LOAD,
    "data.csv": _LOAD,
    "data.parquet": _LOAD,
    "data.jsonl.gz": _LOAD,
    "data.jsonl.zst": _LOAD,
    "saved/data-00000-of-00001.arrow": ["load", "saved", "--out", "table.parquet"],
    "saved/dataset_info.json": ["load", "saved", "--out", "table.parquet"],
    "saved/state.json": ["load", "saved", "--out", "table.parquet"],
    "losses.parquet": [*CLUSTERED, "--trajectories", "FILE"],
    "compare.yaml": ["run", "FILE", "--out", "runs/compare", "--dry-run"],
    "questions.jsonl": ["run", "compare.yaml", "--out", "runs/compare", "--dry-run", "--set",
                        "evaluation.tasks=[questions.jsonl]"],
    "notes.csv.gz": ["prepare", "mimic", "FILE", "--out", "reports"],
}  # fmt: skip
"""A file, and a command that reads it."""
_SALT = (
    b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b"\\ud800", b"\r", b"\n", b'"', b"'", b"{", b"}",
    b"[" * 400, b"]", b",", b":", b"\t", b"null", b"NaN", b"-Infinity", b"1e999", b"9" * 400,
    b"true", b"\x1b[31m", b"\xe2\x80\xae", b"\xe2\x80\xa8", b"&a [*a]", b"<<: *a",
    b"!!python/object/apply:os.system ['true']", b"\x00\xff" * 40, b"A" * 70_000, b"PAR1",
    b"ARROW1", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd",
)  # fmt: skip


def mutate(content: bytes, draw: Random) -> bytes:
    """Change a file at one to four places."""
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        place, length = draw.randrange(len(changed) + 1), draw.choice((1, 2, 8, 64, 512))
        piece = bytes(changed[place : place + length])
        how = draw.randrange(7)
        if how == 0 and piece:
            changed[place] ^= 1 << draw.randrange(8)
        elif how == 1:
            del changed[place : place + length]
        elif how == 2:
            changed[place:place] = piece * draw.choice((1, 2, 50))
        elif how == 3:
            changed[place:place] = draw.choice(_SALT)
        elif how == 4:
            changed[place : place + length] = draw.choice(_SALT)
        elif how == 5:
            del changed[place:]
        else:
            changed[place : place + length] = draw.randbytes(len(piece))
    return bytes(changed)


def _mutated(lab: Lab, scenario: Scenario, detail: str) -> None:
    """A mutated file gives a result, or an error of ours; in bounded time and memory."""
    draw = Random(int(detail))
    name = draw.choice(list(_FILES))
    needs = {name.partition("/")[0], "data.jsonl", "held-out.jsonl", "compare.yaml"}
    needs.discard("data.jsonl.zst")
    if name == "questions.jsonl":
        needs.add("compare.yaml")
    words = [name if word == "FILE" else word for word in _FILES[name]]
    lay_out(Scenario("malformed", words, sorted(needs)), lab.materials, lab.folder)
    file = lab.folder / name
    if name == "data.jsonl.zst":
        lines = (lab.folder / "data.jsonl").read_bytes()
        file.write_bytes(zstandard.ZstdCompressor(write_checksum=True).compress(lines))
    file.write_bytes(mutate(file.read_bytes(), draw))
    done = process.run(
        words, lab.folder, before=lambda: process.limit_memory(MEMORY), seconds=SECONDS
    )
    check_said(done, (0, 2, 3, 4, 5, 7))
    if "\x1b" in done.said:
        raise Broken(f"{name}: an escape character is printed: {done.brief}")


def _seeds(lab: Lab, scenario: Scenario, draw: Random) -> Iterator[str]:
    while True:
        yield str(draw.randrange(10**9))


CAMPAIGNS = {"malformed": Campaign("a malformed input", _mutated, _seeds, ["load"])}
