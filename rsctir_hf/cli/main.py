"""The command line as a whole: which commands there are, and how errors reach the user."""

import io
import signal
import sys
from typing import NoReturn

import typer

from rsctir_hf.allocation import keep_freed_memory
from rsctir_hf.cli.data import convert, leakage
from rsctir_hf.cli.deploy_space import deploy_space
from rsctir_hf.cli.embed import embed
from rsctir_hf.cli.evaluate import evaluate
from rsctir_hf.cli.gallery import caption, index, search
from rsctir_hf.cli.hub import card, push
from rsctir_hf.cli.models import export, import_clip
from rsctir_hf.cli.scene import scene
from rsctir_hf.errors import RsctirError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Find remote-sensing pictures by words, and words for pictures.",
)
for command in (
    evaluate,
    embed,
    index,
    search,
    caption,
    scene,
    convert,
    leakage,
    card,
    push,
    deploy_space,
    import_clip,
    export,
):
    app.command()(command)


class _EndedError(BaseException):
    """SIGTERM came. No Exception, so that nothing on the way takes it for an error of its own."""


def _end(number: int, frame: object) -> NoReturn:
    raise _EndedError


def main() -> None:
    """Run the command line.

    An error that was foreseen becomes one line and exit code 2. SIGTERM ends a command as Ctrl-C
    does: unfinished files and locks are cleared away.
    """
    keep_freed_memory()
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files need not be text
        sys.stdout.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, _end)
    try:
        app()
    except _EndedError:
        print("stopped by SIGTERM; what was written before is whole", file=sys.stderr)
        sys.exit(128 + signal.SIGTERM)
    except (RsctirError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
