"""Pictures found by the labels of what they show, on UCM-Captions: words against a label head.

    python benchmarks/label_search.py --data data  # with ucm_captions
    python benchmarks/label_search.py --data data --test  # after a commit of the heads, once

UCM's multi-labels (``multilabels.jsonl``) say of each picture which of 17 things it shows. Queries
are single labels, pairs of labels that at least three pictures show together, and one label without
another (three pictures that show both, three only the first); a picture asks for the others that
show all that it shows. Scored is mean average precision in percent, in four ways:

- *words*: the label's word, a pair as "A and B", and for one without another the rule of
  ``rsctir_hf.search.composed``;
- *head*: the likelihoods of a label head, as ``rsctir search --labels`` asks it;
- *code distance*: the distance of a picture's code from that of the set of labels, as CMIR-NET
  compares them;
- *vectors* and *codes*: cosines of pictures with pictures.

The heads are those that ship (``checkpoints/MODEL/labels.safetensors``; ``--fit`` makes them, as
``rsctir fit-labels`` does, on the training pictures, the epoch chosen on validation). ``--refits``
also fits those of two more seeds, and heads that lack terms of the loss, for validation. Bar:
labels and pairs at least 5 above words. Takes a minute once the pictures are embedded (``--vectors
FOLDER`` keeps what was embedded), with refits some minutes.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import fmean

import torch
from picture_vectors import picture_vectors
from report import CHECKPOINTS, MODELS, flags, read, run, save, settings
from torch import Tensor
from torch.nn import functional as F

from rsctir_hf.data.label_sets import LabelledPictures, read_labelled
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.files.metadata import read_metadata
from rsctir_hf.labels.code_network import TermWeights
from rsctir_hf.labels.expression import any_spelling
from rsctir_hf.labels.label_fitting import fit_label_head
from rsctir_hf.labels.label_head import LabelHead, head_beside
from rsctir_hf.labels.label_scores import (
    LEAST,
    PAIRS,
    SINGLE,
    LabelScores,
    asking_pairs,
    average_precision,
    by_head,
    by_words,
    picture_precision,
    score_labels,
)
from rsctir_hf.loading.hub_files import LABELS_FILE
from rsctir_hf.search.composed import Term, composed_scores
from rsctir_hf.search.confidence import OFF_TOPIC, WORDS, score_scale, yardstick_sentences

SPLITS = ("train", "validation", "test")
DENIED = "one_without_another_mAP"
BAR = 5.0
SEEDS = (0, 1, 2)
#: Heads that lack terms of the loss, one after another.
TERMS = {
    "no distance": TermWeights(distance=0),
    "nothing made again": TermWeights(picture_again=0, labels_again=0),
    "labels alone": TermWeights(distance=0, picture_again=0, labels_again=0),
}

Split = tuple[LabelledPictures, Tensor]


def split_vectors(encoder: Encoder, data: Path, kept: Path | None) -> dict[str, Split]:
    """Return each split's labelled pictures with their vectors, kept as by other measurements."""
    files = [
        data / split / row.file_name for split in SPLITS for row in read_metadata(data / split)
    ]
    places = {file: place for place, file in enumerate(files)}
    vectors = picture_vectors(encoder, "ucm", files, kept)
    found = {split: read_labelled(data, split=split) for split in SPLITS}
    return {
        split: (pictures, vectors[[places[file] for file in pictures.files]])
        for split, pictures in found.items()
    }


def denials(shown: Tensor) -> list[tuple[int, int]]:
    """Return labels with another that some pictures which show the first lack, and some not."""
    pairs = product(range(shown.shape[1]), repeat=2)
    return [
        (one, other)
        for one, other in pairs
        if one != other
        and (shown[:, one] & shown[:, other]).sum() >= LEAST
        and (shown[:, one] & ~shown[:, other]).sum() >= LEAST
    ]


def denied_precision(scores: Tensor, shown: Tensor) -> float:
    """Return mAP of one label without another, from scores (Q, G) of ``denials``."""
    right = torch.stack([shown[:, one] & ~shown[:, other] for one, other in denials(shown)])
    return float(average_precision(scores, right).mean())


def words_denied(encoder: Encoder, labels: tuple[str, ...], pictures: Split) -> float:
    """Return mAP of one word without another, as a search composes them."""
    shown, vectors = pictures[0].shown, pictures[1]
    best = (encoder.texts(yardstick_sentences()) @ vectors.T).amax(dim=1)
    scale = score_scale(best[: len(OFF_TOPIC)], best[len(OFF_TOPIC) :], WORDS)
    words = encoder.texts([any_spelling(label) for label in labels])
    scores = [
        composed_scores(
            [Term(words[one], 1.0, picture=False), Term(words[other], -1.0, picture=False)],
            vectors,
            scale=scale,
        )
        for one, other in denials(shown)
    ]
    return denied_precision(torch.stack(scores), shown)


def figures(scores: LabelScores, denied: float | None = None) -> dict[str, float]:
    """Return the figures of a way to ask."""
    found = dict(scores.metrics) | ({} if denied is None else {DENIED: denied})
    return {kind: round(value, 2) for kind, value in found.items()}


