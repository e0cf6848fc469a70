"""A benchmark whose one task is put to the model word for word, and whose answers must be exact."""

ECHO_SPEC = """\
evaluation_framework: inspect-ai
tasks:
  - id: echo
    split: test
    field_spec: {input: question, target: answer}
    solvers: [{name: generate}]
    scorers: [{name: exact}]
"""
