"""Does the region with the largest contribution to a word lie on what the word names?

    python benchmarks/pointing_game.py --data data/rsod          # RSOD train: all ways, choice
    git add results && git commit -m "Chosen on RSOD train: how the pointing game is played"
    python benchmarks/pointing_game.py --data data/rsod --test   # once

Both shipped models, default proposals, nothing trained on RSOD. For each picture and each class in
it ("airplane", "storage tank", "overpass", "playground") the region with the largest contribution
is taken; a hit is a centre inside a box of that class (Zhang et al., ECCV 2016, with our regions
in the place of a map's maximum). The figure is the share of hits of each class, and their mean
(macro).

A way of playing is how the class is worded, whether the score is the cosine itself or the cosine
beyond that with an average caption, what is left out (a node of GaLR's graph, or what lies under a
box), and what the contribution is divided by. The best macro on train is chosen for each model,
once among the ways with default proposals and once with finer ones too: those of the same function
on the same model's maps, but of strides 8 and 16 instead of 16 and 32, squares of 5 cells (our
choice on train, from a first look at 30 pictures of it). Test is scored once, with these two ways,
with the app's own (the word alone, the plain contribution) and with what was best on train for the
word alone, its plain cosine and default proposals. Beside them, in the same run:

- a random proposal of each kind and a random point of the picture: the expected share of hits;
- the image's centre;
- patch similarity: the centre of the cell of the image tower's map that is nearest to the text
  (``patch_similarity``), wording and grid chosen on train as well.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import torch
from patch_similarity import cell_features
from pointing import (
    BEYOND,
    BOX,
    COSINE,
    DIVISORS,
    FINER,
    NODE,
    WORDINGS,
    Asking,
    Game,
    Seen,
    Way,
    askings,
    best,
    summary,
)
from report import CHECKPOINTS, read, rounded, run
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
from rsctir_hf.models.galr.backbone_galr import run_backbone
from rsctir_hf.models.galr.regions_galr import propose_regions
from rsctir_hf.regions.contribution import (
    BoxMaskingModel,
    NodeMaskingModel,
    box_contributions,
    node_contributions,
)
from rsctir_hf.sample import read_caption_bank

MODELS = ("galr-rs", "cmpagl-rs")
REGION_MODEL = "galr-rs"  # whose default proposals both are asked about
MEASURED = "pointing game"
TARGET = 50.0
#: What RSOD's classes are called in a query.
WORDS = {
    "aircraft": "airplane",
    "oil tank": "storage tank",
    "overpass": "overpass",
    "playground": "playground",
}
GRID_SIDES = (7, 14)
CHOSEN, PLAIN, PATCH = "chosen on train", "as in the app", "patch similarity"
WORD_ALONE = "best for the word alone"
FINER_CHOSEN = "chosen, finer proposals too"
PROPOSAL, FINER_PROPOSAL = "a random proposal", "a random finer proposal"
POINT, CENTRE = "a random point", "the image's centre"
FINER_LEVELS, FINER_CELLS = (1, 2), 5  # of the region model's maps; box side in cells
EVERY = 8  # sentence of the caption bank counts for the average one


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
    """Play all ways on ``most`` pictures of each class of RSOD train (0: all), and choose.

    Raises:
        ScoringRefusedError: test has been scored: the choice stands.
    """
    refuse_choice_after_test(scoring)
    loaded = Encoder.from_pretrained(scoring.folder)
    pictures = some_of_each_class(read_split(data, TRAIN), most)
    game = look(loaded, pictures, read_classes(data), list(askings()))
    ways = {way: summary(game.play(way)) for way in ways_of(loaded)}
    patches = {each: summary(game.play_patches(*each)) for each in product(askings(), GRID_SIDES)}
    default = {way: found for way, found in ways.items() if way.masked != FINER}
    chosen, finer, patch = best(default), best(ways), best(patches)
    content = {
        "pictures": len(pictures),
        "chosen": asdict(chosen),
        "chosen_finer": asdict(finer),
        "chosen_patch": {"asking": asdict(patch[0]), "side": patch[1]},
        "rows": rows_of(
            game, {PLAIN: plain_way(loaded), CHOSEN: chosen, FINER_CHOSEN: finer}, patch
        ),
        "validation": [
            *({**asdict(way), **found} for way, found in ways.items()),
            *(
                {"asking": asdict(asking), "patch_side": side, **found}
                for (asking, side), found in patches.items()
            ),
        ],
    }
    write(scoring, TRAIN, content, weights=weights_fingerprint(loaded.model))
    return content


def score(scoring: RsodScoring, data: Path) -> dict[str, Any]:
    """Play the chosen way on RSOD test, once; see ``score_test.chosen_record``."""
    loaded = Encoder.from_pretrained(scoring.folder)
    weights = weights_fingerprint(loaded.model)
    record = chosen_record(scoring, weights)
    chosen, finer = way_from(record["chosen"]), way_from(record["chosen_finer"])
    patch = Asking(**record["chosen_patch"]["asking"]), int(record["chosen_patch"]["side"])
    pictures = read_split(data, TEST)
    plain = plain_way(loaded)
    word = best_for(plain.asking, record["validation"])
    ways = {PLAIN: plain, WORD_ALONE: word, CHOSEN: chosen, FINER_CHOSEN: finer}
    asked = list(dict.fromkeys([*(way.asking for way in ways.values()), patch[0]]))
    game = look(loaded, pictures, read_classes(data), asked)
    content = {
        "pictures": len(pictures),
        **{key: record[key] for key in ("chosen", "chosen_finer", "chosen_patch")},
        "best_for_the_word": asdict(word),
        "target": TARGET,
        "rows": rows_of(game, ways, patch),
    }
    write(scoring, TEST, content, weights=weights)
    return content


def way_from(record: Mapping[str, Any]) -> Way:
    """Return a way as a record holds it."""
    return Way(**{**record, "asking": Asking(**record["asking"])})


def best_for(asking: Asking, validation: Sequence[Mapping[str, Any]]) -> Way:
    """Return the best recorded way of one asking with default proposals."""
    keys = ("asking", "masked", "divisor")
    played = {
        way_from({key: row[key] for key in keys}): row
        for row in validation
        if row.get("masked") in (NODE, BOX) and row["asking"] == asdict(asking)
    }
    return best(played)


def ways_of(loaded: Encoder) -> Iterator[Way]:
    """Yield every way a model can play."""
    for masked, asking, divisor in product(maskings_of(loaded), askings(), DIVISORS):
        yield Way(asking, masked, divisor)


def maskings_of(loaded: Encoder) -> list[str]:
    """Return what a model can leave out, the app's own first."""
    found = {
        NODE: isinstance(loaded.model, NodeMaskingModel),
        BOX: isinstance(loaded.model, BoxMaskingModel),
        FINER: isinstance(loaded.model, BoxMaskingModel),
    }
    return [name for name, able in found.items() if able]


