"""Which answers of an earlier attempt count; the whole way is in tests/integration/workers/test_handing_back.py."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.log import read_eval_log_sample_summaries

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


def test_a_log_of_more_answers_than_one_file_may_hold_in_short_is_gone_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = [str(number) for number in range(60)]
    whole = inspect_log(tmp_path / "logs", targets, [[each] for each in targets])
    log = rewritten(whole, tmp_path / "stopped.eval", _stopped)
    with zipfile.ZipFile(log) as files:
        sizes = {each.filename: each.file_size for each in files.infolist()}
    largest = max(size for name, size in sizes.items() if name != "summaries.json" and not name.startswith("_"))
    assert largest < sizes["summaries.json"]
    monkeypatch.setattr("specs.logs.run_log.MAX_FILE_BYTES", largest)
    wanted = Wanted({}, dict(enumerate(targets, start=1)), 1)
    earlier = earlier_attempt(log, "ab" * 32, wanted, tmp_path / "kept.eval")
    assert earlier.resumed.answers == len(targets) - 1
    own = {each.id: each for each in read_eval_log_sample_summaries(str(whole)) if each.id != BROKEN_OFF}
    assert {each.id: each for each in read_eval_log_sample_summaries(str(earlier.log))} == own
