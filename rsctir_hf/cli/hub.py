"""``rsctir card`` and ``push``: a model folder on its way to the Hub."""

from pathlib import Path
from typing import Annotated

import typer

from rsctir_hf.cli.options import Private
from rsctir_hf.cli.sources import split_pair
from rsctir_hf.hub.card import write_card
from rsctir_hf.hub.push import push_model


def card(
    model: Annotated[Path, typer.Option("--model", help="Model folder with results.json.")],
    results: Annotated[
        list[Path] | None,
        typer.Option(help="A further results file, such as evaluate --json wrote; repeatable."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name in the card, OWNER/NAME. Default: the folder's."),
    ] = None,
    template: Annotated[
        Path | None, typer.Option(help="Default: model_cards/FAMILY.md of the repository.")
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(help="BENCHMARK=OWNER/NAME: where a data set lies on the Hub; repeatable."),
    ] = None,
) -> None:
    """Write a model folder's README.md, LICENSE and .eval_results from its results files."""
    hub_ids = dict(split_pair(each) for each in dataset or ())
    print(
        write_card(model, results=results or (), model_id=name, template=template, hub_ids=hub_ids)
    )


def push(
    model: Annotated[Path, typer.Option("--model", help="Model folder.")],
    repo: Annotated[str, typer.Option(help="OWNER/NAME on the Hub.")],
    private: Private = False,
    revision: Annotated[str | None, typer.Option(help="Branch to commit to.")] = None,
) -> None:
    """Upload a model folder to the Hugging Face Hub, as it stands."""
    print(push_model(model, repo, private=private, revision=revision))
