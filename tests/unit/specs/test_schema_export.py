from __future__ import annotations

import json
from pathlib import Path

from pydantic import TypeAdapter

from specs.bounded_yaml import load
from specs.hub.eval_yaml import SpecStatus, parse
from specs.hub.eval_yaml_model import EvalYaml
from specs.schema_export import FOLDER, public_models, schema_texts, write_schemas


def test_the_committed_schemas_are_those_of_the_models() -> None:
    committed = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert committed == schema_texts(), "run `make schemas`"


def test_writing_removes_schemas_of_models_that_are_gone(tmp_path: Path) -> None:
    (tmp_path / "gone.json").write_text("{}")
    write_schemas(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.json" for name in public_models()}
    for path in tmp_path.iterdir():
        assert json.loads(path.read_text(encoding="utf-8"))["$schema"].startswith("https://json-schema.org/")


def test_the_model_of_eval_yaml_and_its_reader_agree_on_real_files(shared_data: Path) -> None:
    model = TypeAdapter(EvalYaml)
    for path in sorted((shared_data / "eval_yaml").iterdir()):
        text = path.read_bytes()
        spec = parse(text)
        if spec.status is SpecStatus.INVALID or not spec.description:
            continue
        read = load(text)
        if isinstance(read, dict) and "evaluation_framework" in read:
            model.validate_python(read)
