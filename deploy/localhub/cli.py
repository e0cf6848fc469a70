"""`reprofarm hub`: a Hub in a folder, from the command line."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import pygit2
import typer

from deploy.cli.terminal import ERROR
from deploy.localhub import folders, server
from deploy.localhub.errors import HubError
from deploy.localhub.hub import CommitResult, LocalHub
from deploy.localhub.names import check_user, dataset, model
from deploy.localhub.oauth.members import OrgRole
from deploy.localhub.tokens import Role
from deploy.localhub.webhooks import Webhook

SPEC = "eval.yaml"

app = typer.Typer(name="hub", help="A Hub in a folder, for sites without huggingface.co.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The Hub's folder; made if it is not there.")]
ModelId = Annotated[str, typer.Argument(metavar="MODEL", help="OWNER/NAME.")]
DatasetId = Annotated[str, typer.Argument(metavar="DATASET", help="OWNER/NAME.")]
Source = Annotated[Path, typer.Argument(metavar="PATH", help="A folder with the repo's files.")]
Author = Annotated[str | None, typer.Option(help="Who does it; the repo's namespace if not given.")]


@contextmanager
def _opened(folder: Path) -> Iterator[LocalHub]:
    """The Hub of a folder; what it refuses becomes one line and the exit code of errors."""
    try:
        hub = LocalHub(folder)
        try:
            yield hub
        finally:
            hub.close()
    except (HubError, pygit2.GitError, OSError) as error:
        typer.echo(f"reprofarm hub: {error}", err=True)
        raise typer.Exit(ERROR) from error


def _tell(what: str, result: CommitResult) -> None:
    place = f"pull request {result.pull_request}, " if result.pull_request else ""
    typer.echo(f"{what}: {place}commit {result.oid}")


@app.command()
def serve(
    folder: Folder,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = server.DEFAULT_HOST,
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = server.DEFAULT_PORT,
) -> None:
    """Serve the folder over HTTP until interrupted."""
    try:
        server.serve(folder, host, port)
    except OSError as error:
        typer.echo(f"reprofarm hub: cannot listen on {host}:{port}: {error.strerror}", err=True)
        raise typer.Exit(ERROR) from error


@app.command()
def add_model(folder: Folder, model_id: ModelId, path: Source, author: Author = None) -> None:
    """Add or update a model from a folder."""
    with _opened(folder) as hub:
        repo = model(model_id)
        _tell(model_id, folders.add_folder(hub, repo, path, check_user(author or repo.namespace)))


@app.command()
def add_benchmark(
    folder: Folder,
    dataset_id: DatasetId,
    path: Source,
    gated: Annotated[
        bool | None,
        typer.Option("--gated/--no-gated", help="Files only for those who were granted access, or for all."),
    ] = None,
    official: Annotated[
        bool | None,
        typer.Option(
            "--official/--no-official", help="Mark it as an official benchmark, with a leaderboard, or as none."
        ),
    ] = None,
    author: Author = None,
) -> None:
    """Add or update a benchmark from a folder with README, eval.yaml and data.

    A new one is open to all and official, unless said otherwise; one that is there stays as it is.
    """
    with _opened(folder) as hub:
        repo = dataset(dataset_id)
        user = check_user(author or repo.namespace)
        _tell(dataset_id, folders.add_benchmark(hub, repo, path, user, gated=gated, official=official))
        if not (path / SPEC).is_file():
            typer.echo(f"{path} has no {SPEC}: no farm evaluates anything on it", err=True)


@app.command()
def submit_result(  # noqa: PLR0913, PLR0917 - one parameter for each option of the command
    folder: Folder,
    model_id: ModelId,
    dataset_id: Annotated[str | None, typer.Option("--dataset", help="The benchmark.")] = None,
    task: Annotated[str | None, typer.Option(help="The benchmark's task.")] = None,
    value: Annotated[float | None, typer.Option(help="The score, as a fraction or in percent.")] = None,
    notes: Annotated[str | None, typer.Option(help="Remarks on how it was run.")] = None,
    source_url: Annotated[str | None, typer.Option(help="Where the score comes from.")] = None,
    file: Annotated[Path | None, typer.Option(help="Submit this file as it is instead.")] = None,
    filename: Annotated[str | None, typer.Option(help="Name under .eval_results.")] = None,
    pull_request: Annotated[bool, typer.Option("--pr", help="As a pull request, not on main.")] = False,
    author: Author = None,
) -> None:
    """Submit a result of a model: one entry, or a file as it is, even a malformed one."""
    with _opened(folder) as hub:
        repo = model(model_id)
        submission = folders.Submission(repo, check_user(author or repo.namespace), filename, pull_request)
        if file is not None:
            result = folders.submit_file(hub, submission, file)
        elif dataset_id is None or task is None or value is None:
            raise typer.BadParameter("give --dataset, --task and --value, or --file")
        else:
            entry = folders.result_entry(dataset_id, task, value, notes=notes, source_url=source_url)
            result = folders.submit_entry(hub, submission, entry)
        _tell(model_id, result)


@app.command()
def add_token(
    folder: Folder,
    user: Annotated[str, typer.Argument(metavar="USER", help="Whose token it is.")],
    role: Annotated[Role, typer.Option(help="What it may do.")] = "write",
    org: Annotated[list[str] | None, typer.Option(help="An organisation that the user is in; may be repeated.")] = None,
) -> None:
    """Make an access token and print it. It is not stored and cannot be shown again."""
    with _opened(folder) as hub:
        typer.echo(hub.add_token(user, role, tuple(org or ())))


@app.command()
def add_member(
    folder: Folder,
    org: Annotated[str, typer.Argument(metavar="ORG", help="The organisation.")],
    user: Annotated[str, typer.Argument(metavar="USER", help="The user.")],
    role: Annotated[OrgRole, typer.Option(help="Their role.")] = "read",
) -> None:
    """Add a user to an organisation, or change their role, as applications see it when the user signs in."""
    with _opened(folder) as hub:
        hub.storage.members.put(org, user, role)
        typer.echo(f"{user} is in {org} as {role}")


@app.command()
def add_oauth_app(
    folder: Folder,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name that users see.")],
    redirect_uri: Annotated[
        list[str], typer.Argument(metavar="URL", help="Where they are sent back to: FARM/auth/callback.")
    ],
) -> None:
    """Let users sign in to an application with their account here. Prints its id and, only this once, its secret."""
    with _opened(folder) as hub:
        registered = hub.storage.applications.add(name, tuple(redirect_uri))
        typer.echo(f"REPROFARM_HUB_OAUTH_CLIENT_ID={registered.client_id}")
        typer.echo(f"REPROFARM_HUB_OAUTH_CLIENT_SECRET={registered.secret}")


@app.command()
def grant(
    folder: Folder, dataset_id: DatasetId, user: Annotated[str, typer.Argument(metavar="USER", help="The user.")]
) -> None:
    """Let a user read the files of a gated dataset."""
    with _opened(folder) as hub:
        hub.grant(dataset(dataset_id), check_user(user))
        typer.echo(f"{user} may read {dataset_id}")


@app.command()
def trust_keys(
    folder: Folder, jwks: Annotated[Path, typer.Argument(metavar="JWKS", help="A file with a JWK set of public keys.")]
) -> None:
    """Mark results as verified if these keys signed them, and no others."""
    with _opened(folder) as hub:
        try:
            keys = json.loads(jwks.read_bytes())
        except ValueError as error:
            raise HubError(f"{jwks} is not JSON: {error}") from error
        hub.trust_keys(keys)
        typer.echo(f"{len(keys['keys'])} keys are trusted")


@app.command()
def add_webhook(
    folder: Folder,
    url: Annotated[str, typer.Argument(metavar="URL", help="Where to send events.")],
    secret: Annotated[str | None, typer.Option(help="Sent as X-Webhook-Secret; made up if not given.")] = None,
) -> None:
    """Send all events of the Hub to a URL, and print the secret sent with them."""
    with _opened(folder) as hub:
        webhook = Webhook(id=secrets.token_hex(8), url=url, secret=secret or secrets.token_urlsafe(24))
        hub.add_webhook(webhook)
        typer.echo(webhook.secret)
