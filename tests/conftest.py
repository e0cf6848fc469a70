"""What tests may need, and what happens where it is missing.

At home a test that needs something this machine lacks is skipped with the reason. In CI
(`REPROFARM_REQUIRE_ALL=1`) nothing may skip: a skip there is a failure, so that a green run means that all of it ran.
"""

from __future__ import annotations

import gc
import os
import shutil
from collections import Counter
from collections.abc import Generator
from functools import cache
from pathlib import Path

import httpx2
import hypothesis
import pytest
from httpx2._config import DEFAULT_TIMEOUT_CONFIG
from xdist.scheduler import LoadScopeScheduling

from tests.support.compiled_once import compile_once
from tests.support.shared_runs import keep_runs_for_others
from tests.support.waiting import PATIENCE_SECONDS

# A slow or busy machine is no failure of a property. In CI the examples are the same each time: new ones are looked for
# at home, and by `make fuzz`.
hypothesis.settings.register_profile(
    "reprofarm",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    derandomize=os.environ.get("REPROFARM_REQUIRE_ALL") == "1",
)
hypothesis.settings.load_profile("reprofarm")

# Who does not say otherwise gives a server five seconds, and the Hub's client ten. A busy machine takes longer.
for _phase in ("connect", "read", "write", "pool"):
    setattr(DEFAULT_TIMEOUT_CONFIG, _phase, PATIENCE_SECONDS)
for _name in ("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"):
    os.environ.setdefault(_name, f"{PATIENCE_SECONDS:.0f}")

# A client reads all certificates of the machine when it is made, in 25 ms, and tests make thousands of them.
httpx2._transports.default.create_ssl_context = cache(httpx2.create_ssl_context)  # type: ignore[attr-defined]

compile_once()

# All that tests ask is on this machine.
for _name in [each for each in os.environ if each.lower().endswith("_proxy")]:
    del os.environ[_name]

# Most farms that tests bring up are gone before a worker of theirs has imported what its first batch needs.
os.environ.setdefault("REPROFARM_WORKER_PREPARE", "false")

PROJECT = Path(__file__).resolve().parent.parent

IN_MEMORY, ENOUGH_BYTES = Path("/dev/shm"), 2**33  # noqa: S108 - pytest makes a folder there that is its user's alone
"""Where tests' folders are if there is so much room and programs may run there: on a disk, databases and git wait until
it has written what is thrown away in a moment. What a test kills is a process, never the machine."""

if (
    IN_MEMORY.is_dir()
    and shutil.disk_usage(IN_MEMORY).free > ENOUGH_BYTES
    and not os.statvfs(IN_MEMORY).f_flag & os.ST_NOEXEC
):
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(IN_MEMORY))

TOGETHER = ("tests/e2e/", "tests/browser/")
"""Folders whose files one process runs: those with real engines, and those that look at one farm with a browser."""


def pytest_configure(config: pytest.Config) -> None:
    """Keep a server of runs for the processes of a parallel run."""
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        keep_runs_for_others()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure where nothing may skip."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("REPROFARM_REQUIRE_ALL") == "1":
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped where nothing may skip: {call.excinfo and call.excinfo.value}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a whole file that is skipped as it is imported: none of its tests would be there to fail."""
    report = yield
    if report.skipped and os.environ.get("REPROFARM_REQUIRE_ALL") == "1":
        why = report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} was skipped where nothing may skip: {why}"
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """See that each test has an id of its own: of several with one id, a parallel run would run the first alone."""
    twice = [name for name, count in Counter(item.nodeid for item in items).items() if count > 1]
    if twice:
        raise pytest.UsageError(f"several tests have the same id: {', '.join(twice)}")


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Have the garbage collector pass over what is imported, more than a million objects that stay until the end.

    To look through them again and again took a quarter of the tests' own time.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        # Nor after every 700 objects: what a test made is let go of by itself but for a few circles.
        gc.set_threshold(50_000, 20, 20)
        gc.enable()


class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives each process of a parallel run whole files, and all of a folder where they share what is dear to make.

    Two real engines at once would only fight over the cores.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((folder for folder in TOGETHER if file.startswith(folder)), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFile:
    """Have xdist use it."""
    return ByFile(config, log)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real benchmark files and results that lies beside the project, not in it."""
    data = PROJECT.parent / "shared" / "data"
    if not data.is_dir():
        pytest.skip("../shared/data is not beside this checkout; tests on real benchmark data need it")
    return data
