"""Is the region that is shown as the reason of a result one? Take it out and see.

    python benchmarks/deletion_test.py --data data/ucm_captions             # all subjects
    python benchmarks/deletion_test.py --data data/ucm_captions --queries 60

For captions of UCM-Captions validation the best picture of the split is found, and the region of
it with the largest contribution (``rsctir_hf.regions.contribution``): a node of GaLR's graph, or a
box of GaLR's default proposals whose cells GaLR, or whose tokens a CMPAGL-style model, leaves out
(the subjects ``galr-rs``, ``galr-rs, boxes`` and ``cmpagl-rs, boxes``). For the subjects
``galr-rs, heat map`` and ``cmpagl-rs, heat map`` it is the box around the peak of the query's heat
map, which is made of windows of the picture and takes nothing out. Target: taking it out lowers
the score more than taking another one of its size out, in 80 % of the results. Four readings:

- *as named*: in the model, as contributions are measured. The top region is the one whose removal
  lowers the score most, so it wins by definition, save for ties. This says nothing.
- *another region, in the picture*: the pixels under the top region are replaced, the picture is
  embedded anew, and the same is done with another region of the picture, drawn among those whose
  area is nearest (half to twice the top one's, where there are such).
- *elsewhere, in the picture*: the same against the very same box at a random place whose centre is
  outside the top region.

- *ranked by blur, as named*: the other way round. The top region is the one whose blurred pixels
  cost most, and what is compared is what the model loses without it.

The rankings never use the fill that they are tested with; a heat map has the third reading only.

Pixels are replaced by the mean colour (``grey``, zero after normalisation) and by a blurred copy
(``blur``). The last two readings see the picture as the model does, and nothing there favours the
top region beyond what its contribution says. Nothing is chosen here, and validation is not test.
Results are independent draws of captions, but the same picture can answer several: intervals are
bootstrapped over pictures.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from report import CHECKPOINTS, RESULTS, flags, read, rounded, run, save, settings
from rsod_scoring import wilson_interval
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur
from tqdm import tqdm

from rsctir_hf.data.benchmarks import load_benchmark
from rsctir_hf.embedding.encode import evaluating
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.files.pictures import read_image
from rsctir_hf.hub.card_tables import markdown_table
from rsctir_hf.loading.checks import weights_fingerprint
from rsctir_hf.regions.contribution import Contributions, box_contributions, node_contributions
from rsctir_hf.search.confidence import typical_sentences
from rsctir_hf.search.heat import Looks, SharedBox, look_at

NODES, BOXES, HEAT = "nodes", "boxes", "heat map"
#: Subject -> model, and what its regions are.
SUBJECTS = {
    "galr-rs": ("galr-rs", NODES),
    "galr-rs, boxes": ("galr-rs", BOXES),
    "galr-rs, heat map": ("galr-rs", HEAT),
    "cmpagl-rs, boxes": ("cmpagl-rs", BOXES),
    "cmpagl-rs, heat map": ("cmpagl-rs", HEAT),
}
REGION_MODEL = "galr-rs"  # whose default proposals a model without regions is asked about
FILE = RESULTS / "deletion_test.json"
QUERIES = 200
SEED = 0
TARGET = 80.0
FILLS = ("grey", "blur")
TURNED = "ranked by blur, as named"
NAMED, OTHER, ELSEWHERE = "as named", "another region, in the picture", "elsewhere, in the picture"
BLUR_KERNEL, BLUR_SIGMA = 41, 12.0  # pixels of the model input
ALIKE = (0.5, 2.0)  # times the top region's area
RESAMPLES = 10_000

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Rivals:
    """What the top region is compared with; positions among the regions, boxes in pixels.

    Attributes:
        top: position of the region with the largest contribution.
        other: position of another region of like area.
        elsewhere: (4,) the top region's box at a random place.
    """

    top: int
    other: int
    elsewhere: Tensor


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all subjects, print and write."""
    parser = flags(__doc__, FILE.name)
    parser.add_argument("--data", required=True, help="folder or Hub id of UCM-Captions")
    parser.add_argument("--queries", type=int, default=QUERIES, help="distinct captions")
    parser.add_argument("--subjects", nargs="+", default=list(SUBJECTS), choices=list(SUBJECTS))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    pictures, captions = read_validation(options.data, options.queries)
    for subject in options.subjects:
        found = measure(subject, pictures, captions)
        keep(options.output, found)
        print(table({"subjects": [found]}))


