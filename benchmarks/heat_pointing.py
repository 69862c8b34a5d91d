"""Does the heat map of a word have its peak on what the word names?

    python benchmarks/heat_pointing.py --data data/rsod --pictures 8   # RSOD train: choice
    git add results && git commit -m "Chosen on RSOD train: how a heat map is made"
    python benchmarks/heat_pointing.py --data data/rsod --test          # once

The pointing game (Zhang et al., ECCV 2016) of ``rsctir_hf.search.heat``: for each picture and each
class in it a hit is a peak inside a box of that class, for both shipped models, which were not
trained on RSOD; the figure is the share of hits of each class, and their mean (macro). RSOD's
overpasses and playgrounds lie in the middle of nearly every picture, so the same is asked of crops
in which nothing of the class lies over the middle (``off_centre.py``).

Chosen on train, by the macro on whole pictures: the scales, whether a word is asked for alone or in
sentences, and whether an average sentence is taken off. What the package does is what is scored on
test: ``choose`` says where that is not the best on train. Beside it, in the same run: the patches
of the whole picture, asked for the word alone, as the fine stage of a search compares them; the
picture's middle; a random point, by its expected share.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch
from off_centre import off_centre
from pointing import Shares, best, every_point, hits, summary
from pointing_game import MODELS, WORDS
from report import read, rounded, run
from rsod_scoring import (
    TRAIN,
    RsodScoring,
    macro_interval,
    refuse_choice_after_test,
    rsod_flags,
    scoring_of,
    some_of_each_class,
    wilson_interval,
    write,
)
from score_test import TEST, chosen_record
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from rsctir_hf.detection.boxed_sets import read_classes, read_split
from rsctir_hf.detection.crops import BoxedPicture
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.hub.card_tables import markdown_table
from rsctir_hf.loading.checks import weights_fingerprint
from rsctir_hf.search.confidence import typical_sentences
from rsctir_hf.search.heat import SCALES, Looks, Scale, look_at

MEASURED = "query heat map"
TARGET = 65.0
WHOLE = Scale(1, 1.0, True)
CANDIDATES = {
    "halves to quarters": SCALES,
    "whole to quarters": (WHOLE, *SCALES),
    "halves and thirds": SCALES[:-1],
    "quarters": SCALES[-1:],
    "patches of the whole": (WHOLE,),
}
ALONE, SENTENCES = "word alone", "sentences"
#: What a word is put into; their vectors are averaged.
TEMPLATES = (
    *("{}", "there is a {} .", "a {} .", "many {}s ."),
    *("there are some {}s in the picture .", "an aerial photo of a {}"),
)
CROPS_OF_EACH = 10  # class of test: they take as long as the pictures
HEAT, PATCHES, CENTRE, POINT = "heat map", "patches of the whole", "the middle", "a random point"
PICTURES, CROPS = "pictures", "off-centre crops"

#: Scales, wording, and whether the average sentence is taken off.
Way = tuple[str, str, bool]
SHIPPED: Way = ("halves to quarters", ALONE, True)
FINE: Way = ("patches of the whole", ALONE, False)


class Seen:
    """One picture as it was looked at, and the boxes (M, 4) of a class in it, in its pixels."""

    def __init__(self, looks: Looks, objects: Tensor, size: tuple[int, int]) -> None:
        self.looks, self.objects, self.size = looks, objects, size

    def is_hit(self, point: Sequence[float]) -> Tensor:
        """Tell whether a point, in shares of the picture, lies on an object: (1,) bool."""
        return hits(torch.tensor([point]) * torch.tensor(self.size), self.objects)


class Asked:
    """How classes are asked for: their directions by wording, and the average sentence."""

    def __init__(self, encoder: Encoder) -> None:
        self.average = encoder.texts(typical_sentences()).mean(dim=0)
        self.vectors = {
            (wording, name): F.normalize(encoder.texts(texts).mean(dim=0), dim=0)
            for name, word in WORDS.items()
            for wording, texts in {
                ALONE: [word],
                SENTENCES: [template.format(word) for template in TEMPLATES],
            }.items()
        }

    def point(self, seen: Seen, name: str, way: Way) -> tuple[float, float]:
        """Return the peak of one way's heat map."""
        scales, wording, less = way
        looks = Looks([pair for pair in seen.looks.seen if pair[0] in CANDIDATES[scales]])
        average = self.average if less else torch.zeros_like(self.average)
        return looks.heat(self.vectors[wording, name] - average).peak


def main(arguments: Sequence[str] | None = None) -> None:
    """Choose on train, or score on test."""
    options = rsod_flags(__doc__, MODELS).parse_args(arguments)
    torch.set_num_threads(1)
    data = Path(options.data)
    for scoring in (scoring_of(name, MEASURED) for name in options.models):
        if options.test:
            score(scoring, data)
        else:
            choose(scoring, data, options.pictures)