def plain_way(loaded: Encoder) -> Way:
    """Return what the app shows for a word: its plain contribution."""
    return Way(Asking("word", COSINE), maskings_of(loaded)[0], "nothing")


@torch.no_grad()
def look(
    loaded: Encoder,
    pictures: Sequence[BoxedPicture],
    classes: Sequence[str],
    asked: Sequence[Asking],
) -> Game:
    """Compute what all ways need of each picture and class."""
    queries = query_vectors(loaded, classes, asked)
    own = isinstance(loaded.model, NodeMaskingModel)
    proposer = loaded if own else Encoder.from_pretrained(CHECKPOINTS / REGION_MODEL)
    seen: dict[str, list[Seen]] = {}
    for picture in tqdm(pictures, desc=Path(loaded.id).name, unit="picture"):
        for label in sorted(set(picture.labels.tolist())):
            objects = torch.from_numpy(picture.boxes[picture.labels == label]).float()
            name = classes[label]
            found = look_at(loaded, proposer, picture, objects, queries[name])
            seen.setdefault(name, []).append(found)
    return Game(tuple(asked), seen)


def query_vectors(
    loaded: Encoder, classes: Sequence[str], asked: Sequence[Asking]
) -> dict[str, Tensor]:
    """Return the vectors (A, D) that each class is asked for with."""
    average = torch.zeros(())
    if any(each.score == BEYOND for each in asked):
        average = embed(loaded, read_caption_bank()[::EVERY]).mean(dim=0)
    vectors = {}
    for name in classes:
        word = WORDS.get(name, name)
        rows = []
        for each in asked:
            sentences = [form.format(word) for form in WORDINGS[each.wording]]
            query = F.normalize(embed(loaded, sentences).mean(dim=0), dim=0)
            rows.append(query - average if each.score == BEYOND else query)
        vectors[name] = torch.stack(rows)
    return vectors


