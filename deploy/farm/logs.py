"""The log files of the farm's processes, one for each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

TAIL_BYTES = 64 * 1024
READ_BYTES = 1024 * 1024


@dataclass
class Log:
    """One process's log. The process writes the file itself, so nothing of it is lost when whoever reads it dies."""

    name: str
    path: Path
    _read_bytes: int = 0
    _rest: bytes = b""

    @classmethod
    def fresh(cls, name: str, folder: Path) -> Log:
        """A new, empty log; that of the last run is kept as `NAME.log.1`."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.log"
        if path.exists():
            path.replace(path.with_name(f"{path.name}.1"))
        path.touch()
        return cls(name, path)

    def new_lines(self) -> list[str]:
        """The lines that were completed since the last call, as far as one look goes."""
        with self.path.open("rb") as file:
            file.seek(self._read_bytes)
            found = file.read(READ_BYTES)
        self._read_bytes += len(found)
        *lines, self._rest = (self._rest + found).split(b"\n")
        return [_text(line) for line in lines]

    def tail(self, lines: int = 20) -> list[str]:
        """The last lines."""
        with self.path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES))
            return [_text(line) for line in file.read().splitlines()[-lines:]]


def _text(line: bytes) -> str:
    # A progress bar writes over itself; what it last showed is enough.
    return line.decode(errors="replace").rstrip("\r").rpartition("\r")[2]
