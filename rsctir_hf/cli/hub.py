"""``rsctir card``, ``push`` and ``deploy-space``: a model folder and the demo, to the Hub."""

import tempfile
from pathlib import Path

from rsctir_cli.commands import Card, DeploySpace, Push
from rsctir_hf.cli.output import print_result
from rsctir_hf.cli.sources import owners_words
from rsctir_hf.hub import space
from rsctir_hf.hub.card import write_card
from rsctir_hf.hub.push import push_model
from rsctir_hf.search.written_filters import split_pair

_MEGABYTE = 1e6


def card(asked: Card) -> None:
    """Write a model folder's card, and print where it is."""
    hub_ids = dict(split_pair(each) for each in asked.dataset or ())
    written = write_card(
        asked.model,
        results=asked.results or (),
        model_id=asked.name,
        template=asked.template,
        hub_ids=hub_ids,
        said=owners_words(asked),
    )
    print_result(str(written), {"card": str(written)}, as_json=asked.as_json)


def push(asked: Push) -> None:
    """Upload a model folder, and print where it is."""
    place = push_model(asked.model, asked.repo, private=asked.private, revision=asked.revision)
    print_result(place, {"url": place}, as_json=asked.as_json)


def deploy_space(asked: DeploySpace) -> None:
    """Upload the demo, and print where it is; a dry run prints the files instead."""
    given = dict(split_pair(each, empty=True) for each in asked.variables or ())
    if asked.dry_run:
        _list_files(space.space_parts(given), as_json=asked.as_json)
        return
    place = space.deploy_space(
        asked.repo, variables=given, private=asked.private, hardware=asked.hardware
    )
    print_result(place, {"url": place}, as_json=asked.as_json)


def _list_files(parts: list[str], *, as_json: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        copied = space.copy_space(folder, parts)
        sizes = {name: (Path(folder) / name).stat().st_size for name in copied}
    lines = [f"{size:>12,}  {name}" for name, size in sizes.items()]
    lines.append(f"{len(sizes)} files, {sum(sizes.values()) / _MEGABYTE:.1f} MB")
    print_result("\n".join(lines), sizes, as_json=as_json)