def read_validation(data: str, count: int) -> tuple[list[Any], list[str]]:
    """Return the pictures of the split, and ``count`` of its distinct captions, drawn."""
    rows = load_benchmark("ucm", data, split="validation", complete=False)
    captions = sorted({caption for row in rows for caption in row["captions"]})
    drawn = np.random.default_rng(SEED).permutation(len(captions))[:count]
    return [read_image(row["image"]) for row in rows], [captions[row] for row in sorted(drawn)]


def measure(subject: str, pictures: Sequence[Any], captions: Sequence[str]) -> dict[str, Any]:
    """Take the top region out of the best picture of each caption.

    Returns:
        ``results``, a row for each caption whose picture has two regions to compare, and their
        summary.
    """
    name, kind = SUBJECTS[subject]
    loaded = Encoder.from_pretrained(CHECKPOINTS / name)
    proposer = Encoder.from_pretrained(CHECKPOINTS / REGION_MODEL) if kind == BOXES else None
    vectors = loaded.images(pictures).vectors
    queries = loaded.texts(captions)
    best = (queries @ vectors.T).argmax(dim=1).tolist()
    generator = torch.Generator().manual_seed(SEED)
    average = loaded.texts(typical_sentences()).mean(dim=0)
    looks: dict[int, Looks] = {}
    row: dict[str, Any] | None
    rows = []
    for query, picture in zip(tqdm(queries, desc=subject, unit="result"), best, strict=True):
        if kind == HEAT:
            looks[picture] = looks.get(picture) or look_at(loaded, pictures[picture])
            box = looks[picture].heat(query - average).box
            row = take_out_box(loaded, pictures[picture], box, query, generator)
        else:
            row = take_out(loaded, proposer, pictures[picture], query, generator)
        if row is not None:
            rows.append({"picture": picture, **row})
    return {
        "subject": subject,
        "model": name,
        "model_revision": f"weights:{weights_fingerprint(loaded.model)}",
        "regions": f"default proposals of {REGION_MODEL}" if kind == BOXES else kind,
        "data": "ucm",
        "split": "validation",
        "seed": SEED,
        "queries": len(captions),
        "pictures": len({row["picture"] for row in rows}),
        "readings": list(summaries(rows)),
        "results": rows,
        "settings": settings(),
    }


def take_out(
    loaded: Encoder,
    proposer: Encoder | None,
    picture: Any,  # noqa: ANN401 - a PIL picture
    query: Tensor,
    generator: torch.Generator,
) -> dict[str, Any] | None:
    """Return how far the score falls without the top region and without its rivals.

    Of the nodes, or, with a ``proposer``, of what lies under its default proposals. None where
    the picture has fewer than two regions that the model used.
    """
    with evaluating(loaded.model):
        inputs = loaded.inputs([picture])
        pixels = inputs["pixel_values"]
        if proposer is None:
            found = node_contributions(loaded.model, inputs, query)
        else:
            boxes = proposals(proposer, picture)
            found = box_contributions(loaded.model, pixels, query, boxes=boxes)
        if int(found.kept.sum()) < 2:
            return None
        rivals = rivals_of(found, (pixels.shape[-1], pixels.shape[-2]), generator)
        taken = torch.stack([found.boxes[rivals.top], found.boxes[rivals.other], rivals.elsewhere])
        views = torch.cat([without(pixels, taken, fill) for fill in FILLS])  # (3 * fills, 3, H, W)
        model: Any = loaded.model
        vectors = model.get_image_features(views).pooler_output.float()
        scores = (vectors @ query).unflatten(0, (len(FILLS), -1))
        blurred = model.get_image_features(without(pixels, found.boxes, "blur")).pooler_output
    drops = float(found.whole[0]) - scores  # (fills, 3): top, other, elsewhere
    row: dict[str, Any] = {NAMED: rounded(found.values[[rivals.top, rivals.other], 0].tolist(), 5)}
    by_blur = replace(found, masked=(blurred.float() @ query)[:, None])
    turned = rivals_of(by_blur, (pixels.shape[-1], pixels.shape[-2]), generator)
    row[TURNED] = rounded(found.values[[turned.top, turned.other], 0].tolist(), 5)
    for fill, (top, other, elsewhere) in zip(FILLS, drops.tolist(), strict=True):
        row[f"{OTHER}, {fill}"] = rounded((top, other), 5)
        row[f"{ELSEWHERE}, {fill}"] = rounded((top, elsewhere), 5)
    return row


