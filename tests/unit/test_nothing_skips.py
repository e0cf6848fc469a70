"""Where nothing may skip, a skip fails, be it of a test or of a whole file."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

pytest_plugins = ["pytester"]

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"
TESTS = {
    "test_one": "import pytest\ndef test_it() -> None:\n    pytest.skip('no server')",
    "test_file": "import pytest\npytest.importorskip('no_such_module', reason='no extra')\ndef test_it() -> None: ...",
}


@pytest.mark.parametrize(
    ("required", "failed"),
    [
        ("0", []),
        (
            "1",
            [
                "test_file.py was skipped where nothing may skip: Skipped: no extra",
                "test_one.py::test_it was skipped where nothing may skip: no server",
            ],
        ),
    ],
)
def test_a_skip_is_a_failure_where_nothing_may_skip(
    required: str,
    failed: list[str],
    pytester: pytest.Pytester,
    pytestconfig: pytest.Config,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REPROFARM_REQUIRE_ALL", required)
    ours = pytestconfig.pluginmanager.get_plugin(str(CONFTEST))
    assert ours is not None
    names = ("pytest_make_collect_report", "pytest_runtest_makereport")
    pytester.makepyfile(**TESTS)
    # Only its hooks: a run in this process must not start a server of runs, nor touch the garbage collector.
    run = pytester.inline_run(
        "--disable-plugin-autoload",
        "--continue-on-collection-errors",
        plugins=[SimpleNamespace(**{name: getattr(ours, name) for name in names})],
    )
    assert sorted(str(each.longrepr) for each in run.getfailures()) == failed
    assert (run.ret == pytest.ExitCode.TESTS_FAILED) == bool(failed)
