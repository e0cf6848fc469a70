"""The YAML at the head of a README, and the tags that a repo gets from it."""

from __future__ import annotations

import re
from typing import Any

from deploy.localhub.json_values import to_json_value
from specs import bounded_yaml
from specs.errors import YamlError

MAX_CARD_BYTES = 256 * 1024
_FRONT_MATTER = re.compile(rb"\A(?:\xef\xbb\xbf)?---[ \t]*\r?\n(.*?)(?:\r?\n)?^---[ \t]*\r?$", re.DOTALL | re.MULTILINE)

# Keys of the card whose values become tags with the key as a prefix; and those whose values are tags as they are.
_PREFIXED_TAGS = (
    "license",
    "task_categories",
    "task_ids",
    "size_categories",
    "annotations_creators",
    "multilinguality",
)
_PLAIN_TAGS = ("library_name", "pipeline_tag")


def parse_card(readme: bytes) -> dict[str, Any]:
    """The card's data as JSON values; empty where there is none or it cannot be read (the README is still there)."""
    match = _FRONT_MATTER.match(readme[:MAX_CARD_BYTES])
    if match is None:
        return {}
    try:
        data = bounded_yaml.load(match[1])
    except YamlError:
        return {}
    return {str(key): to_json_value(value) for key, value in data.items()} if isinstance(data, dict) else {}


def card_errors(readme: bytes) -> list[str]:
    """Why the card cannot be read; empty if it can, or if there is none."""
    match = _FRONT_MATTER.match(readme[:MAX_CARD_BYTES])
    if match is None:
        return []
    try:
        data = bounded_yaml.load(match[1])
    except YamlError as error:
        return [str(error)]
    return [] if data is None or isinstance(data, dict) else ["the metadata is not a mapping"]


def card_tags(card: dict[str, Any], *, language_prefix: str) -> list[str]:
    """The tags that follow from a card, in a fixed order and each once."""
    tags = [value for key in _PLAIN_TAGS for value in _texts(card.get(key))]
    tags += _texts(card.get("tags"))
    tags += [f"{language_prefix}{value}" for value in _texts(card.get("language"))]
    tags += [f"dataset:{value}" for value in _texts(card.get("datasets"))]
    tags += [f"base_model:{value}" for value in _texts(card.get("base_model"))]
    tags += [f"{key}:{value}" for key in _PREFIXED_TAGS for value in _texts(card.get(key))]
    return list(dict.fromkeys(tags))


def _texts(value: object) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [text for text in values if isinstance(text, str) and text]
