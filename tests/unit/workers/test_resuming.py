"""Which answers of an earlier attempt count; the whole way is in tests/integration/workers/test_handing_back.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from specs.logs.run_log import RunLog
from tests.support.inspect_logs import inspect_log, rewritten
from workers.runs.resuming import Wanted, earlier_attempt, finished

BROKEN_OFF, TOO_LONG = 2, 3


def _stopped(name: str, content: Any) -> Any:
    """As a worker leaves a log whose engine went down with its node."""
    if name == "header.json":
        content["status"] = "cancelled"
    if name.startswith("samples/") and content["id"] in (BROKEN_OFF, TOO_LONG):
        content["output"]["choices"][0]["stop_reason"] = "unknown" if content["id"] == BROKEN_OFF else "model_length"
    return content


def test_an_answer_that_went_down_with_the_engine_is_asked_again(tmp_path: Path) -> None:
    whole = inspect_log(tmp_path / "logs", ["a", "b", "c", "d"], [["a"], ["b"], ["c"], ["d"]])
    log = rewritten(whole, tmp_path / "stopped.eval", _stopped)
    assert finished(log) == {1: 1, BROKEN_OFF: 0, TOO_LONG: 1, 4: 1}
    wanted = Wanted({}, dict(enumerate("abcd", start=1)), 1)
    earlier = earlier_attempt(log, "ab" * 32, wanted, tmp_path / "kept.eval")
    assert (earlier.resumed.answers, earlier.resumed.samples) == (3, 3)
    with RunLog(earlier.log) as kept:
        assert {answer.id for answer in kept.answers()} == {1, TOO_LONG, 4}, "a prompt is too long the next time too"
