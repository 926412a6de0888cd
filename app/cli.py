"""The command line: ``moongate``, or ``python -m app``."""

import asyncio
import os
import sys
from enum import StrEnum
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from app.settings import Settings, complaint

cli = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def main() -> None:
    """The console script."""
    cli()


class Output(StrEnum):
    """How problems are printed."""

    TEXT = "text"
    JSON = "json"


@cli.command()
def run(
    host: Annotated[str, typer.Option(help="Address to listen on; also MOONGATE_HOST.")] = "",
    manifests: Annotated[
        list[Path] | None, typer.Option("--manifests", "-m", help="Files and folders; also MOONGATE_MANIFESTS.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that share the listeners' ports.")] = 1,
) -> None:
    """Serve the manifests: open every listener of every Gateway, until a signal ends it."""
    if host:
        os.environ["MOONGATE_HOST"] = host
    if manifests:
        os.environ["MOONGATE_MANIFESTS"] = os.pathsep.join(map(str, manifests))
    _settings()
    from app.serve import serve

    serve(workers=workers)


@cli.command()
def validate(
    paths: Annotated[list[Path], typer.Argument(help="Files and folders with manifests.")],
    output: Annotated[Output, typer.Option(help="How to print the problems.")] = Output.TEXT,
) -> None:
    """Print every problem of the manifests, with file and line. Exits with 1 where there is an error."""
    from app.extensions import installed
    from app.validate import find_problems, print_problems

    problems = asyncio.run(find_problems(paths, _settings().options(installed())))
    sys.exit(print_problems(problems, as_json=output is Output.JSON))


@cli.command()
def demo() -> None:
    """Serve the article's manifests with small backends on 127.0.0.1, and print what to try."""
    from app.demo.run import demonstrate

    demonstrate()


@cli.command()
def whoami(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8080,
    name: Annotated[str, typer.Option(help="A name to print in every answer.")] = "",
) -> None:
    """Run the little backend that answers with the request it got."""
    from app.whoami import serve

    serve(host, port, name)


@cli.command()
def version() -> None:
    """Print the version."""
    typer.echo(f"moongate {installed_version('moongate')}")


def _settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        typer.echo(f"moongate: {complaint(error)}", err=True)
        raise typer.Exit(2) from None
