"""Putting captioned pictures on the Hub as Parquet files, from where they are loaded or streamed.

They are a benchmark, of which source and terms are known, or own data, of which the card says what
its owner says.
"""

from collections.abc import Mapping
from pathlib import Path
from string import Template

import datasets
from huggingface_hub import DatasetCard, DatasetCardData, HfApi

from rsctir_hf.data.benchmarks import BENCHMARKS, every_split
from rsctir_hf.data.own_terms import NOT_STATED, OwnersWords
from rsctir_hf.data.reading import CaptionedSource
from rsctir_hf.loading.push_errors import explained_push

DATASET_CARD = Template("""
# $title

$what in the columns `image`, `captions` (a list of sentences), `file_name` and, where
$known, `category`; $counts pictures.

$terms

```python
from datasets import load_dataset

load_dataset("$repo_id", split="$split", streaming=True)
```
""")
CHECK_TERMS = "Check them before you share or use this data set."


def push_benchmark(
    name: str,
    source: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    images: str | Path | None = None,
    complete: bool = True,
) -> dict[str, int]:
    """Push every split that a source holds as a data set with pictures inside and a card.

    Pictures go as they are, byte for byte. The repository is made if need be. All splits are read
    and checked before anything is sent, and an interrupted push commits nothing.

    Args:
        name: ``ucm``, ``rsicd``, ``rsitmd`` or ``sydney``.
        source: a release folder, imagefolder, folder of Parquet files, or Hub id.
        repo_id: ``OWNER/NAME`` on the Hub.
        private: make a new repository private.
        images: the picture folder of a release, if it lies elsewhere.
        complete: refuse a release without the official number of pictures.

    Returns:
        The number of pictures pushed for each split.

    Raises:
        DataLayoutError: the source is missing something, as for ``load_benchmark``.
        QueryError: unknown benchmark.
        PushError: no token, no right to write, a malformed name, or the Hub cannot be reached.
    """
    splits = dict(every_split(name, source, images=images, complete=complete))
    counts = _push(splits, repo_id, private=private, place=str(source))
    known = BENCHMARKS[name]
    text = _card_text(
        counts,
        repo_id,
        title=known.title,
        what=f"{known.title} ({known.source})",
        known="the release has it",
        splits="official splits: ",
        terms=f"Terms of pictures and captions: {known.terms}. {CHECK_TERMS}",
    )
    _describe(repo_id, text, {"license": "other", "pretty_name": known.title}, place=str(source))
    return counts


def push_own(
    source: CaptionedSource, repo_id: str, *, said: OwnersWords, private: bool = False
) -> dict[str, int]:
    """Push own data likewise; a card that still asks for something is written anew.

    Args:
        source: of any layout; without splits all pictures are ``train``.
        repo_id: ``OWNER/NAME`` on the Hub.
        said: by its owner, with its name.
        private: make a new repository private.

    Raises:
        DataLayoutError: it cannot be read.
        PushError: see ``push_benchmark``.
    """
    read, place = source.read(), str(source.place)
    counts = _push(read.splits, repo_id, private=private, place=place)
    made = " Its captions were made of the names of classes." if read.from_class_names else ""
    text = _card_text(
        counts,
        repo_id,
        title=said.name or "",
        what=f"{said.name}: captioned pictures",
        known="it is known",
        splits="",
        terms=f"{said.sentences()}{made}",
    )
    _describe(repo_id, text, said.front_matter() | {"pretty_name": said.name}, place=place)
    return counts


def _push(
    splits: Mapping[str, datasets.Dataset], repo_id: str, *, private: bool, place: str
) -> dict[str, int]:
    """Push the pictures of every split, and return how many there are."""
    with explained_push(place, repo_id):
        HfApi().create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
        datasets.DatasetDict(dict(splits)).push_to_hub(repo_id)
    return {split: len(table) for split, table in splits.items()}


def _card_text(
    counts: Mapping[str, int], repo_id: str, *, title: str, splits: str, **words: str
) -> str:
    """Return a card's text, but for its front matter."""
    return DATASET_CARD.substitute(
        words,
        title=title,
        repo_id=repo_id,
        counts=splits + ", ".join(f"{split} {count:,}" for split, count in counts.items()),
        split=next(iter(counts)),
    )


def _describe(repo_id: str, text: str, fields: Mapping[str, str | None], *, place: str) -> None:
    """Write the card's text, unless somebody has; push_to_hub has written its front matter."""
    with explained_push(place, repo_id):
        card = DatasetCard.load(repo_id, ignore_metadata_errors=True)
        if card.text.strip() and NOT_STATED not in card.text:
            return
        card.text = text
        card.data = DatasetCardData(**card.data.to_dict() | fields)
        card.push_to_hub(repo_id)