def take_out_box(
    loaded: Encoder,
    picture: Any,  # noqa: ANN401 - a PIL picture
    box: SharedBox,
    query: Tensor,
    generator: torch.Generator,
) -> dict[str, Any]:
    """Return how far the score falls without a box, and without one of its size elsewhere.

    Args:
        loaded: the model.
        picture: RGB.
        box: in shares of it.
        query: (D,).
        generator: of the draws.
    """
    pixels = loaded.inputs([picture])["pixel_values"]
    size = (pixels.shape[-1], pixels.shape[-2])
    top = torch.tensor(box) * torch.tensor(size * 2)
    taken = torch.stack([torch.zeros(4), top, moved_away(top, size, generator)])
    row = {}
    with evaluating(loaded.model):
        model: Any = loaded.model
        for fill in FILLS:
            vectors = model.get_image_features(without(pixels, taken, fill)).pooler_output
            whole, *left = (vectors.float() @ query).tolist()  # an empty box takes nothing
            row[f"{ELSEWHERE}, {fill}"] = rounded([whole - score for score in left], 5)
    return row


def proposals(proposer: Encoder, picture: Any) -> Tensor:  # noqa: ANN401 - a PIL picture
    """Return a GaLR model's default proposals (N, 4) in pixels of its input, strongest first."""
    model: Any = proposer.model
    graph = model.get_region_graph(**Encoder(model, proposer.processor).inputs([picture]))
    return graph.boxes[0, graph.mask[0]]


def rivals_of(found: Contributions, size: tuple[int, int], generator: torch.Generator) -> Rivals:
    """Draw what the top region is compared with.

    Args:
        found: contributions to one query; at least two regions that the model used.
        size: (width, height) of the model input.
        generator: of the draws.
    """
    used = found.kept.nonzero()[:, 0].tolist()
    top = next(row for row in found.ranking() if row in used)
    areas = (found.boxes[:, 2:] - found.boxes[:, :2]).prod(dim=1)
    others = [row for row in used if row != top]
    ratio = areas / areas[top]
    alike = [row for row in others if ALIKE[0] <= float(ratio[row]) <= ALIKE[1]]
    nearest = min(others, key=lambda row: float(ratio[row].log().abs()))
    pool = alike or [nearest]
    other = pool[int(torch.randint(len(pool), (1,), generator=generator))]
    return Rivals(top, other, moved_away(found.boxes[top], size, generator))


