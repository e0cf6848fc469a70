"""Fills a fresh local Hub with the demo's benchmarks, models and claims."""

from __future__ import annotations

from pathlib import Path

from deploy.demo.benchmarks import OWNER, write_benchmarks
from deploy.demo.claims import demo_claims
from deploy.demo.models import write_models
from deploy.localhub.commits import CommitText
from deploy.localhub.folders import add_folder
from deploy.localhub.hub import LocalHub
from deploy.localhub.names import dataset, model

FARM_USER = "reprofarm"
"""The farm's own account on the Hub, which opens the pull requests with badges."""


def fill_hub(hub_folder: Path, real_model: Path, scratch: Path) -> str:
    """Put everything on the Hub in `hub_folder`; returns the access token of the farm's user.

    `scratch` is an empty folder for repos on their way into the Hub.
    """
    hub = LocalHub(hub_folder)
    try:
        for dataset_id, folder in write_benchmarks(scratch / "datasets").items():
            add_folder(hub, dataset(dataset_id), folder, OWNER)
            hub.mark_benchmark(dataset(dataset_id))
        for model_id, folder in write_models(real_model, scratch / "models").items():
            add_folder(hub, model(model_id), folder, OWNER)
        for claim in demo_claims():
            text = CommitText(f"Add {claim.path}", claim.author)
            hub.commit(model(claim.model), {claim.path: claim.text.encode()}, text, create_pr=claim.as_pull_request)
        return hub.add_token(FARM_USER)
    finally:
        hub.close()
