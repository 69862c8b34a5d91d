"""Putting a benchmark on the Hub as Parquet files, from where it can be loaded or streamed."""

from pathlib import Path
from string import Template

import datasets
from huggingface_hub import DatasetCard, DatasetCardData, HfApi

from rsctir_hf.data.benchmarks import BENCHMARKS, every_split
from rsctir_hf.loading.push_errors import explained_push

DATASET_CARD = Template("""
# $title

$title ($source) in the columns `image`, `captions` (a list of sentences), `file_name` and, where
the release has it, `category`; official splits: $counts pictures.

Terms of pictures and captions: $terms. Check them before you share or use this data set.

```python
from datasets import load_dataset

load_dataset("$repo_id", split="train", streaming=True)
```
""")


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
    splits = every_split(name, source, images=images, complete=complete)
    tables = datasets.DatasetDict(dict(splits))
    counts = {split: len(table) for split, table in tables.items()}
    with explained_push(str(source), repo_id):
        HfApi().create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
        tables.push_to_hub(repo_id)
        _describe(name, repo_id, counts)
    return counts


def _describe(name: str, repo_id: str, counts: dict[str, int]) -> None:
    """Write the card's text, unless somebody has; push_to_hub has written its front matter."""
    card = DatasetCard.load(repo_id, ignore_metadata_errors=True)
    if card.text.strip():
        return
    known = BENCHMARKS[name]
    card.text = DATASET_CARD.substitute(
        title=known.title,
        source=known.source,
        terms=known.terms,
        repo_id=repo_id,
        counts=", ".join(f"{split} {count:,}" for split, count in counts.items()),
    )
    card.data = DatasetCardData(
        **card.data.to_dict() | {"license": "other", "pretty_name": known.title}
    )
    card.push_to_hub(repo_id)
