"""``rsctir fit-labels``; searches and evaluations by labels."""

from collections.abc import Sequence
from typing import Any

from rsctir_cli.commands import Evaluate, Search
from rsctir_cli.labels import FitLabels
from rsctir_cli.option_groups import WithColumns
from rsctir_cli.options import Rerank
from rsctir_hf.cli.marks import has_marks
from rsctir_hf.cli.output import Bar, check_writable, print_result
from rsctir_hf.cli.sources import asked_parts, load_options
from rsctir_hf.data.label_sets import label_splits, read_labelled
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.errors import DataLayoutError, QueryError
from rsctir_hf.evaluation import library_versions, results_json
from rsctir_hf.files.atomic import write_atomically
from rsctir_hf.labels.label_fitting import check_labels, fit_label_head
from rsctir_hf.labels.label_head import LabelHead
from rsctir_hf.labels.label_scores import PAIRS, PICTURES, SINGLE, evaluate_labels, labelled_vectors
from rsctir_hf.search.hits import Hit
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.vector_index.contract import SearchFilter

_KINDS = {SINGLE: "labels", PAIRS: "pairs of labels", PICTURES: "pictures"}


def fit_labels(asked: FitLabels) -> None:
    """Embed labelled pictures, fit a head and keep it."""
    check_writable("--output", asked.output)
    named = label_splits(asked.data)
    if named and asked.split not in named:
        raise DataLayoutError(
            f"{asked.data} has no split {asked.split!r}; it has {', '.join(sorted(named))}. Name "
            "one: --split."
        )
    pictures = read_labelled(asked.data, split=asked.split)
    check_labels(pictures)
    others = None
    if asked.validation in named:
        others = read_labelled(asked.data, split=asked.validation)
    encoder = Encoder.from_pretrained(asked.model, **load_options(asked))
    with Bar("embedding") as bar:
        given: Any = {"workers": asked.workers, "progress": bar.show}
        vectors = labelled_vectors(encoder, pictures, **given)
        held = None if others is None else (others, labelled_vectors(encoder, others, **given))
    head = fit_label_head(
        pictures, vectors, made_by=encoder.made_by, validation=held, seed=asked.seed
    )
    head.save(asked.output)
    reached = head.learnt_from
    said = [
        str(head),
        f"fitted on {reached['pictures']} pictures, chosen on {reached['validation_pictures']}:",
        *(f"{reached[kind]:6.2f}  mAP of {_KINDS[kind]}" for kind in _KINDS if kind in reached),
        f"kept in {asked.output}",
    ]
    result = {"labels": head.labels, **reached, "output": asked.output}
    print_result("\n".join(said), result, as_json=asked.as_json)


def check_search(asked: Search) -> None:
    """Refuse, before any work, what cannot be asked together with labels.

    Raises:
        QueryError: says what.
    """
    if asked.labels is None:
        if asked.label_head is not None:
            raise QueryError("--label-head is about labels. Say which: --labels.")
        return
    if has_marks(asked) or asked_parts(asked, needed=False):
        raise QueryError(
            "--labels asks alone. Leave out words, pictures and marks, or --labels; --where and "
            "--bbox may stand beside it."
        )
    if asked.rerank != Rerank.NONE:
        raise QueryError(f"--rerank {asked.rerank.value} is not for labels.")


def find_labelled(retriever: Retriever, asked: Search, only: SearchFilter | None) -> Sequence[Hit]:
    """Search by the labels that are asked for; raises as ``LabelSearch.find`` does."""
    return retriever.labels.find(
        str(asked.labels), head=asked.label_head, top_k=asked.top_k, only=only
    )


def evaluate_by_labels(asked: Evaluate) -> None:
    """Score a model by labels, and print or write the report.

    Raises:
        QueryError: an option that is about captions.
    """
    about_captions = (asked.benchmark, asked.bank, asked.temperature)
    columns = [getattr(asked, name) for name in vars(WithColumns())]
    if asked.rerank != Rerank.NONE or any(about_captions) or any(columns):
        raise QueryError(
            "--task labels takes --model, --data, --split, --label-head, --symmetries, --workers "
            "and --output; the other options are about captions. Leave them out."
        )
    pictures = read_labelled(asked.data, split=asked.split)
    head = None if asked.label_head is None else LabelHead.load(asked.label_head)
    encoder = Encoder.from_pretrained(asked.model, **load_options(asked))
    with Bar("embedding") as bar:
        found = evaluate_labels(
            encoder,
            pictures,
            head=head,
            symmetries=asked.symmetries,
            workers=asked.workers,
            progress=bar.show,
        )
    revision = encoder.revision if encoder.adapter is None else None
    result = {
        **found.metrics,
        "task": asked.task.value,
        "asked_by": "words" if head is None else "label head",
        "queries": found.queries,
        "by_label": found.by_label,
        "images": len(pictures.files),
        "symmetries": asked.symmetries,
        "regions": encoder.region_source.name,
        "model": asked.adapter or asked.model,
        "model_revision": revision or f"weights:{encoder.fingerprint}",
        "data": asked.data,
        "split": asked.split,
        "seed": asked.seed,
        "versions": library_versions(),
    }
    if asked.output is not None:
        write_atomically(asked.output, results_json(result))
    lines = [f"{len(pictures.files)} pictures, asked by {result['asked_by']}"]
    lines += [
        f"{found.metrics[kind]:6.2f}  mAP of {found.queries[kind]} {name}"
        for kind, name in _KINDS.items()
        if kind in found.metrics
    ]
    print_result("\n".join(lines), result, as_json=asked.as_json)
