"""What the Hub says about a repo: the JSON of model and dataset info, whole or the properties asked for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from deploy.localhub.cards import card_tags
from deploy.localhub.content import Entry, Snapshot
from deploy.localhub.errors import BadRequestError
from deploy.localhub.json_values import hub_time, to_json_value
from deploy.localhub.leaderboard import model_results
from deploy.localhub.names import RepoType
from deploy.localhub.registry import RepoSettings
from deploy.localhub.safetensors_header import parameter_counts
from deploy.localhub.storage import Storage, card_of

MAX_CONFIG_BYTES = 1024 * 1024
MAX_SIBLINGS = 100_000
"""Files that info lists; more are left out, and nothing says so. The tree has them all. As huggingface.co."""

_CONFIG_KEYS = ("architectures", "model_type", "quantization_config", "auto_map")


@dataclass(frozen=True)
class RepoView:
    """A repo at a commit, with what is known of it."""

    storage: Storage
    settings: RepoSettings
    snapshot: Snapshot

    @property
    def is_model(self) -> bool:
        """Whether it is a model; otherwise it is a dataset."""
        return self.settings.name.type is RepoType.MODEL

    @property
    def card(self) -> dict[str, Any]:
        """The README's metadata."""
        return card_of(self.snapshot)

    @property
    def tags(self) -> list[str]:
        """The tags that lists are filtered by."""
        tags = card_tags(self.card, language_prefix="" if self.is_model else "language:")
        if self.settings.is_benchmark:
            tags.append("benchmark:official")
        if self.is_model and any(entry.path.endswith(".safetensors") for entry in self.snapshot.files):
            tags.append("safetensors")
        return list(dict.fromkeys(tags))


def sibling(entry: Entry, *, with_metadata: bool) -> dict[str, Any]:
    """A file as info lists it."""
    found: dict[str, Any] = {"rfilename": entry.path}
    if with_metadata:
        found |= {"size": entry.size, "blobId": entry.oid}
        if entry.large:
            pointer_size = len(entry.large.pointer())
            found["lfs"] = {"sha256": entry.large.sha256, "size": entry.large.size, "pointerSize": pointer_size}
    return found


def _siblings(view: RepoView, *, with_metadata: bool) -> list[dict[str, Any]]:
    return [sibling(entry, with_metadata=with_metadata) for entry in view.snapshot.files[:MAX_SIBLINGS]]


def _config(view: RepoView) -> dict[str, Any] | None:
    entry = view.snapshot.find_file("config.json")
    if entry is None or entry.size > MAX_CONFIG_BYTES:
        return None
    try:
        config = to_json_value(json.loads(view.snapshot.read("config.json")))
    except (ValueError, RecursionError):
        return None
    return {key: config[key] for key in _CONFIG_KEYS if key in config} if isinstance(config, dict) else None


def _safetensors(view: RepoView) -> dict[str, Any] | None:
    counts = parameter_counts(view.snapshot)
    return {"parameters": counts, "total": sum(counts.values())} if counts else None


def _base_models(view: RepoView) -> list[str]:
    declared = view.card.get("base_model")
    return [name for name in (declared if isinstance(declared, list) else [declared]) if isinstance(name, str)]


_COMMON: dict[str, Callable[[RepoView], Any]] = {
    "author": lambda view: view.settings.name.namespace,
    "cardData": lambda view: view.card,
    "createdAt": lambda view: hub_time(view.settings.created_at),
    "gated": lambda view: view.settings.gated or False,
    "lastModified": lambda view: hub_time(view.snapshot.committed_at),
    "private": lambda view: view.settings.private,
    "sha": lambda view: view.snapshot.commit,
    "siblings": lambda view: _siblings(view, with_metadata=False),
    "tags": lambda view: view.tags,
    "usedStorage": lambda view: sum(entry.size for entry in view.snapshot.files),
}
_OF_MODELS: dict[str, Callable[[RepoView], Any]] = _COMMON | {
    "baseModels": _base_models,
    "config": _config,
    "evalResults": lambda view: model_results(view.storage, view.settings.name),
    "library_name": lambda view: view.card.get("library_name"),
    "model-index": lambda view: view.card.get("model-index"),
    "pipeline_tag": lambda view: view.card.get("pipeline_tag"),
    "safetensors": _safetensors,
}
_OF_DATASETS: dict[str, Callable[[RepoView], Any]] = _COMMON | {
    "mainSize": lambda view: sum(entry.size for entry in view.snapshot.files),
    "paperswithcode_id": lambda view: view.card.get("paperswithcode_id"),
}
# What a local Hub does not keep, as a repo without any of it would show. None is left out of the answer.
_SAME_FOR_ALL: dict[str, Any] = {
    "childrenModelCount": 0,
    "citation": None,
    "description": None,
    "disabled": False,
    "downloads": 0,
    "downloadsAllTime": 0,
    "gguf": None,
    "inference": None,
    "inferenceProviderMapping": [],
    "likes": 0,
    "mask_token": None,
    "resourceGroup": None,
    "spaces": [],
    "transformersInfo": None,
    "trendingScore": 0,
    "widgetData": None,
}
# What comes without asking; the rest costs more or is rarely wanted.
_USUAL = (
    "author", "sha", "lastModified", "createdAt", "private", "gated", "disabled", "downloads", "likes", "tags",
    "cardData", "siblings", "usedStorage",
)  # fmt: skip
_USUAL_OF_MODELS = (*_USUAL, "library_name", "pipeline_tag", "config", "safetensors", "spaces")
_USUAL_IN_LISTS = ("author", "createdAt", "private", "gated", "downloads", "likes", "tags", "sha", "lastModified")


def properties_of(view: RepoView, wanted: Iterable[str]) -> dict[str, Any]:
    """The id and the properties asked for by name; those that have no value are left out.

    Raises:
        BadRequestError: there is no property of that name.
    """
    known = _OF_MODELS if view.is_model else _OF_DATASETS
    repo = view.settings.name
    answer: dict[str, Any] = {"_id": hashlib.sha256(f"{repo.type}/{repo.id}".encode()).hexdigest()[:24], "id": repo.id}
    if view.is_model:
        answer["modelId"] = repo.id
    for name in wanted:
        if name in known:
            value = known[name](view)
        elif name in _SAME_FOR_ALL:
            value = _SAME_FOR_ALL[name]
        else:
            names = ", ".join(sorted({*known, *_SAME_FOR_ALL}))
            raise BadRequestError(f"Unknown property to expand: {name[:60]!r}; there are {names}")
        if value is not None:
            answer[name] = value
    return answer


def full_info(view: RepoView, *, files_metadata: bool) -> dict[str, Any]:
    """Everything usual about one repo."""
    answer = properties_of(view, _USUAL_OF_MODELS if view.is_model else _USUAL)
    if files_metadata:
        answer["siblings"] = _siblings(view, with_metadata=True)
    return answer


def list_item(view: RepoView, *, full: bool) -> dict[str, Any]:
    """A repo as lists show it."""
    return properties_of(view, (*_USUAL_IN_LISTS, "cardData", "siblings") if full else _USUAL_IN_LISTS)
