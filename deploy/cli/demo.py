"""`reprofarm demo`: the whole way, on this machine, with everything real."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Any

import typer

from deploy.cli.terminal import console

DIFFERENT = 1
"""Exit code where something did not end as expected."""


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything up until Ctrl-C.")] = False,
    var: Annotated[Path, typer.Option(help="Folder for what the demo makes.")] = Path("var/demo"),
    model: Annotated[Path, typer.Option(help="Folder of the model; made there, if it is not yet.")] = Path(
        "var/models/SmolLM2-135M-Instruct"
    ),
    deadline_minutes: Annotated[float, typer.Option(min=0.1, help="For the claims to end.")] = 20.0,
) -> None:
    """Run the whole process: a local Hub, submitted results, real vLLM, verdicts, and badges that anybody can check.

    Exit codes: 0 all ended as expected, 1 something did not, 3 error.
    """
    out = console()
    out.print("demo: seven results are submitted to a local Hub; a farm re-runs, judges, signs and publishes them")
    # Only now: this takes longer than somebody who waits for a first word would like.
    parts: Any = importlib.import_module("deploy.demo.run")
    importlib.import_module("deploy.cli.up").stop_like_ctrl_c()
    if not parts.run_demo(out, parts.Options(var, model, keep, deadline_minutes * 60)):
        raise typer.Exit(DIFFERENT)
