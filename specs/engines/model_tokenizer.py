"""The tokenizer of a model: which files an engine reads it from, if the model brings no code that it would run."""

from __future__ import annotations

import re

# Those that transformers' own classes read, and Mistral's. `tiktoken.model` is not among them: only a repo's code says
# how text is split before it is looked up there.
_TOKENIZER_FILE = re.compile(
    r"(?:tokenizer|vocab|tekken)\.json|vocab\.txt|[^/]*\.tiktoken|(?:tokenizer|spiece|sentencepiece\.bpe)\.model"
)


def is_tokenizer_file(path: str) -> bool:
    """Whether a file of a model repo is fetched as what its tokenizer is made of."""
    return _TOKENIZER_FILE.fullmatch(path) is not None
