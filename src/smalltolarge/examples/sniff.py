"""What kind of file it is, by its content; the name is only a hint."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

from smalltolarge.errors import DataError, printable
from smalltolarge.examples.stream import ByteStream, compression_of

KIND_OF_SUFFIX = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
}
PACKED = (".gz", ".zst")
ACCEPTED = "JSONL, JSON, CSV (each also .gz or .zst), Parquet, or a datasets.save_to_disk folder"

_HEAD = 1 << 16
_FOREIGN = (
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook", "unpack it, or save it as CSV"),
    (b"BZh", "a bzip2 file", "unpack it with bunzip2"),
    (b"\xfd7zXZ", "an xz file", "unpack it with unxz"),
    (b"7z\xbc\xaf", "a 7-Zip archive", "unpack it"),
    (b"Rar!", "a RAR archive", "unpack it"),
    (b"ARROW1", "an Arrow file", "save it as Parquet, or give the folder of save_to_disk"),
    (b"\xff\xff\xff\xff", "an Arrow stream", "save it as Parquet, or give the save_to_disk folder"),
    (b"SQLite format 3", "an SQLite data base", "export the rows as CSV or JSONL"),
    (b"%PDF", "a PDF document", "give the data itself"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word file", "save it as CSV"),
    (b"version https://git-lfs", "a Git LFS pointer, not the data", "run git lfs pull"),
)
_MARKS = ((b"\xff\xfe\0\0", "UTF-32"), (b"\0\0\xfe\xff", "UTF-32"), (b"\xff\xfe", "UTF-16"),
          (b"\xfe\xff", "UTF-16"))  # fmt: skip
_HTML = re.compile(rb"\s*(<!doctype\s+html|<html|<head|<\?xml|<!--)", re.IGNORECASE)
_ARRAY = re.compile(rb"\s*\[\s*(\{|\]|\Z)")


def stem_of(path: Path) -> str:
    """Give a file's name without its suffix, and without that of packing."""
    return (path.with_suffix("") if path.suffix in PACKED else path).stem


def suffix_of(path: Path) -> tuple[str, str]:
    """Split a name's end: (".jsonl", ".gz"); empty where unknown."""
    packed = path.suffix.lower() if path.suffix.lower() in PACKED else ""
    inner = Path(path.stem).suffix.lower() if packed else path.suffix.lower()
    return inner, packed


def kind_of(path: Path, name: str) -> tuple[str, str | None]:
    """Tell (kind, compression) of a file: jsonl, json, csv or parquet; None, gz or zst.

    Raises
    ------
    DataError
        There is no such file, it cannot be read, is empty, or is of another kind.
    """
    said = printable(name, 200)
    head = _first_bytes(path, name)
    compression = compression_of(head)
    if compression is not None:
        head = _first_unpacked(path, name, compression)
        if not head:
            raise DataError(f"{said} is empty once unpacked. A file with rows is needed.")
    packed = f", packed as {compression}" if compression else ""
    if head.startswith(b"PAR1"):
        if compression is not None:
            raise DataError(
                f"{said} is a Parquet file{packed}. Parquet is compressed inside: unpack it first."
            )
        return "parquet", None
    if compression_of(head):
        raise DataError(f"{said} is packed twice. Unpack it once.")
    for mark, what, todo in _FOREIGN:
        if head.startswith(mark):
            raise DataError(f"{said} is {what}{packed}: {todo}. Accepted: {ACCEPTED}.")
    encoding = _wide_encoding(head)
    if encoding:
        raise DataError(
            f"{said} is {encoding} text{packed}; UTF-8 is needed. Convert it: "
            f"iconv -f {encoding} -t UTF-8 {said} > new-file"
        )
    text = head.removeprefix(b"\xef\xbb\xbf")
    if not text.strip() and len(head) < _HEAD:
        raise DataError(f"{said} holds nothing but white space. A file with rows is needed.")
    if _HTML.match(text):
        raise DataError(
            f"{said} is an HTML or XML page{packed}, probably an error page saved in place of the "
            f'data: "{printable(text.decode("utf-8", "replace").strip(), 60)}". Download it again.'
        )
    return _text_kind(text, path, said), compression


def _first_bytes(path: Path, name: str) -> bytes:
    said = printable(name, 200)
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            what = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
            raise DataError(f"{said} is {what}; a file is needed here.")
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except FileNotFoundError as error:
        raise DataError(f"{said}: no such file. Check the spelling and the folder.") from error
    except OSError as error:
        raise DataError(f"{said} cannot be read: {error.strerror}.") from error
    if not head:
        raise DataError(f"{said} is empty (0 bytes). A file with rows is needed.")
    return head


def _first_unpacked(path: Path, name: str, compression: str) -> bytes:
    head = b""
    for chunk in ByteStream(path, name, compression).chunks():
        head += chunk
        if len(head) >= _HEAD:
            break
    return head[:_HEAD]


def _wide_encoding(head: bytes) -> str | None:
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    sample = head[:400]
    if len(sample) >= 8:
        even, odd = sample[0::2].count(0), sample[1::2].count(0)
        half = len(sample) // 2
        if odd > 0.8 * half and even < 0.1 * half:
            return "UTF-16LE"
        if even > 0.8 * half and odd < 0.1 * half:
            return "UTF-16BE"
    return None


def _text_kind(text: bytes, path: Path, said: str) -> str:
    hint = KIND_OF_SUFFIX.get(suffix_of(path)[0])
    lines = [line for line in text.split(b"\n") if line.strip()]
    if _ARRAY.match(text) and hint != "csv":
        return "json"
    objects = [_is_object(line) for line in lines[: 1 if hint == "csv" else 5]]
    if any(objects[:1]) or sum(objects) > (0 if hint == "jsonl" else 1):
        return "jsonl"
    if text.lstrip()[:1] == b"[" and hint in (None, "json"):
        return "json"
    if text.lstrip()[:1] == b"{" and hint in (None, "json"):
        if len(lines) == 1 and len(text) >= _HEAD:
            return "jsonl"  # one long first line
        raise DataError(
            f"{said} is one JSON object over several lines, not rows. Needed: a JSON array of "
            "objects, [{...}, {...}], or JSONL: one object per line."
        )
    if hint in ("jsonl", "json", "csv"):
        return hint
    if hint == "parquet":
        raise DataError(
            f"{said} is named Parquet but is not (it does not begin with PAR1): "
            f'"{printable(text[:200].decode("utf-8", "replace"), 60)}". Get the file again.'
        )
    raise DataError(
        f"{said}: cannot tell what this file is; it begins "
        f'"{printable(text[:200].decode("utf-8", "replace"), 60)}". Accepted: {ACCEPTED}. Give it '
        "the suffix of what it is."
    )


def _is_object(line: bytes) -> bool:
    if line.lstrip()[:1] != b"{":
        return False
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