def embed(loaded: Encoder, sentences: Sequence[str]) -> Tensor:
    """Unit vectors (C, D) of sentences."""
    return loaded.texts(sentences)


def look_at(
    loaded: Encoder,
    proposer: Encoder,
    picture: BoxedPicture,
    objects: Tensor,
    queries: Tensor,
) -> Seen:
    """Compute the contributions to queries (A, D), and the cells' cosines with them."""
    inputs = loaded.inputs([picture.image])
    pixels = inputs["pixel_values"]
    size = (pixels.shape[-1], pixels.shape[-2])
    found = {}
    if isinstance(loaded.model, NodeMaskingModel):
        found[NODE] = node_contributions(loaded.model, inputs, queries)
    if isinstance(loaded.model, BoxMaskingModel):
        for name, boxes in proposals(proposer, picture).items():
            found[name] = box_contributions(loaded.model, pixels, queries, boxes=boxes)
    cells = cell_features(loaded.model, pixels, GRID_SIDES)
    scale = (size[0] / picture.image.width, size[1] / picture.image.height)
    cosines = {side: vectors @ queries.T for side, vectors in cells.items()}
    return Seen(objects * torch.tensor(scale * 2), found, cosines, size)


def proposals(proposer: Encoder, picture: BoxedPicture) -> dict[str, Tensor]:
    """Return a GaLR model's proposals, ``BOX`` the default ones and ``FINER``.

    Each (N, 4), strongest first, in pixels of its input.
    """
    model: Any = proposer.model
    config = model.config
    pixels = Encoder(model, proposer.processor).inputs([picture.image])["pixel_values"]
    size = (pixels.shape[-2], pixels.shape[-1])
    maps, _ = run_backbone(model.backbone, pixels, config)
    found = {
        BOX: model.region_branch.find_regions(maps, size),
        FINER: propose_regions(
            [maps[level] for level in FINER_LEVELS],
            image_size=size,
            count=config.max_regions,
            cells=FINER_CELLS,
            max_iou=config.proposal_iou,
        ),
    }
    return {name: regions.boxes[0, regions.mask[0]] for name, regions in found.items()}


def rows_of(game: Game, ways: Mapping[str, Way], patch: tuple[Asking, int]) -> list[dict[str, Any]]:
    """Return a row for each way and each thing it competes with, with intervals.

    Args:
        game: what was computed.
        ways: by the names of their rows.
        patch: query and grid of the patch similarity.
    """
    played = {
        **{name: game.play(way) for name, way in ways.items()},
        PROPOSAL: game.expect_proposal(ways[PLAIN].masked),
        FINER_PROPOSAL: game.expect_proposal(FINER),
        POINT: game.expect_point(),
        CENTRE: game.play_centre(),
        PATCH: game.play_patches(*patch),
    }
    return [
        {
            "name": name,
            **summary(shares),
            "interval": rounded(macro_interval(list(shares.values()))),
            "class_intervals": {
                each: rounded(wilson_interval(float(of.sum()), len(of)))
                for each, of in shares.items()
            },
            "pictures": {each: len(of) for each, of in shares.items()},
        }
        for name, shares in played.items()
    ]


def table(scorings: Sequence[RsodScoring]) -> str:
    """Markdown of the figures that are there."""
    lines: list[list[str]] = []
    for scoring, split in product(scorings, (TRAIN, TEST)):
        content = read(scoring.test_file if split == TEST else scoring.record_file)
        if content is None:
            continue
        names = list(content["rows"][0]["classes"])
        lines = lines or [["Model", "RSOD", "Points at", "Macro", *(WORDS[n] for n in names)]]
        lines += [
            cells_of(row, scoring.name, f"{split}, {content['pictures']}")
            for row in content["rows"]
        ]
    return markdown_table(lines[0], lines[1:]) if lines else "Not measured yet."


def cells_of(row: Mapping[str, Any], model: str, split: str) -> list[str]:
    """Cells of one row."""
    low, high = row["interval"]
    shares = [f"{value:.1f}" for value in row["classes"].values()]
    return [model, split, row["name"], f"{row['macro']:.1f} ({low:.1f} to {high:.1f})", *shares]


if __name__ == "__main__":
    run(main)
