"""The bytes of one file: unpacked, digested and split while they are read once."""

from __future__ import annotations

import errno
import hashlib
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import zstandard

from smalltolarge.errors import DataError, printable
from smalltolarge.unpacking import refuse_bomb

CHUNK = 1 << 20
_ZSTD_FEED = 1 << 10  # a zstd block of 4 bytes may unpack to 128 KiB, so little is fed at a time

Line = tuple[int, int, int, bytes | None]
"""(number from 1, start, end, bytes without the newline); bytes are None in a line too long."""


def compression_of(head: bytes) -> str | None:
    """Tell the compression from a file's first bytes."""
    if head.startswith(b"\x1f\x8b"):
        return "gz"
    skippable = head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F
    return "zst" if skippable or head.startswith(b"\x28\xb5\x2f\xfd") else None


def damaged(name: str, what: str) -> DataError:
    """Make the error for a file that cannot be read to its end."""
    return DataError(
        f"{printable(name, 200)}: {what}. None of it is used: get the file again, or make it again."
    )


def out_of_memory(error: BaseException) -> bool:
    """Tell want of memory, which is no damage, from what a damaged file leads to."""
    return isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM


class ByteStream:
    """One file's bytes after unpacking; ``sha256`` and ``size`` are of the file on disk.

    Raises
    ------
    DataError
        While iterating: the file cannot be read, is cut short, damaged, or a bomb.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        compression: str | None,
        advance: Callable[[int], None] = lambda amount: None,
    ) -> None:
        self.path, self.name, self.compression = path, name, compression
        self.size = 0
        self._advance = advance
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Digest of the bytes read so far, of the whole file once it is read."""
        return self._digest.hexdigest()

    def chunks(self) -> Iterator[bytes]:
        """Yield the unpacked bytes."""
        if self.compression is None:
            yield from self._raw()
        else:
            yield from self._unpacked()

    def _raw(self) -> Iterator[bytes]:
        try:
            with self.path.open("rb", buffering=0) as file:
                while chunk := file.read(CHUNK):
                    self._digest.update(chunk)
                    self.size += len(chunk)
                    self._advance(len(chunk))
                    yield chunk
        except OSError as error:
            raise DataError(
                f"{printable(self.name, 200)} cannot be read: {error.strerror}"
            ) from error

    def _unpacked(self) -> Iterator[bytes]:
        decoder, started, given, taken = self._decoder(), False, 0, 0
        for chunk in self._raw():
            data = memoryview(chunk)
            while len(data):
                feed = bytes(data[:_ZSTD_FEED])
                data = data[len(feed) :]
                while feed:
                    if not started and self.compression == "gz" and not feed.strip(b"\0"):
                        break  # gzip allows zeros after its last member
                    started = True
                    try:
                        out = decoder.decompress(feed)
                    except (zlib.error, zstandard.ZstdError) as error:
                        raise damaged(
                            self.name, f"its {self.compression} compression is damaged ({error})"
                        ) from error
                    taken += len(feed) - len(decoder.unused_data)
                    given += len(out)
                    refuse_bomb(self.name, given, taken)
                    if out:
                        yield out
                    feed = b""
                    if decoder.eof:
                        feed, started = decoder.unused_data, False
                        decoder = self._decoder()
        if started:
            raise damaged(self.name, f"its {self.compression} compression ends too early")

    def _decoder(self) -> Any:
        if self.compression == "gz":
            return zlib.decompressobj(wbits=31)
        return zstandard.ZstdDecompressor().decompressobj()

    def lines(self, limit: int, *, empty: bool) -> Iterator[Line]:
        r"""Yield the lines, split at ``\n`` alone; a line above ``limit`` bytes comes as None.

        Empty lines are counted, and yielded only if ``empty``.
        """
        number, start = 1, 0
        pending: list[bytes] = []
        length = 0
        for chunk in self._merged():
            parts = chunk.split(b"\n")
            last = parts.pop()
            for part in parts:
                if length:
                    length += len(part)
                    line = b"".join([*pending, part]) if length <= limit else None
                    pending.clear()
                elif part or empty:
                    length = len(part)
                    line = part if length <= limit else None
                else:
                    number += 1
                    start += 1
                    continue
                yield number, start, start + length, line
                number += 1
                start += length + 1
                length = 0
            if last:
                length += len(last)
                if length <= limit:
                    pending.append(last)
                else:
                    pending.clear()
        if length:
            line = b"".join(pending) if length <= limit else None
            yield number, start, start + length, line

    def _merged(self) -> Iterator[bytes]:
        held: list[bytes] = []
        size = 0
        for chunk in self.chunks():
            held.append(chunk)
            size += len(chunk)
            if size >= CHUNK // 4:
                yield b"".join(held)
                held, size = [], 0
        if held:
            yield b"".join(held)
