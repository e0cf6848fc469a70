"""A run of `hf/OWNER/NAME@REV` by Inspect alone: `python inspect_run.py SPEC MODEL BASE_URL LOGS`, greedy, one by one.

Prints the scores of the samples as a JSON object, by id. The engine's key is in VLLM_API_KEY, the Hub in HF_ENDPOINT.
"""

from __future__ import annotations

import json
import sys

import inspect_ai
from inspect_ai.model import GenerateConfigArgs

SETTINGS: GenerateConfigArgs = {"temperature": 0.0, "top_p": 1.0, "max_tokens": 24, "seed": 5, "max_connections": 1}


def main(spec: str, model: str, base_url: str, logs: str) -> None:
    """Run it and print the scores."""
    (log,) = inspect_ai.eval(
        spec, model=f"vllm/{model}", model_base_url=base_url, display="none", log_dir=logs, **SETTINGS
    )
    scores = {sample.id: next(iter((sample.scores or {}).values())).value for sample in log.samples or []}
    sys.stdout.write("\n" + json.dumps({"status": log.status, "scores": scores}))


if __name__ == "__main__":
    main(*sys.argv[1:])
