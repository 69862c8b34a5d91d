"""The command line as a whole: which commands there are, and how errors reach the user."""

import io
import os
import signal
import sys
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand

from rsctir_cli.analyst import Collection, Facets
from rsctir_cli.commands import (
    AuditCaptions,
    Caption,
    Card,
    Convert,
    DeploySpace,
    Embed,
    Evaluate,
    Export,
    ImportClip,
    Index,
    Leakage,
    Push,
    Scene,
    Search,
    WithQuery,
)
from rsctir_cli.labels import FitLabels
from rsctir_cli.weighed import WeighedCommand

#: Options that name a place by a text, as it need not be a path.
PLACES = {"adapter", "data", "engine", "images", "model", "place", "regions", "tokenizer"}
PLACES |= {"also", "bad", "good"}
#: Every command with its code: a module of ``rsctir_hf.cli``, and the function of its own name.
COMMANDS = {
    Evaluate: ("evaluate", "evaluate"),
    Embed: ("embed", "embed"),
    Index: ("index", "index"),
    Search: ("search", "search"),
    Facets: ("facets", "facets"),
    Collection: ("collection", "collection"),
    Caption: ("search", "caption"),
    FitLabels: ("labels", "fit_labels"),
    Scene: ("scene", "scene"),
    Convert: ("data", "convert"),
    Leakage: ("data", "leakage"),
    AuditCaptions: ("audit", "audit_captions"),
    Card: ("hub", "card"),
    Push: ("hub", "push"),
    DeploySpace: ("hub", "deploy_space"),
    ImportClip: ("models", "import_clip"),
    Export: ("models", "export"),
}


def load(module: str) -> ModuleType:
    """Import a module of the package no sooner than it is needed: torch comes along."""
    return import_module(f"rsctir_hf.{module}")


def run(command: Any) -> None:  # noqa: ANN401 - one of the records
    """Load the code of a command and call it."""
    if not sys.stderr.isatty():
        for library in ("HF_HUB", "HF_DATASETS"):  # read when they are loaded
            os.environ.setdefault(f"{library}_DISABLE_PROGRESS_BARS", "1")
    load("allocation").keep_freed_memory()
    load("cli.output").quiet_libraries()
    module, function = COMMANDS[type(command)]
    getattr(load(f"cli.{module}"), function)(with_homes(command))
    sys.stdout.flush()  # where nobody reads any more, it shows here and ends quietly


def with_homes(command: Any) -> Any:  # noqa: ANN401 - one of the records
    """Write out ``~`` and environment variables in paths, where no shell has done so."""
    given = {each.name: getattr(command, each.name) for each in fields(command)}
    expanded = {name: _expanded(value, named=name in PLACES) for name, value in given.items()}
    return replace(command, **expanded)


def _expanded(value: Any, *, named: bool) -> Any:  # noqa: ANN401 - any option's value
    if isinstance(value, list):
        return [_expanded(each, named=named) for each in value]
    if not isinstance(value, Path) and not (named and isinstance(value, str)):
        return value
    if os.path.exists(value):
        return value
    return type(value)(os.path.expandvars(os.path.expanduser(value)))


app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    result_callback=run,
    help="Find remote-sensing pictures by words, and words for pictures.",
)
for record, (_, name) in COMMANDS.items():
    kind = WeighedCommand if issubclass(record, WithQuery) else TyperCommand
    app.command(name.replace("_", "-"), cls=kind)(record)


class _EndedError(BaseException):
    """SIGTERM came. No Exception, so that nothing on the way takes it for an error of its own."""


def _end(number: int, frame: object) -> NoReturn:
    raise _EndedError


def main() -> None:
    """Run the command line.

    An error that was foreseen becomes one line and exit code 2. SIGTERM ends a command as Ctrl-C
    does: unfinished files and locks are cleared away.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files need not be text
        sys.stdout.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, _end)
    try:
        app()
    except _EndedError:
        print("stopped by SIGTERM; what was written before is whole", file=sys.stderr)
        sys.exit(128 + signal.SIGTERM)
    except Exception as error:
        if not isinstance(error, (OSError, load("errors").RsctirError)):
            raise
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
