from __future__ import annotations

import pytest

from tests.support.fuzzing import TRIED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many inputs were tried."""
    if TRIED:
        crashes = len(terminalreporter.stats.get("failed", []))
        terminalreporter.write_sep("=", f"{sum(TRIED.values()):,} inputs tried, {crashes} properties broken")
        for name, count in sorted(TRIED.items()):
            terminalreporter.write_line(f"{count:>10,}  {name}")
