from __future__ import annotations

import hashlib

from scheduler.hub.answers import TreeFile
from scheduler.watch.contents import content_digest

GOOD, OTHER, SMALL = "a" * 40, "b" * 40, "c" * 40


def _digest(*files: tuple[str, str], card: object = None) -> str:
    return content_digest([TreeFile(path, blob_id, 1) for blob_id, path in files], card)


def test_it_is_of_names_and_contents_in_any_order() -> None:
    lines = f"{GOOD} model.safetensors\n{SMALL} config.json"
    assert _digest((SMALL, "config.json"), (GOOD, "model.safetensors")) == hashlib.sha256(lines.encode()).hexdigest()


def test_results_and_documentation_change_no_answer() -> None:
    files = ((SMALL, "config.json"), (GOOD, "model.safetensors"))
    more = ((OTHER, "README.md"), (OTHER, ".eval_results/x.yaml"), (OTHER, ".gitattributes"))
    assert _digest(*files, *more) == _digest(*files)


def test_a_name_with_a_line_break_passes_for_no_other_file() -> None:
    measured = ((GOOD, "model.safetensors"), (SMALL, f"x\n{OTHER} model.safetensors"))
    swapped = ((GOOD, f"model.safetensors\n{SMALL} x"), (OTHER, "model.safetensors"))
    assert _digest(*measured) != _digest(*swapped)


def test_which_files_a_card_says_hold_the_questions_counts_and_its_other_words_do_not() -> None:
    files = ((GOOD, "hard.jsonl"), (SMALL, "easy.jsonl"))
    hard, easy = ({"configs": [{"data_files": name}]} for name in ("hard.jsonl", "easy.jsonl"))
    assert _digest(*files, card=hard) != _digest(*files, card=easy)
    assert _digest(*files, card=hard) != _digest(*files)
    assert _digest(*files, card={**hard, "license": "mit"}) == _digest(*files, card=hard)
    assert _digest(*files, card={"license": "mit"}) == _digest(*files, card=["no", "card"]) == _digest(*files)
