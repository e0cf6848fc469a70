"""JSON Schemas of the public models, in `specs/schemas`: `python -m specs.schema_export` writes them anew."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel

from specs.attestation import Attestation
from specs.hub.eval_yaml_model import EvalYaml
from specs.hub.result_item import EvalResults
from specs.judging.verdict import Verdict
from specs.policy.rules import Policy

FOLDER = Path(__file__).parent / "schemas"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def public_models() -> dict[str, type[BaseModel]]:
    """What others may rely on, by the name of its schema file."""
    return {
        "attestation": Attestation,
        "eval_results": EvalResults,
        "eval_yaml": EvalYaml,
        "policy": Policy,
        "verdict": Verdict,
    }


def schema_texts() -> dict[str, str]:
    """The content of every schema file, by file name."""
    return {
        f"{name}.json": json.dumps({"$schema": DIALECT, **model.model_json_schema()}, indent=2) + "\n"
        for name, model in public_models().items()
    }


def write_schemas(folder: Path = FOLDER) -> None:
    """Write all schema files and remove those of models that are no longer public."""
    folder.mkdir(exist_ok=True)
    texts = schema_texts()
    for stale in folder.glob("*.json"):
        if stale.name not in texts:
            stale.unlink()
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_schemas()
