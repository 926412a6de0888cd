"""The command line: ``moongate``, or ``python -m app``.

Commands that look at manifests exit with 0 where all is well, with 1 where the manifests have an error (``explain``:
where nobody would answer the request), and with 2 where the command itself is wrong.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError

from app.configfile import ConfigFileError
from app.effective import effective, reference_page, with_settings
from app.settings import Settings, complaint

if TYPE_CHECKING:
    from app.inspect.loaded import Loaded

cli = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def main() -> None:
    """The console script."""
    cli()


class Output(StrEnum):
    """How results are printed."""

    TEXT = "text"
    JSON = "json"


@cli.command()
@with_settings
def run(
    host: Annotated[str, typer.Option(help="Address to listen on; also MOONGATE_HOST.")] = "",
    manifests: Annotated[
        list[Path] | None, typer.Option("--manifests", "-m", help="Files and folders; also MOONGATE_MANIFESTS.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that share the listeners' ports.")] = 1,
) -> None:
    """Serve the manifests, or with MOONGATE_PROVIDER=kubernetes a cluster's objects: open every listener of every
    Gateway, until a signal ends it."""
    if host:
        os.environ["MOONGATE_HOST"] = host
    if manifests:
        os.environ["MOONGATE_MANIFESTS"] = os.pathsep.join(map(str, manifests))
    _settings()
    from app.serve import serve

    serve(workers=workers)


_Paths = Annotated[list[Path], typer.Argument(help="Files and folders with manifests.")]
_Output = Annotated[Output, typer.Option(help="How to print what was found.")]


@cli.command()
def validate(paths: _Paths, output: _Output = Output.TEXT) -> None:
    """Print every problem of the manifests, with file and line. Exits with 1 where there is an error."""
    from app.inspect.validate import print_problems

    loaded = _load(paths)
    sys.exit(print_problems(loaded.problems, as_json=output is Output.JSON))


@cli.command()
def translate(paths: _Paths, output: _Output = Output.TEXT) -> None:
    """Print what becomes of the manifests: the status of each object, and the routing table."""
    from app.inspect.printing import as_json, as_yaml, tell
    from app.inspect.translate import translated

    loaded = _load(paths)
    found = translated(loaded, _settings().controller_name)
    if output is Output.JSON:
        print(as_json(found))
    else:
        tell(loaded.problems)
        print(as_yaml({name: value for name, value in found.items() if name != "problems"}), end="")
    sys.exit(int(loaded.faulty))


@cli.command()
def status(paths: _Paths, output: _Output = Output.TEXT) -> None:
    """Print the status of each object, as documents that could be applied."""
    from app.inspect.printing import as_json, as_yaml, tell
    from app.inspect.status import documents, stored_statuses

    loaded = _load(paths)
    found = documents(loaded, stored_statuses(paths), _settings().controller_name, datetime.now(UTC))
    tell(loaded.problems)
    if output is Output.JSON:
        print(as_json(list(found)))
    else:
        print("---\n".join(as_yaml(document, flat=False) for document in found), end="")
    sys.exit(int(loaded.faulty))


@cli.command()
def routes(paths: _Paths, output: _Output = Output.TEXT) -> None:
    """Print what is served, a match a line, in the order in which matches are tried."""
    from app.inspect.printing import as_json, tell
    from app.inspect.routes import as_data, as_table, lines

    loaded = _load(paths)
    found = lines(loaded.table)
    tell(loaded.problems)
    print(as_json(as_data(found)) if output is Output.JSON else as_table(found))
    sys.exit(int(loaded.faulty))


@cli.command()
def explain(
    method: Annotated[str, typer.Argument(help="Such as GET.")],
    url: Annotated[str, typer.Argument(help="Such as http://example.com/path; the port is a listener's.")],
    manifests: Annotated[
        list[Path] | None, typer.Option("--manifests", "-m", help="Files and folders; also MOONGATE_MANIFESTS.")
    ] = None,
    header: Annotated[list[str] | None, typer.Option("--header", "-H", help="A field, as 'Name: value'.")] = None,
    output: _Output = Output.TEXT,
) -> None:
    """Print which rule takes a request and why, and what came close. Exits with 1 where nobody would answer it."""
    from app.inspect.explain import UsageError, as_data, as_text, nobody, outcomes, ports_for, read_request, served
    from app.inspect.printing import as_json, tell
    from app.listeners.places import as_set

    settings = _settings()
    try:
        request, protocol, number, host = read_request(method, url, header or [])
    except UsageError as error:
        typer.echo(f"moongate: {error}", err=True)
        raise typer.Exit(2) from None
    loaded = _load(manifests or list(settings.manifests))
    tell(loaded.problems)
    ports = ports_for(loaded.table, protocol, number, host, as_set(settings.ports))
    found = outcomes(request, ports, lambda rule: rule)
    if output is Output.JSON:
        print(as_json(as_data(found)))
    else:
        print(as_text(found) if found else nobody(loaded.table, protocol, number))
    sys.exit(int(not served(found)))


@cli.command()
@with_settings
def config(
    output: Annotated[Output, typer.Option(help="How to print it.")] = Output.TEXT,
    reference: Annotated[bool, typer.Option("--reference", help="Print the page of all settings instead.")] = False,
) -> None:
    """Print the settings that are in force and where each was said, secrets masked."""
    from app.inspect.printing import as_json, columns

    if reference:
        print(reference_page(), end="")
        return
    found = list(effective(_settings()))
    if output is Output.JSON:
        print(as_json({each.name: {"value": each.value, "origin": each.origin} for each in found}))
    else:
        print(columns([("SETTING", "VALUE", "SAID BY"), *((each.name, each.value, each.origin) for each in found)]))


@cli.command()
def healthcheck() -> None:
    """Ask the admin port whether the gateway serves. Exits with 1 where it does not."""
    from app.healthcheck import check

    fault = check(_settings().admin)
    print(fault or "OK")
    sys.exit(int(bool(fault)))


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


def _load(paths: Sequence[Path]) -> "Loaded":
    from app.extensions import installed
    from app.inspect.loaded import load

    return asyncio.run(load(paths, _settings().options(installed())))


def _settings() -> Settings:
    try:
        return Settings()
    except (ValidationError, ConfigFileError) as error:
        sentence = complaint(error) if isinstance(error, ValidationError) else str(error)
        typer.echo(f"moongate: {sentence}", err=True)
        raise typer.Exit(2) from None
