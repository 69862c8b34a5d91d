"""Queries of several parts, scored on UCM-Captions by what each picture shows.

    python benchmarks/composed_queries.py --data data  # with ucm_captions

UCM's multi-labels (``multilabels.jsonl``) say of each picture which of 17 things it shows. From
them come four kinds of queries, each with the pictures that are right:

- *picture, added*: a picture and the word for a thing that it lacks; right are the pictures of its
  class that show the thing.
- *picture, removed*: a picture without a thing that it shows; right are those of its class that do
  not show it.
- *words, added* and *words, removed*: the word for a thing or a class with that for a thing, both
  of them, or the first and not the second.

The measure is mean average precision in percent; the query picture itself is left out. The three
numbers of ``rsctir_hf.search.composed.FUSION`` lie within 0.2 points of the best mean over kinds
and models on the pictures of the train and validation splits (the best, at the edge of the grid, is
enough from 0.3 on). What is reported are queries from the test split, asked among the test split
and among all pictures, and galleries of three classes each.

Bars, for a picture with a word on the test split: at least 5 above the better of both alone, and
never below the plain sum. Takes two minutes on one thread once the pictures are embedded;
``--vectors FOLDER`` keeps what was embedded.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import fmean

import torch
from picture_vectors import picture_vectors
from report import CHECKPOINTS, MODELS, flags, run, save, settings
from torch import Tensor

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.files.atomic import parse_json
from rsctir_hf.files.metadata import read_metadata
from rsctir_hf.loading.checks import weights_fingerprint
from rsctir_hf.search.composed import FUSION, Fusion, Term, composed_scores, summed
from rsctir_hf.search.confidence import (
    OFF_TOPIC,
    WORDS,
    ScoreScale,
    score_scale,
    yardstick_sentences,
)

SPLITS = ("train", "validation", "test")
EVERY = 15  # of the pictures of train and validation one in so many asks
LEAST = 3  # right pictures, and others that show the first thing, of a query of words
GRID = tuple(Fusion(*at) for at in product((0.3, 0.4, 0.5), (0.1, 0.2), (0.2, 0.4, 0.6)))
#: Where the name of a class is no word.
CLASS_WORDS = {
    "agricultural": "farmland",
    "baseballdiamond": "baseball diamond",
    "denseresidential": "dense residential area",
    "golfcourse": "golf course",
    "mediumresidential": "medium residential area",
    "mobilehomepark": "mobile home park",
    "parkinglot": "parking lot",
    "sparseresidential": "sparse residential area",
    "storagetanks": "storage tanks",
    "tenniscourt": "tennis court",
}
SIGNS = {"added": 1, "removed": -1}
BOTH = "{} and {}"
DENIALS = ("{} without {}", "{} with no {}", "{} but not {}", "{}, no {}")
BAR = 5.0

Score = Callable[[Sequence[Term], Tensor], Tensor]


@dataclass(frozen=True)
class Pictures:
    """n pictures as a model sees them.

    Attributes:
        vectors: (n, D).
        classes: (n,) number of the class.
        shows: (n, L) whether it shows each thing.
        rows: (n,) which of all they are.
    """

    vectors: Tensor
    classes: Tensor
    shows: Tensor
    rows: Tensor

    def at(self, rows: Tensor) -> "Pictures":
        """Return some of them, by their place here."""
        return Pictures(*(each[rows] for each in vars(self).values()))


@dataclass(frozen=True)
class Words:
    """What a model is asked with: things, then classes, by name and embedded (W, D)."""

    names: tuple[str, ...]
    vectors: Tensor
    yardstick: Tensor
    encoder: Encoder

    def scale(self, gallery: Pictures) -> ScoreScale:
        """Return the scale of a gallery, as a retriever does."""
        best = (self.yardstick @ gallery.vectors.T).amax(dim=1)
        found = score_scale(best[: len(OFF_TOPIC)], best[len(OFF_TOPIC) :], WORDS)
        if found is None:
            raise SystemExit("The model cannot judge these pictures.")
        return found


@dataclass(frozen=True)
class Task:
    """A query of two parts with an answer.

    Attributes:
        terms: the parts, in the plane that they span: what a picture is there are its two cosines.
        seen: (G, 2) these cosines of each picture.
        right: (G,) 1 for the right pictures, 0, or -1 for the one that is left out.
        sentences: the same said in words.
    """

    terms: tuple[Term, Term]
    seen: Tensor
    right: Tensor
    sentences: tuple[str, ...] = ()

    def average_precision(self, score: Score) -> float:
        """Return the average precision of a way to score, in percent."""
        return average_precision(score(self.terms, self.seen), self.right)


def terms_of(*, picture: bool, sign: int) -> tuple[Term, Term]:
    """Return a picture or a word, and a word that is wanted (``sign`` 1) or not (-1)."""
    first, second = torch.eye(2)
    return Term(first, 1.0, picture=picture), Term(second, float(sign), picture=False)


def average_precision(scores: Tensor, right: Tensor) -> float:
    """Return the average precision of one ranking (G,), in percent."""
    kept = right >= 0
    ranked = right[kept][scores[kept].argsort(descending=True, stable=True)].float()
    precision = ranked.cumsum(0) / torch.arange(1, len(ranked) + 1)
    return 100 * ((precision * ranked).sum() / ranked.sum()).item()


def picture_tasks(asking: Pictures, gallery: Pictures, words: Words, *, sign: int) -> list[Task]:
    """Return the queries of pictures with a thing added (``sign`` 1) or removed (-1)."""
    terms, tasks = terms_of(picture=True, sign=sign), []
    like, spoken = asking.vectors @ gallery.vectors.T, words.vectors @ gallery.vectors.T
    for place, row in enumerate(asking.rows.tolist()):
        itself = gallery.rows == row
        same = (gallery.classes == asking.classes[place]) & ~itself
        for thing in (asking.shows[place] != (sign > 0)).nonzero().flatten().tolist():
            right = same & (gallery.shows[:, thing] == (sign > 0))
            if right.any():
                seen = torch.stack([like[place], spoken[thing]], dim=1)  # (G, 2)
                tasks.append(Task(terms, seen, right.int().masked_fill(itself, -1)))
    return tasks


def word_tasks(gallery: Pictures, words: Words, *, sign: int) -> list[Task]:
    """Return the queries of two words: both, or the first and not the second."""
    terms, tasks = terms_of(picture=False, sign=sign), []
    spoken = words.vectors @ gallery.vectors.T
    things = gallery.shows.shape[1]
    for first, second in product(range(len(words.names)), range(things)):
        of_class = gallery.classes == first - things
        shows = gallery.shows[:, first] if first < things else of_class
        other = gallery.shows[:, second] == (sign > 0)
        enough = min((shows & other).sum(), (shows & ~other).sum()) >= LEAST
        names = words.names[first], words.names[second]
        if names[0] == names[1] or not enough or (sign > 0 and first < second):
            continue
        forms = DENIALS if sign < 0 else (BOTH,)
        seen = torch.stack([spoken[first], spoken[second]], dim=1)  # (G, 2)
        said = tuple(form.format(*names) for form in forms)
        tasks.append(Task(terms, seen, (shows & other).int(), said))
    return tasks


def mean_precision(tasks: Sequence[Task], score: Score) -> float:
    """Return the mean average precision of a way to score."""
    return fmean(task.average_precision(score) for task in tasks)


def fused(scale: ScoreScale, fusion: Fusion = FUSION) -> Score:
    """Return the score of ``composed_scores``."""
    return lambda terms, vectors: composed_scores(terms, vectors, scale=scale, fusion=fusion)


def plain_sum(terms: Sequence[Term], vectors: Tensor) -> Tensor:
    """Score by the cosine with the sum."""
    return vectors @ summed(terms)


def only(part: int) -> Score:
    """Score by one part of two alone."""
    return lambda terms, vectors: terms[part].weight * (vectors @ terms[part].vector)


def measured(tasks: Sequence[Task], scale: ScoreScale) -> dict[str, float]:
    """Return the figures of a kind of query on a gallery."""
    first = "picture" if tasks[0].terms[0].picture else "first word"
    ways = {first: only(0), "word": only(1), "sum": plain_sum, "composed": fused(scale)}
    found = {name: round(mean_precision(tasks, way), 1) for name, way in ways.items()}
    return {"queries": len(tasks), **found}


def as_sentences(tasks: Sequence[Task], gallery: Pictures, encoder: Encoder) -> dict[str, float]:
    """Return the figures where two words are said in one sentence."""
    found = {}
    for place, form in enumerate(DENIALS if len(tasks[0].sentences) > 1 else (BOTH,)):
        scores = encoder.texts([task.sentences[place] for task in tasks]) @ gallery.vectors.T
        each = [average_precision(row, task.right) for row, task in zip(scores, tasks, strict=True)]
        found[form.format("A", "B")] = round(fmean(each), 1)
    return found


def kinds_of(asking: Pictures, gallery: Pictures, words: Words) -> dict[str, list[Task]]:
    """Return the queries of all kinds."""
    found = {}
    for name, sign in SIGNS.items():
        found[f"picture, {name}"] = picture_tasks(asking, gallery, words, sign=sign)
        found[f"words, {name}"] = word_tasks(gallery, words, sign=sign)
    return found


def chosen_on(asking: Pictures, gallery: Pictures, words: Words) -> dict[Fusion, float]:
    """Return the mean over the kinds of queries that are fused, for each choice of the grid."""
    kinds = kinds_of(asking, gallery, words)
    del kinds["words, added"]  # one sentence is better
    scale = words.scale(gallery)
    return {
        fusion: fmean(mean_precision(tasks, fused(scale, fusion)) for tasks in kinds.values())
        for fusion in GRID
    }


def report_on(asking: Pictures, gallery: Pictures, words: Words) -> dict[str, dict[str, float]]:
    """Return the figures of all kinds of queries on one gallery."""
    scale, found = words.scale(gallery), {}
    for name, tasks in kinds_of(asking, gallery, words).items():
        found[name] = measured(tasks, scale)
        if tasks[0].sentences:
            found[name] |= as_sentences(tasks, gallery, words.encoder)
    return found


def few_classes(pictures: Pictures, words: Words) -> dict[str, dict[str, float]]:
    """Return the mean figures of picture queries over galleries of three classes each."""
    every: dict[str, list[dict[str, float]]] = {f"picture, {name}": [] for name in SIGNS}
    for first in range(0, int(pictures.classes.max()), 3):
        gallery = pictures.at((pictures.classes // 3 == first // 3).nonzero().flatten())
        asking, scale = gallery.at(torch.arange(0, len(gallery.rows), EVERY)), words.scale(gallery)
        for name, sign in SIGNS.items():
            tasks = picture_tasks(asking, gallery, words, sign=sign)
            every[f"picture, {name}"].append(measured(tasks, scale))
    return {
        kind: {name: round(fmean(one[name] for one in found), 1) for name in found[0]}
        for kind, found in every.items()
    }


def bars(found: Mapping[str, Mapping[str, float]]) -> dict[str, bool]:
    """Return which bars are met for pictures with a word."""
    met = {}
    for kind in ("picture, added", "picture, removed"):
        figures = found[kind]
        met[f"{kind}: {BAR:.0f} above the better alone"] = (
            figures["composed"] >= max(figures["picture"], figures["word"]) + BAR
        )
        met[f"{kind}: not below the sum"] = figures["composed"] >= figures["sum"]
    return met


def embedded(encoder: Encoder, data: Path, kept: Path | None) -> tuple[Pictures, list[str]]:
    """Return all pictures, embedded or read from the folder of kept vectors, and their splits."""
    labels = {}
    for line in (data / "multilabels.jsonl").read_text(encoding="utf-8").splitlines():
        row = parse_json(line)
        labels[row["split"], row["file_name"]] = row["labels"]
    rows = [(split, row) for split in SPLITS for row in read_metadata(data / split)]
    files = [data / split / row.file_name for split, row in rows]
    vectors = picture_vectors(encoder, "ucm", files, kept)
    things = sorted({label for each in labels.values() for label in each})
    classes = sorted({str(row.category) for _, row in rows})
    shows = [[thing in labels[split, row.file_name] for thing in things] for split, row in rows]
    pictures = Pictures(
        vectors,
        torch.tensor([classes.index(str(row.category)) for _, row in rows]),
        torch.tensor(shows),
        torch.arange(len(rows)),
    )
    return pictures, [split for split, _ in rows]


def names_of(data: Path) -> tuple[str, ...]:
    """Return the words for things and for classes, sorted as in ``embedded``."""
    lines = (data / "multilabels.jsonl").read_text(encoding="utf-8").splitlines()
    things = sorted({label for line in lines for label in parse_json(line)["labels"]})
    classes = sorted({str(row.category) for row in read_metadata(data / "train")})
    return tuple(
        [thing.replace("-", " ") for thing in things]
        + [CLASS_WORDS.get(name, name) for name in classes]
    )


def model_figures(
    model: str, data: Path, kept: Path | None
) -> tuple[dict[Fusion, float], dict[str, object]]:
    """Return what each choice reaches on train and validation, and the report of one model."""
    encoder = Encoder.from_pretrained(CHECKPOINTS / model)
    pictures, splits = embedded(encoder, data, kept)
    names = names_of(data)
    words = Words(names, encoder.texts(names), encoder.texts(yardstick_sentences()), encoder)
    tested = torch.tensor([row for row, split in enumerate(splits) if split == "test"])
    seen = torch.tensor([row for row, split in enumerate(splits) if split != "test"])
    choices = chosen_on(pictures.at(seen[::EVERY]), pictures.at(seen), words)
    test = pictures.at(tested)
    among_test = report_on(test, test, words)
    return choices, {
        "weights": weights_fingerprint(encoder.model),
        "test split": among_test,
        "test split among all pictures": report_on(test, pictures, words),
        "three classes": few_classes(pictures.at(seen), words),
        "bars": bars(among_test),
    }


def main() -> None:
    """Measure both models and write the results file."""
    parser = flags(__doc__, "composed_queries.json", models=MODELS)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--vectors", type=Path, help="folder that keeps the pictures' vectors")
    asked = parser.parse_args()
    every, found = {}, {}
    for model in asked.models:
        every[model], found[model] = model_figures(
            model, asked.data / "ucm_captions", asked.vectors
        )
    means = {fusion: fmean(choices[fusion] for choices in every.values()) for fusion in GRID}
    best = max(means, key=lambda fusion: means[fusion])
    chosen = {
        "chosen": vars(best),
        "in use": vars(FUSION),
        "grid": [{**vars(fusion), "map": round(mean, 1)} for fusion, mean in means.items()],
    }
    save(asked.output, {"models": found, "fusion": chosen, "settings": settings(every=EVERY)})


if __name__ == "__main__":
    run(main)
