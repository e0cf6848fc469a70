from __future__ import annotations

import re
import subprocess
import sys
import types
from typing import Any

import pytest
import typer
from typer.core import TyperArgument
from typer.testing import CliRunner

from deploy.cli.main import COMMANDS, Place, _load, app
from specs.errors import ReprofarmError

HEAVY = ("inspect_ai", "celery", "torch", "sqlalchemy", "huggingface_hub", "httpx2", "numpy")


def install(monkeypatch: pytest.MonkeyPatch, name: str, command: object) -> None:
    """Put a command into the table, in a module of its own."""
    module = types.ModuleType(f"commands_for_tests_{name}")
    module.__dict__["command"] = command
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(COMMANDS, name, Place(module.__name__, "command", "Do something."))


def raising(error: BaseException) -> object:
    def command() -> None:
        raise error

    return command


def test_help_lists_every_command_without_importing_any() -> None:
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from deploy.cli.main import app\n"
        "print(CliRunner().invoke(app, ['--help']).output)\n"
        f"print('loaded:', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "loaded: []" in output
    for name in COMMANDS:
        assert f" {name} " in output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_is_there_and_explains_itself(name: str) -> None:
    result = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert f"{name} " in result.output


def test_a_command_whose_extra_is_not_installed_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygit2", None)
    monkeypatch.delitem(sys.modules, "deploy.localhub.cli", raising=False)
    result = CliRunner().invoke(app, ["hub", "--help"])
    assert result.exit_code == 3
    assert "needs pygit2: install reprofarm with its extra `localhub`" in result.stderr.replace("\n", " ")


def commands_below(command: Any) -> list[Any]:
    """The command, or all that a group of them has."""
    below = getattr(command, "commands", None)
    return [command] if below is None else [each for one in below.values() for each in commands_below(one)]


@pytest.mark.parametrize("name", COMMANDS)
def test_arguments_are_named_in_capitals_as_in_the_docs(name: str) -> None:
    for command in commands_below(_load(name)):
        for argument in (each for each in command.params if isinstance(each, TyperArgument)):
            assert re.fullmatch(r"[A-Z_]+(\[/[A-Z]+\])?", argument.metavar or ""), (command.name, argument.name)


def test_an_error_is_one_clean_message_and_exit_code_3(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "fails", raising(ReprofarmError("the \x1b[31mpolicy is wrong\nlast line of a log\x07")))
    result = CliRunner().invoke(app, ["fails"])
    assert result.exit_code == 3
    assert result.stderr == "error: the policy is wrong\nlast line of a log\n"
    assert result.stdout == ""


def test_a_bug_is_not_taken_for_a_mismatch(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "crashes", raising(ZeroDivisionError("ours")))
    result = CliRunner().invoke(app, ["crashes"])
    assert result.exit_code == 3
    assert "ZeroDivisionError: ours" in result.stderr


def test_an_interrupt_has_the_shells_own_code(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "waits", raising(KeyboardInterrupt()))
    assert CliRunner().invoke(app, ["waits"]).exit_code == 130


def test_a_commands_own_exit_code_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "decides", raising(typer.Exit(1)))
    assert CliRunner().invoke(app, ["decides"]).exit_code == 1


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["show"], ["show", "abcdef", "--nonsense"], ["claims", "--limit", "x"]]
)
def test_a_wrong_command_line_is_not_taken_for_could_not_decide(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 3
    assert "Usage" in result.stderr


def test_a_typing_error_gets_a_suggestion() -> None:
    assert "'claims'" in CliRunner().invoke(app, ["clams"]).stderr


def test_a_group_of_commands_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    group = typer.Typer()

    @group.command()
    def one() -> None:
        typer.echo("first")

    @group.command()
    def two() -> None:
        raise ReprofarmError("second")

    install(monkeypatch, "several", group)
    assert CliRunner().invoke(app, ["several", "one"]).output == "first\n"
    assert CliRunner().invoke(app, ["several", "two"]).exit_code == 3


def test_the_version_is_that_of_the_package() -> None:
    assert CliRunner().invoke(app, ["--version"]).output.strip().count(".") == 2


def test_the_console_script_runs_the_app() -> None:
    code = "from deploy.cli.main import main; main()"
    result = subprocess.run([sys.executable, "-c", code, "--version"], capture_output=True, check=True)
    assert result.stdout.strip()
