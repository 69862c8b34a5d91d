"""The command line as a whole: which commands there are, and how errors reach the user."""

import sys

import typer

from rsctir_hf.cli.data import convert, leakage
from rsctir_hf.cli.evaluation import evaluate
from rsctir_hf.cli.gallery import caption, index, search
from rsctir_hf.cli.hub import card, push
from rsctir_hf.cli.models import export, import_clip
from rsctir_hf.cli.space import deploy_space
from rsctir_hf.errors import RsctirError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Find remote-sensing pictures by words, and words for pictures.",
)
for command in (
    evaluate,
    index,
    search,
    caption,
    convert,
    leakage,
    card,
    push,
    deploy_space,
    import_clip,
    export,
):
    app.command()(command)


def main() -> None:
    """Run the command line; an error that was foreseen becomes one line and exit code 2."""
    try:
        app()
    except (RsctirError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
