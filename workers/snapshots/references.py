"""Whether a model's files have an engine read what is not theirs: other weights, or files of this machine.

Known names of what vLLM follows are in specs/engines/redirects.py. Those of its libraries cannot all be known:
transformers (5.18) takes a tokenizer's `vocab` and `init_inputs` from tokenizer_config.json, and would read a file of
the worker's as words that the model then says; a processor has its `audio_tokenizer` loaded from where it likes. So
whatever names something that is there, outside of the snapshot, is refused. What is not there cannot be read either.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from specs.engines.redirects import entries, leads_elsewhere
from specs.text import clean
from workers.errors import ModelError

# Tokens and tensors by the thousand, which are no settings.
_NO_SETTINGS = frozenset(
    {"tokenizer.json", "vocab.json", "added_tokens.json", "tekken.json", "model.safetensors.index.json"}
)
# Where a model was trained or its tokenizer came from. Loading a file sets them anew, or does not look at them.
_NOT_FOLLOWED = frozenset({"_name_or_path", "name_or_path", "tokenizer_file", "special_tokens_map_file"})

_MAX_PATH_CHARS = 4096


def check_references(snapshot: Path, engine_folder: Path) -> None:
    """Look at every settings file of a model, before an engine that runs in `engine_folder` does.

    Raises:
        ModelError: one leads out of the snapshot.
        OSError: this machine cannot read it, which the model cannot help.
    """
    for file in sorted(each for each in snapshot.glob("*.json") if each.name not in _NO_SETTINGS):
        text = file.read_bytes()
        if file.name == "config.json" and (why := leads_elsewhere(text)) is not None:
            raise ModelError(why)
        try:
            settings = json.loads(text)
        except ValueError:
            # The engine says so, if it needs the file.
            continue
        except RecursionError as error:
            # The engine may come further.
            raise ModelError(f"{file.name} is nested too deeply to be read") from error
        for key, value in entries(settings):
            if isinstance(value, str) and key not in _NOT_FOLLOWED and _leads_out(value, snapshot, engine_folder):
                raise ModelError(
                    f"{file.name} names {clean(value, 200)} as {clean(key, 60)}, which is outside of the model's repo:"
                    " nothing else is read for it"
                )


def _leads_out(value: str, snapshot: Path, engine_folder: Path) -> bool:
    # Many models have `/` as a token, and the system has no longer paths.
    if os.sep not in value or value == os.sep or len(value) > _MAX_PATH_CHARS or "\0" in value:
        return False
    for base in (snapshot.absolute(), engine_folder.absolute()):
        # Not resolved: the files of a snapshot are links into the cache.
        path = Path(os.path.normpath(base / Path(value)))
        if not path.is_relative_to(snapshot.absolute()) and _is_readable(path):
            return True
    return False


def _is_readable(path: Path) -> bool:
    """Whether a library would find something: a file, or a folder with settings, and not just any that many have."""
    try:
        return any(path.glob("*.json")) if path.is_dir() else path.exists()
    except OSError:
        # A template of chats has parts that no name of a file may be as long as; or the worker may not look there.
        return False
