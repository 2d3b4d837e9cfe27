"""Sources of bytes: a file, or bytes in memory. A data set may add others (a member of a tar, an object's key)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from ..errors import UnreadableSource


@runtime_checkable
class Source(Protocol):
    """The encoded bytes of one sample (JPEG, WAV, ...). A source must pickle: the processes that read samples receive it."""

    @property
    def name(self) -> str:
        """The name of the source in messages and in the record of the data: a path, a key, a member."""

    def read(self) -> bytes:
        """All bytes. Raises `UnreadableSource`."""

    def identity(self) -> tuple[str | int, ...] | None:
        """A cheap value that changes whenever the bytes may have changed; None where only reading can show that.

        The engine does not read a source again while its identity is unchanged. Raises `UnreadableSource`.
        """


@dataclass(frozen=True)
class FileSource:
    """A file."""

    path: Path

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    def read(self) -> bytes:
        """The content of the file."""
        try:
            return self.path.read_bytes()
        except (OSError, ValueError) as err:  # ValueError: a zero byte in the path
            reason = getattr(err, "strerror", None) or err
            raise UnreadableSource(f"cannot be read: {reason}", where=self.name) from err

    def identity(self) -> tuple[str | int, ...]:
        """Path, inode, size, and the times of modification and change."""
        try:
            stat = self.path.stat()
        except OSError as err:
            raise UnreadableSource(f"cannot be read: {err.strerror or err}", where=self.name) from err
        return self.name, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


@dataclass(frozen=True)
class MemorySource:
    """Bytes in memory."""

    data: bytes = field(repr=False)
    name: str = "bytes in memory"

    def read(self) -> bytes:
        """The bytes."""
        return self.data

    def identity(self) -> None:
        """None: reading bytes in memory costs nothing."""
        return
