"""Every blow at every stage: `make chaos`. Prints a table and writes it as Markdown and JSON.

`python -m tests.chaos.matrix [--farms 3] [--blows TEXT] [--out FOLDER] [--page docs/chaos.md]`
"""

from __future__ import annotations

import argparse
import json
import queue
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from deploy.bench.postgres import NO_SERVER, postgres_programs
from tests.chaos.blows import EVERY_BLOW, Blow
from tests.chaos.cells import Cell, struck
from tests.chaos.farm import chaos_farm
from tests.chaos.stages import STAGERS
from tests.chaos.table import as_markdown, as_table, put_into

MAX_FARMS = 10
"""One after the other, where each comes to nothing."""

Work = tuple[Blow, str]


class Matrix:
    """The blows that are left, and what the others came to."""

    def __init__(self, blows: Sequence[Blow], out: Path, console: Console, control_workers: int = 1) -> None:
        self._left: queue.SimpleQueue[Work] = queue.SimpleQueue()
        for blow in blows:
            for name in STAGERS:
                self._left.put((blow, name))
        self._out = out
        self._control_workers = control_workers
        self._console = console
        self._lock = threading.Lock()
        self._tried_again: set[Work] = set()
        self.cells: list[Cell] = []
        self.troubles: list[str] = []
        """Stages that could not be reached, and farms that could not be looked at."""

    def work(self, folder: Path, programs: Path) -> None:
        """Strike one farm after the other blow, until none is left; a farm that was of no use any more is replaced."""
        for number in range(MAX_FARMS):
            if self._left.empty():
                return
            try:
                self._work(folder / str(number), programs)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding about the farm
                with self._lock:
                    self.troubles.append(f"{type(error).__name__}: {error}")
                    self._console.print(self.troubles[-1], markup=False)

    def _work(self, folder: Path, programs: Path) -> None:
        folder.mkdir(parents=True)
        with chaos_farm(folder, programs, control_workers=self._control_workers) as farm:
            while True:
                try:
                    blow, name = self._left.get_nowait()
                except queue.Empty:
                    return
                try:
                    self._took(struck(farm, STAGERS[name], blow))
                except Exception as error:
                    if (blow, name) not in self._tried_again:
                        # A machine that is too busy misses a stage now and then: once more, on a farm as new.
                        self._tried_again.add((blow, name))
                        self._left.put((blow, name))
                        return
                    raise AssertionError(f"{name}, {blow.name}: {error}") from error

    def _took(self, cells: list[Cell]) -> None:
        with self._lock:
            self.cells += cells
            for cell in cells:
                said = "" if cell.is_right else f" WRONG: {cell}"
                self._console.print(f"{cell.blow}, {cell.stage}: {cell.seconds:.0f} s{said}", markup=False)
            self._write()

    def _write(self) -> None:
        self._out.mkdir(parents=True, exist_ok=True)
        (self._out / "chaos.json").write_text(json.dumps([cell.as_json() for cell in self.cells], indent=2) + "\n")
        (self._out / "chaos.md").write_text(as_markdown(self.cells))


def main() -> int:
    """Run the matrix; 0 if every cell is right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--farms", type=int, default=2, help="farms that are struck at the same time")
    parser.add_argument("--control-workers", type=int, default=1, help="of each farm; one of them is struck")
    parser.add_argument("--blows", default="", help="only those whose name has this in it")
    parser.add_argument("--out", type=Path, default=Path("var/chaos"), help="folder for chaos.md and chaos.json")
    parser.add_argument("--page", type=Path, help="a page to put the tables into, under its last heading")
    options = parser.parse_args()
    programs = postgres_programs()
    if programs is None:
        sys.exit(NO_SERVER)
    console = Console()
    blows = [blow for blow in EVERY_BLOW if options.blows in blow.name]
    matrix = Matrix(blows, options.out, console, options.control_workers)
    folder = Path(tempfile.mkdtemp(prefix="reprofarm-chaos-"))
    began = time.monotonic()
    threads = [threading.Thread(target=matrix.work, args=(folder / f"farm{n}", programs)) for n in range(options.farms)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    console.print(as_table(matrix.cells))
    if options.page is not None:
        put_into(options.page, matrix.cells)
    wrong = [cell for cell in matrix.cells if not cell.is_right]
    minutes = (time.monotonic() - began) / 60
    console.print(f"{len(matrix.cells)} cells, {len(wrong)} wrong, in {minutes:.0f} min; see {options.out}")
    if wrong or matrix.troubles:
        console.print(f"the farms' logs are in {folder}")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