def moved_away(box: Tensor, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Return a box (4,) of the same size inside the picture with its centre outside of ``box``.

    The farthest corner of the picture where no such place is drawn.
    """
    sides = box[2:] - box[:2]
    room = torch.tensor(size, dtype=box.dtype) - sides
    centre = (box[:2] + box[2:]) / 2
    for _ in range(100):
        corner = torch.rand(2, generator=generator) * room
        if not bool(((corner + sides / 2 - centre).abs() <= sides / 2).all()):
            return torch.cat([corner, corner + sides])
    corner = torch.where(box[:2] > room / 2, torch.zeros(2), room)
    return torch.cat([corner, corner + sides])


def without(pixels: Tensor, boxes: Tensor, fill: str) -> Tensor:
    """Return the picture (1, 3, H, W) V times, the pixels under each of the boxes (V, 4) replaced.

    A pixel is under a box that covers its centre.
    """
    height, width = pixels.shape[-2:]
    replaced = torch.zeros_like(pixels)  # the mean colour: pixels are normalised
    if fill == "blur":
        replaced = gaussian_blur(pixels, [BLUR_KERNEL] * 2, [BLUR_SIGMA] * 2)
    x, y = torch.arange(width) + 0.5, torch.arange(height) + 0.5
    left, top, right, bottom = boxes.cpu().unsqueeze(2).unbind(dim=1)  # each (V, 1)
    across, down = (x >= left) & (x < right), (y >= top) & (y < bottom)
    under = (down.unsqueeze(2) & across.unsqueeze(1)).unsqueeze(1).to(pixels.device)  # (V, 1, H, W)
    return torch.where(under, replaced, pixels)


def summaries(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Yield for each reading the share of results in which the top region's removal costs more."""
    pictures = torch.tensor([row["picture"] for row in rows])
    for reading in [key for key in rows[0] if key != "picture"]:
        drops = torch.tensor([row[reading] for row in rows])  # (R, 2)
        won = drops[:, 0] > drops[:, 1]
        yield {
            "reading": reading,
            "share": round(100 * float(won.float().mean()), 2),
            "wilson": rounded(wilson_interval(int(won.sum()), len(won))),
            "by_picture": rounded(clustered_interval(won, pictures)),
            "drop_top": round(float(drops[:, 0].mean()), 5),
            "drop_rival": round(float(drops[:, 1].mean()), 5),
            "results": len(rows),
            "met": bool(won.float().mean() * 100 >= TARGET),
        }


def clustered_interval(won: Tensor, pictures: Tensor) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a share (R,) in percent; pictures are drawn."""
    _, cluster = pictures.unique(return_inverse=True)
    count = int(cluster.max()) + 1
    wins = torch.zeros(count).index_add(0, cluster, won.float())
    sizes = torch.zeros(count).index_add(0, cluster, torch.ones(len(won)))
    generator = torch.Generator().manual_seed(SEED)
    drawn = torch.randint(count, (RESAMPLES, count), generator=generator)
    shares = 100 * wins[drawn].sum(dim=1) / sizes[drawn].sum(dim=1)
    low, high = shares.quantile(torch.tensor([0.025, 0.975]))
    return float(low), float(high)


def keep(file: Path, found: Mapping[str, Any]) -> None:
    """Put a subject's figures into the results file, in the place of its earlier ones."""
    kept = (read(file) or {"subjects": []})["subjects"]
    kept = [*(each for each in kept if each["subject"] != found["subject"]), dict(found)]
    kept.sort(key=lambda each: list(SUBJECTS).index(each["subject"]))
    save(file, {"target": TARGET, "subjects": kept}, quiet=True)


def table(content: Mapping[str, Any] | None) -> str:
    """Markdown of the figures that are there."""
    if content is None:
        return "Not measured yet."
    head = ["Subject", "Reading", "Top region costs more", "Mean fall, top / rival", "Results"]
    rows = [
        [
            found["subject"],
            each["reading"],
            "{:.1f} % ({:.1f} to {:.1f})".format(each["share"], *each["by_picture"]),
            f"{each['drop_top']:.4f} / {each['drop_rival']:.4f}",
            f"{each['results']}, {found['pictures']} pictures",
        ]
        for found in content["subjects"]
        for each in found["readings"]
    ]
    return markdown_table(head, rows)


if __name__ == "__main__":
    run(main)
