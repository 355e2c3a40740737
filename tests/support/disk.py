"""A disk that loses what was not synced: from the record of a server's calls (recorder.c) to the files that there can
be after the power has failed at any moment."""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512
EVENT = struct.Struct("=IIQQ")


@dataclass
class Event:
    kind: str
    path: str
    offset: int
    data: bytes


def read_trace(path: Path) -> list[Event]:
    data, at, events = path.read_bytes(), 0, []
    while at < len(data):
        kind, path_size, offset, size = EVENT.unpack_from(data, at)
        at += EVENT.size
        name = data[at : at + path_size].decode().removesuffix(" (deleted)")
        at += path_size
        events.append(Event(chr(kind), name, offset, data[at : at + size]))
        at += size
    return events


@dataclass
class Stored:
    """What was done to a file, in order; the first `synced` of it is safe."""

    changes: list[Event] = field(default_factory=list)
    synced: int = 0

    @property
    def pending(self) -> list[Event]:
        return self.changes[self.synced :]


FOLDER = Stored()
Choice = Callable[[str, Stored], list[Event]]


class Disk:
    def __init__(self) -> None:
        self.names: dict[str, Stored] = {"": FOLDER}  # as the server sees them
        self.safe: dict[str, Stored] = {"": FOLDER}  # as they are after a loss
        self.unsafe: dict[str, list[tuple[str, Stored | None]]] = {}  # changes of a folder since its last sync
        self.syncing: dict[str, int] = {}

    def apply(self, event: Event) -> None:
        path = event.path
        if event.kind in "wspm" and path in self.names:
            self.names[path].changes.append(event)
        elif event.kind == "c":
            self._name(path, Stored())
        elif event.kind == "d":
            self._name(path, FOLDER)
        elif event.kind == "u":
            self._name(path, None)
        elif event.kind == "r":
            stored = self.names[path]
            self._name(path, None)
            self._name(event.data.decode(), stored)
        elif event.kind == "b":
            folder = self.names.get(path) is FOLDER
            self.syncing[path] = len(self.unsafe.get(path, [])) if folder else len(self._changes(path))
        elif event.kind == "y" and self.names.get(path) is FOLDER:
            changes = self.unsafe.get(path, [])
            for name, stored in changes[: self.syncing[path]]:
                self._set(self.safe, name, stored)
            del changes[: self.syncing[path]]
        elif event.kind == "y" and path in self.names:
            self.names[path].synced = self.syncing[path]

    def _changes(self, path: str) -> list[Event]:
        return self.names[path].changes if path in self.names else []

    def _name(self, path: str, stored: Stored | None) -> None:
        self._set(self.names, path, stored)
        self.unsafe.setdefault(os.path.dirname(path), []).append((path, stored))

    @staticmethod
    def _set(names: dict[str, Stored], path: str, stored: Stored | None) -> None:
        if stored is None:
            names.pop(path, None)
        else:
            names[path] = stored

    # ---- what there can be -------------------------------------------------------------------------------------
    def outcomes(self) -> Iterator[tuple[str, dict[str, Stored], Choice]]:
        """(name, files, what was done to each of them) of each loss that is tried."""
        yield "all lost", self.safe, lambda path, stored: stored.changes[: stored.synced]
        yield "all kept", self.names, lambda path, stored: stored.changes
        yield "names lost", self.safe, lambda path, stored: stored.changes
        yield "every other change lost", self.names, lambda path, stored: self._halved(stored, 0)
        yield "the others lost", self.names, lambda path, stored: self._halved(stored, 1)
        for path, stored in list(self.names.items()):
            if not stored.pending:
                continue
            yield f"{path} lost", self.names, self._without(path)
            yield f"only {path} kept", {**self.safe, path: stored}, self._only(path)
            if self._spans_sectors(stored.changes[-1]):
                for kept in ("begin", "end"):
                    yield f"{kept} of {path} kept", self.names, self._torn(path, kept)

    @staticmethod
    def _halved(stored: Stored, which: int) -> list[Event]:
        return stored.changes[: stored.synced] + stored.pending[which::2]

    @staticmethod
    def _without(lost: str) -> Choice:
        return lambda path, stored: stored.changes[: stored.synced] if path == lost else stored.changes

    @staticmethod
    def _only(kept: str) -> Choice:
        return lambda path, stored: stored.changes if path == kept else stored.changes[: stored.synced]

    @staticmethod
    def _spans_sectors(event: Event) -> bool:
        return event.kind == "w" and event.offset // SECTOR != (event.offset + len(event.data) - 1) // SECTOR

    @staticmethod
    def _torn(torn: str, kept: str) -> Choice:
        """Sectors are written whole, but in any order."""

        def choose(path: str, stored: Stored) -> list[Event]:
            last = stored.changes[-1] if stored.changes else None
            if path != torn or last is None:
                return stored.changes
            middle = (last.offset + len(last.data) // 2) // SECTOR * SECTOR
            middle = middle if middle > last.offset else (last.offset // SECTOR + 1) * SECTOR
            part = middle - last.offset
            if kept == "begin":
                rest = Event("w", path, last.offset, last.data[:part])
            else:
                rest = Event("w", path, middle, last.data[part:])
            return [*stored.changes[:-1], rest]

        return choose


def materialise(folder: Path, names: dict[str, Stored], choose: Choice) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for path, stored in sorted(names.items()):
        if stored is FOLDER:
            (folder / path).mkdir(mode=0o700, exist_ok=True)
        elif names.get(os.path.dirname(path)) is FOLDER:
            fd = os.open(folder / path, os.O_RDWR | os.O_CREAT, 0o600)
            for event in choose(path, stored):
                _do(fd, event)
            os.close(fd)


def _do(fd: int, event: Event) -> None:
    if event.kind == "s":
        os.ftruncate(fd, event.offset)
    elif event.kind == "p":
        size = struct.unpack("=Q", event.data)[0]
        end = min(event.offset + size, os.fstat(fd).st_size)
        if end > event.offset:
            os.pwrite(fd, bytes(end - event.offset), event.offset)
    else:
        os.pwrite(fd, event.data, event.offset)