def choose(scoring: RsodScoring, data: Path, most: int = 0) -> dict[str, Any]:
    """Play all ways on ``most`` pictures of each class of RSOD train (0: all).

    Raises:
        ScoringRefusedError: test has been scored: the choice stands.
    """
    refuse_choice_after_test(scoring)
    encoder = Encoder.from_pretrained(scoring.folder)
    pictures = some_of_each_class(read_split(data, TRAIN), most)
    asked, classes = Asked(encoder), read_classes(data)
    seen = look(encoder, whole_pictures(pictures, classes), CANDIDATES["whole to quarters"])
    ways = [*product(CANDIDATES, (ALONE, SENTENCES), (False, True))]
    played = {way: summary(play(asked, seen, way)) for way in ways}
    content = {
        "pictures": len(pictures),
        "chosen": list(SHIPPED),
        "best": list(best(played)),
        "rows": rows_of(asked, {PICTURES: seen}),
        "validation": [{"way": list(way), **found} for way, found in played.items()],
    }
    write(scoring, TRAIN, content, weights=weights_fingerprint(encoder.model))
    return content


def score(scoring: RsodScoring, data: Path) -> dict[str, Any]:
    """Score the heat map on RSOD test, once; see ``score_test.chosen_record``."""
    encoder = Encoder.from_pretrained(scoring.folder)
    weights = weights_fingerprint(encoder.model)
    record = chosen_record(scoring, weights)
    pictures, classes = read_split(data, TEST), read_classes(data)
    scales = (WHOLE, *SCALES)
    seen = {
        PICTURES: look(encoder, whole_pictures(pictures, classes), scales),
        CROPS: look(encoder, cropped_pictures(pictures, classes), scales),
    }
    rows = rows_of(Asked(encoder), seen)
    content = {
        "pictures": len(pictures), "chosen": record["chosen"], "target": TARGET, "rows": rows
    }  # fmt: skip
    write(scoring, TEST, content, weights=weights)
    return content


Boxed = tuple[str, BoxedPicture, Tensor]


def whole_pictures(pictures: Sequence[BoxedPicture], classes: Sequence[str]) -> Iterator[Boxed]:
    """Yield each class of each picture, the picture, and the boxes of the class."""
    for picture in pictures:
        for label in sorted(set(picture.labels.tolist())):
            boxes = torch.from_numpy(picture.boxes[picture.labels == label]).float()
            yield classes[label], picture, boxes


def cropped_pictures(pictures: Sequence[BoxedPicture], classes: Sequence[str]) -> Iterator[Boxed]:
    """Yield the same of the first crops of each class."""
    found = Counter[int]()
    for picture in pictures:
        for label in sorted(set(picture.labels.tolist())):
            crop = off_centre(picture, label) if found[label] < CROPS_OF_EACH else None
            if crop is not None:
                found[label] += 1
                yield classes[label], *crop


@torch.no_grad()
def look(
    encoder: Encoder, boxed: Iterable[Boxed], scales: Sequence[Scale]
) -> dict[str, list[Seen]]:
    """Look at pictures; return them by class."""
    seen: dict[str, list[Seen]] = {name: [] for name in WORDS}
    for name, picture, objects in tqdm(boxed, desc=Path(encoder.id).name, unit="picture"):
        looks = look_at(encoder, picture.image, scales)
        seen[name].append(Seen(looks, objects, picture.image.size))
    return {name: found for name, found in seen.items() if found}


def play(asked: Asked, seen: Mapping[str, Sequence[Seen]], way: Way) -> Shares:
    """Return which peaks are hits."""
    return {
        name: torch.cat([each.is_hit(asked.point(each, name, way)) for each in found]).float()
        for name, found in seen.items()
    }


def rows_of(asked: Asked, seen: Mapping[str, Mapping[str, Sequence[Seen]]]) -> list[dict[str, Any]]:
    """Return a row for each kind of picture and each thing that points, with intervals."""
    rows = []
    for kind, found in seen.items():
        middle = {
            n: torch.cat([e.is_hit((0.5, 0.5)) for e in of]).float() for n, of in found.items()
        }
        anywhere = {
            name: torch.stack([hits(every_point(e.size), e.objects).float().mean() for e in of])
            for name, of in found.items()
        }
        played = {HEAT: play(asked, found, SHIPPED), PATCHES: play(asked, found, FINE)}
        for name, shares in {**played, CENTRE: middle, POINT: anywhere}.items():
            rows.append({"on": kind, "name": name, **described(shares)})
    return rows


def described(shares: Shares) -> dict[str, Any]:
    """Return the figures of one row."""
    return {
        **summary(shares),
        "interval": rounded(macro_interval(list(shares.values()))),
        "class_intervals": {
            each: rounded(wilson_interval(float(of.sum()), len(of))) for each, of in shares.items()
        },
        "pictures": {each: len(of) for each, of in shares.items()},
    }


def table(scorings: Sequence[RsodScoring]) -> str:
    """Markdown of the figures that are there."""
    lines: list[list[str]] = []
    for scoring, split in product(scorings, (TRAIN, TEST)):
        content = read(scoring.test_file if split == TEST else scoring.record_file)
        for row in content["rows"] if content else ():
            low, high = row["interval"]
            count = sum(row["pictures"].values())
            lines.append(
                [scoring.name, f"{split}, {count} {row['on']}", row["name"]]
                + [f"{row['macro']:.1f} ({low:.1f} to {high:.1f})"]
                + [f"{row['classes'].get(name, float('nan')):.1f}" for name in WORDS]
            )
    head = ["Model", "RSOD", "Points at", "Macro", *WORDS.values()]
    return markdown_table(head, lines) if lines else "Not measured yet."


if __name__ == "__main__":
    run(main)
