from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.farm.processes import Processes


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    found = Processes(tmp_path, tmp_path / "logs")
    yield found
    found.stop()
