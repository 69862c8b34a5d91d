"""The command line as a whole: which commands there are, and how errors reach the user."""

import io
import signal
import sys
from importlib import import_module
from types import ModuleType
from typing import NoReturn

import typer

from rsctir_cli.commands import (
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
)

#: Every command with its code: a module of ``rsctir_hf.cli``, and the function of its own name.
COMMANDS = {
    Evaluate: ("evaluate", "evaluate"),
    Embed: ("embed", "embed"),
    Index: ("index", "index"),
    Search: ("search", "search"),
    Caption: ("search", "caption"),
    Scene: ("scene", "scene"),
    Convert: ("data", "convert"),
    Leakage: ("data", "leakage"),
    Card: ("hub", "card"),
    Push: ("hub", "push"),
    DeploySpace: ("hub", "deploy_space"),
    ImportClip: ("models", "import_clip"),
    Export: ("models", "export"),
}


def load(module: str) -> ModuleType:
    """Import a module of the package no sooner than it is needed: torch comes along."""
    return import_module(f"rsctir_hf.{module}")


def run(command: object) -> None:
    """Load the code of a command and call it."""
    load("allocation").keep_freed_memory()
    module, function = COMMANDS[type(command)]
    getattr(load(f"cli.{module}"), function)(command)


app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    result_callback=run,
    help="Find remote-sensing pictures by words, and words for pictures.",
)
for record, (_, name) in COMMANDS.items():
    app.command(name.replace("_", "-"))(record)


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
