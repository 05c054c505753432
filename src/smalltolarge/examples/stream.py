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


def unreadable(name: str, error: OSError) -> DataError:
    """Make the error for a file that the system does not give."""
    return DataError(f"{printable(name, 200)} cannot be read: {error.strerror}")


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

    line, begin = 1, 0
    """The number and the place of the first line."""

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
            raise unreadable(self.name, error) from error

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
        number, start = self.line, self.begin
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

    def ranges(self, size: int) -> Iterator[tuple[int, int, int]]:
        """Yield ranges of whole lines of about ``size`` bytes: first line, start, end."""
        line, start, read = 1, 0, 0
        here = 0  # lines that end in this range
        for chunk in self.chunks():
            cut = chunk.rfind(b"\n") + 1
            if cut and read + cut - start >= size:
                here += chunk.count(b"\n", 0, cut)
                yield line, start, read + cut
                line, start = line + here, read + cut
                here = chunk.count(b"\n", cut)
            else:
                here += chunk.count(b"\n")
            read += len(chunk)
        if start < read:
            yield line, start, read

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


class LineRange(ByteStream):
    """The lines in [``begin``, ``end``) of a file that is not packed, without their digest."""

    def __init__(self, path: Path, name: str, line: int, begin: int, end: int) -> None:
        super().__init__(path, name, None)
        self.line, self.begin, self.end = line, begin, end

    def _raw(self) -> Iterator[bytes]:
        try:
            with self.path.open("rb", buffering=0) as file:
                file.seek(self.begin)
                left = self.end - self.begin
                while chunk := file.read(min(CHUNK, left)):
                    left -= len(chunk)
                    yield chunk
        except OSError as error:
            raise unreadable(self.name, error) from error