def head_figures(head: LabelHead, pictures: Split) -> dict[str, float]:
    """Return the figures of a head's likelihoods."""
    (labelled, vectors), shown = pictures, pictures[0].shown
    scores = by_head(head, labelled.labels, asking_pairs(shown), vectors)
    likely = scores[0]
    denied = torch.stack([likely[one] * (1 - likely[other]) for one, other in denials(shown)])
    return figures(
        score_labels(*scores, shown=shown, labels=labelled.labels), denied_precision(denied, shown)
    )


def distance_figures(head: LabelHead, pictures: Split) -> dict[str, float]:
    """Return the figures of distances between codes."""
    (labelled, vectors), shown = pictures, pictures[0].shown
    names = labelled.labels
    sets = [[name] for name in names]
    both = [[names[one], names[other]] for one, other in asking_pairs(shown)]
    codes = torch.stack([head.code_of(each) for each in [*sets, *both]])
    scores = -torch.cdist(codes, head.codes(vectors))
    return figures(
        score_labels(scores[: len(sets)], scores[len(sets) :], shown=shown, labels=names)
    )


def split_figures(encoder: Encoder, head: LabelHead, pictures: Split) -> dict[str, object]:
    """Return all figures of one split."""
    (labelled, vectors), shown = pictures, pictures[0].shown
    pairs = asking_pairs(shown)
    spoken = score_labels(
        *by_words(encoder, labelled.labels, pairs, vectors), shown=shown, labels=labelled.labels
    )
    words = figures(spoken, words_denied(encoder, labelled.labels, pictures))
    asked = head_figures(head, pictures)
    codes = F.normalize(head.codes(vectors), dim=1)
    alike = {"vectors": vectors, "codes": codes}
    return {
        "queries": {**spoken.queries, DENIED: len(denials(shown))},
        "words": words,
        "head": asked,
        "code distance": distance_figures(head, pictures),
        "pictures": {
            name: round(float(picture_precision(each, shown).mean()), 2)
            for name, each in alike.items()
        },
        "gained": {kind: round(asked[kind] - words[kind], 2) for kind in asked},
        "bar met": all(asked[kind] >= words[kind] + BAR for kind in (SINGLE, PAIRS)),
    }


def refitted(encoder: Encoder, splits: Mapping[str, Split]) -> dict[str, object]:
    """Return validation figures of heads of several seeds, and the means of heads without terms."""
    train, validation = splits["train"], splits["validation"]

    def fitted(seed: int, weights: TermWeights | None = None) -> dict[str, float]:
        head = fit_label_head(
            *train, made_by=encoder.made_by, validation=validation, seed=seed, weights=weights
        )
        return head_figures(head, validation)

    seeds = [fitted(seed) for seed in SEEDS]
    found: dict[str, object] = {"all terms": mean(seeds), "seeds": seeds}
    return found | {
        name: mean([fitted(seed, weights) for seed in SEEDS]) for name, weights in TERMS.items()
    }


def mean(found: list[dict[str, float]]) -> dict[str, float]:
    """Return the mean of figures."""
    return {kind: round(fmean(each[kind] for each in found), 2) for kind in found[0]}


def main() -> None:
    """Measure both models and write the results file."""
    parser = flags(__doc__, "label_search.json", models=MODELS)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--vectors", type=Path, help="folder that keeps the pictures' vectors")
    parser.add_argument("--fit", action="store_true", help="first fit and keep the heads that ship")
    parser.add_argument(
        "--refits", action="store_true", help="also heads of more seeds and fewer terms"
    )
    parser.add_argument("--test", action="store_true", help="score the test split, once")
    asked = parser.parse_args()
    found = (read(asked.output) or {}).get("models", {})
    for model in asked.models:
        encoder = Encoder.from_pretrained(CHECKPOINTS / model)
        splits = split_vectors(encoder, asked.data / "ucm_captions", asked.vectors)
        if asked.fit:
            made_by = replace(encoder.made_by, model_id=model)  # no folder of this machine
            ships = fit_label_head(
                *splits["train"], made_by=made_by, validation=splits["validation"]
            )
            ships.save(CHECKPOINTS / model / LABELS_FILE)
        head = head_beside(CHECKPOINTS / model)
        if head is None:
            raise SystemExit(f"No head lies beside {model}. Fit one: --fit.")
        if not asked.test:
            test = found.get(model, {}).get("test")
            found[model] = {
                "weights": encoder.made_by.fingerprint,
                "head": dict(head.learnt_from),
                "validation": split_figures(encoder, head, splits["validation"]),
            } | ({} if test is None else {"test": test})
            if asked.refits:
                found[model]["refitted"] = refitted(encoder, splits)
        elif "test" in found[model]:
            raise SystemExit(f"{model} has been scored on test: the choice stands.")
        else:
            found[model]["test"] = split_figures(encoder, head, splits["test"])
    save(asked.output, {"models": found, "settings": settings(least=LEAST)})


if __name__ == "__main__":
    run(main)
