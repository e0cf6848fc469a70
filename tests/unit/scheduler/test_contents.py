from __future__ import annotations

import hashlib

from scheduler.hub.answers import TreeFile
from scheduler.watch.contents import content_digest, dataset_digest

GOOD, OTHER, SMALL = "a" * 40, "b" * 40, "c" * 40


def _tree(*files: tuple[str, str]) -> list[TreeFile]:
    return [TreeFile(path, blob_id, 1) for blob_id, path in files]


def _digest(*files: tuple[str, str]) -> str:
    return content_digest(_tree(*files))


def _questions(*files: tuple[str, str], card: object = None) -> str:
    return dataset_digest(_tree(*files), card)


def test_it_is_of_names_and_contents_in_any_order() -> None:
    lines = f"{GOOD} model.safetensors\n{SMALL} config.json"
    assert _digest((SMALL, "config.json"), (GOOD, "model.safetensors")) == hashlib.sha256(lines.encode()).hexdigest()


def test_results_and_documentation_change_no_answer() -> None:
    files = ((SMALL, "config.json"), (GOOD, "model.safetensors"))
    more = ((OTHER, "README.md"), (OTHER, ".eval_results/x.yaml"), (OTHER, ".gitattributes"))
    assert _digest(*files, *more) == _digest(*files)


def test_of_a_dataset_each_file_may_hold_questions_but_its_readme() -> None:
    files = ((SMALL, "eval.yaml"), (GOOD, "test.jsonl"))
    assert _questions(*files, (OTHER, "README.md"), (OTHER, ".gitattributes")) == _questions(*files) == _digest(*files)
    names = (".eval_results/test.jsonl", "test.jsonl.md", "data/README.md", "data/.gitattributes")
    assert len({_questions(*files, (OTHER, name)) for name in names} | {_questions(*files)}) == len(names) + 1


def test_a_name_with_a_line_break_passes_for_no_other_file() -> None:
    measured = ((GOOD, "model.safetensors"), (SMALL, f"x\n{OTHER} model.safetensors"))
    swapped = ((GOOD, f"model.safetensors\n{SMALL} x"), (OTHER, "model.safetensors"))
    assert _digest(*measured) != _digest(*swapped)


def test_which_files_a_card_says_hold_the_questions_counts_and_its_other_words_do_not() -> None:
    files = ((GOOD, "hard.jsonl"), (SMALL, "easy.jsonl"))
    hard, easy = ({"configs": [{"data_files": name}]} for name in ("hard.jsonl", "easy.jsonl"))
    assert _questions(*files, card=hard) != _questions(*files, card=easy)
    assert _questions(*files, card=hard) != _questions(*files)
    assert _questions(*files, card={**hard, "license": "mit"}) == _questions(*files, card=hard)
    assert _questions(*files, card={"license": "mit"}) == _questions(*files, card=["no", "card"]) == _questions(*files)
