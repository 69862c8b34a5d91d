"""How many objects of RSOD the default proposals find, against selective search and a grid.

    pip install -e ".[bench]"                                       # OpenCV with ximgproc
    python benchmarks/proposal_recall.py --data data/rsod           # RSOD train: layout of the grid
    git add results && git commit -m "Chosen on RSOD train: what the proposals are compared with"
    python benchmarks/proposal_recall.py --data data/rsod --test    # once

Recall: the share of a class's boxes that overlap one of a picture's 20 proposals with an IoU of
at least 0.5; macro: the mean over classes. Nothing is trained on RSOD, and the default proposals
have nothing to choose: they are those of the shipped GaLR model. Selective search runs in its fast
mode on the picture as it is (our choice: the other mode takes three times as long). The layout of
the grid is chosen on train, where selective search is left out; test is scored once.

Times are of the process's own processor on one thread, so that other programs on the machine do
not count: milliseconds per picture, all ways in turn on each picture. The default proposals are
timed from the picture on, and again from the maps that the image tower has made anyway. Speed, in
the same run: proposals and graph over the image tower's own forward pass.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from report import Task, read, rounded, run, timed
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
from torchvision.ops import box_iou
from tqdm import tqdm

from rsctir_hf.detection.boxed_sets import read_classes, read_split
from rsctir_hf.detection.crops import BoxedPicture
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.hub.card_tables import markdown_table
from rsctir_hf.loading.checks import weights_fingerprint
from rsctir_hf.models.galr.backbone_galr import run_backbone


@dataclass(frozen=True)
class Layout:
    """Boxes in columns and rows, evenly spread from edge to edge.

    Attributes:
        columns: across.
        rows: down.
        width: of a box, as a share of the picture's; 0 for boxes that just touch.
        height: the same of its height.
    """

    columns: int
    rows: int
    width: float = 0.0
    height: float = 0.0


MODEL = "galr-rs"
MEASURED = "proposal recall"
COUNT = 20  # boxes of a picture
LEAST_IOU = 0.5
RATIO_TARGET = 0.3
DEFAULT = "default proposals"
SELECTIVE = "selective search"
#: Layouts of the fixed grid; the best one on train is scored on test.
GRIDS: dict[str, tuple[Layout, ...]] = {
    "grid, 5 x 4": (Layout(5, 4),),
    "grid, 4 x 4 and 2 x 2": (Layout(4, 4), Layout(2, 2)),
    "grid, 5 x 4, overlapping thirds": (Layout(5, 4, 1 / 3, 1 / 3),),
}
Way = Callable[[Image.Image], Tensor]


@dataclass
class Tally:
    """What a way found so far.

    Attributes:
        found: for each class, the objects found of each picture that has some.
        objects: for each class, the objects of each of these pictures.
        milliseconds: of each picture.
        boxes: how many each picture got.
    """

    found: dict[str, list[int]] = field(default_factory=dict)
    objects: dict[str, list[int]] = field(default_factory=dict)
    milliseconds: list[float] = field(default_factory=list)
    boxes: list[int] = field(default_factory=list)

    def add(self, name: str, hits: Tensor) -> None:
        """Count a picture's objects (M,) of a class: found or not."""
        self.found.setdefault(name, []).append(int(hits.sum()))
        self.objects.setdefault(name, []).append(len(hits))

    def row(self, way: str) -> dict[str, Any]:
        """Summarise; shares in percent."""
        classes: dict[str, Any] = {}
        for name, found in self.found.items():
            total, hits = sum(self.objects[name]), sum(found)
            classes[name] = {
                "objects": total,
                "pictures": len(found),
                "recall": round(100 * hits / total, 2),
                "interval": rounded(wilson_interval(hits, total)),
            }
        macro = statistics.fmean(each["recall"] for each in classes.values())
        by_picture = [
            torch.tensor(self.found[name]) / torch.tensor(self.objects[name]) for name in classes
        ]
        return {
            "way": way,
            "macro": round(macro, 2),
            "classes": classes,
            "interval_over_pictures": rounded(macro_interval(by_picture)),
            "boxes": round(statistics.fmean(self.boxes), 2),
            "milliseconds": round(statistics.median(self.milliseconds), 2),
            "milliseconds_quartiles": rounded(np.percentile(self.milliseconds, [25, 75])),
        }


class DefaultProposals:
    """The shipped GaLR model's own proposals, and the time of each of their parts.

    Args:
        loaded: the model.

    Attributes:
        seconds: part -> processor seconds of each picture: ``tower`` (the backbone), ``proposals``
            (boxes from its maps), ``graph`` (proposals, RoI features and DREA from its maps).
    """

    def __init__(self, loaded: Encoder) -> None:
        self.encoder, self.model = loaded, cast(Any, loaded.model)
        self.seconds: dict[str, list[float]] = {"tower": [], "proposals": [], "graph": []}

    @torch.no_grad()
    def __call__(self, picture: Image.Image) -> Tensor:
        """Return boxes (N, 4) in pixels of the picture."""
        pixels, size = self._read(picture)
        branch = self.model.region_branch
        maps = self._timed("tower", lambda: self._maps(pixels))
        regions = self._timed("proposals", lambda: branch.find_regions(maps, size))
        scale = (picture.width / size[1], picture.height / size[0])
        return regions.boxes[0, regions.mask[0]] * torch.tensor(scale * 2)

    @torch.no_grad()
    def time_graph(self, picture: Image.Image) -> None:
        """Time proposals and graph together, from the tower's maps on."""
        pixels, size = self._read(picture)
        maps = self._maps(pixels)
        self._timed("graph", lambda: self.model.region_branch.find_graph(maps, size))

    def _read(self, picture: Image.Image) -> tuple[Tensor, tuple[int, int]]:
        pixels = self.encoder.inputs([picture])["pixel_values"]
        return pixels, (pixels.shape[-2], pixels.shape[-1])

    def _maps(self, pixels: Tensor) -> list[Tensor]:
        return run_backbone(self.model.backbone, pixels, self.model.config)[0]

    def _timed(self, part: str, work: Task) -> Any:  # noqa: ANN401
        seconds, result = timed(work, time.process_time)
        self.seconds[part].append(seconds)
        return result

    def speed(self) -> dict[str, Any]:
        """Medians in milliseconds, and the ratio of the graph to the tower over pictures."""
        ratios = np.array(self.seconds["graph"]) / np.array(self.seconds["tower"])
        return {
            **{
                f"{part}_milliseconds": round(1000 * statistics.median(seconds), 2)
                for part, seconds in self.seconds.items()
            },
            "ratio": round(
                statistics.median(self.seconds["graph"]) / statistics.median(self.seconds["tower"]),
                3,
            ),
            "ratio_quartiles": rounded(np.percentile(ratios, [25, 75]), 3),
            "target": RATIO_TARGET,
        }


def main(arguments: Sequence[str] | None = None) -> None:
    """Choose on train, or score on test."""
    options = rsod_flags(__doc__).parse_args(arguments)
    torch.set_num_threads(1)
    scoring, data = scoring_of(MODEL, MEASURED), Path(options.data)
    if options.test:
        score(scoring, data)
    else:
        choose(scoring, data, options.pictures)


def choose(scoring: RsodScoring, data: Path, most: int = 0) -> dict[str, Any]:
    """Measure what needs a choice on ``most`` pictures of each class of RSOD train (0: all)."""
    loaded = Encoder.from_pretrained(scoring.folder)
    refuse_choice_after_test(scoring)
    pictures = some_of_each_class(read_split(data, TRAIN), most)
    content = measure(loaded, data, pictures, [DEFAULT, *GRIDS])
    macro = {row["way"]: row["macro"] for row in content["rows"]}
    chosen = [DEFAULT, SELECTIVE, max(GRIDS, key=macro.__getitem__)]
    content |= {"chosen": chosen, "validation": [{"split": TRAIN, "macro": macro}]}
    write(scoring, TRAIN, content, weights=weights_fingerprint(loaded.model))
    return content


def score(scoring: RsodScoring, data: Path) -> dict[str, Any]:
    """Measure what was chosen on RSOD test, once; see ``score_test.chosen_record``."""
    loaded = Encoder.from_pretrained(scoring.folder)
    weights = weights_fingerprint(loaded.model)
    chosen = chosen_record(scoring, weights)["chosen"]
    content = measure(loaded, data, read_split(data, TEST), chosen)
    write(scoring, TEST, content, weights=weights)
    return content


def measure(
    loaded: Encoder, data: Path, pictures: Sequence[BoxedPicture], names: Sequence[str]
) -> dict[str, Any]:
    """Measure ways on pictures of RSOD, all of them on a picture before the next."""
    default = DefaultProposals(loaded)
    ways: dict[str, Way] = {name: way_of(name, default) for name in names}
    classes = read_classes(data)
    default(pictures[0].image)  # warms up
    default.time_graph(pictures[0].image)
    for spent in default.seconds.values():
        spent.clear()
    tallies = {name: Tally() for name in names}
    for picture in tqdm(pictures, desc="RSOD", unit="picture"):
        for name, way in ways.items():
            seconds, boxes = timed(partial(way, picture.image), time.process_time)
            tallies[name].milliseconds.append(1000 * seconds)
            count_found(tallies[name], picture, boxes, classes=classes)
        default.time_graph(picture.image)
    return {
        "pictures": len(pictures),
        "protocol": f"recall at IoU {LEAST_IOU}, {COUNT} boxes; processor time, one thread",
        "rows": [tally.row(name) for name, tally in tallies.items()],
        "speed": default.speed(),
    }


def way_of(name: str, default: DefaultProposals) -> Way:
    """Return a way by its name."""
    if name == DEFAULT:
        return default
    if name in GRIDS:
        return lambda picture: grid_boxes(picture.size, GRIDS[name])
    return selective_boxes


def count_found(
    tally: Tally, picture: BoxedPicture, boxes: Tensor, *, classes: Sequence[str]
) -> None:
    """Count which objects of a picture one of the first ``COUNT`` boxes (N, 4) finds."""
    boxes = boxes[:COUNT]
    tally.boxes.append(len(boxes))
    found = is_found(torch.from_numpy(picture.boxes), boxes)
    labels = torch.from_numpy(picture.labels)
    for label in labels.unique().tolist():
        tally.add(classes[label], found[labels == label])


def is_found(objects: Tensor, boxes: Tensor, least: float = LEAST_IOU) -> Tensor:
    """Tell for each of M objects (M, 4) whether one of the boxes (N, 4) overlaps it enough."""
    if not len(boxes):
        return torch.zeros(len(objects), dtype=torch.bool)
    return box_iou(objects.float(), boxes.float()).amax(dim=1) >= least


def grid_boxes(size: tuple[int, int], layouts: Sequence[Layout]) -> Tensor:
    """Return the boxes (N, 4) of some layouts in a picture of ``size`` (width, height)."""
    boxes = []
    for layout in layouts:
        across = _spread(size[0], layout.columns, layout.width)
        down = _spread(size[1], layout.rows, layout.height)
        boxes += [(left, top, right, bottom) for top, bottom in down for left, right in across]
    return torch.tensor(boxes)


def _spread(side: int, count: int, share: float) -> list[tuple[float, float]]:
    """Return starts and ends of ``count`` stretches of a side."""
    length = side * (share or 1 / count)
    starts = torch.linspace(0, side - length, count).tolist()
    return [(start, start + length) for start in starts]


def selective_boxes(picture: Image.Image) -> Tensor:
    """Return the first ``COUNT`` boxes of OpenCV's selective search (Uijlings et al. 2013).

    In its own order, which draws a random number; OpenCV's generator is seeded for it. Its
    contributed modules come with the extra ``bench``.
    """
    cv2: Any = import_module("cv2")  # the rest of this module runs without
    cv2.setNumThreads(1)
    cv2.setRNGSeed(0)
    search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(np.asarray(picture.convert("RGB"))[..., ::-1].copy())
    search.switchToSelectiveSearchFast()
    found = np.asarray(search.process()[:COUNT], dtype=np.float32).reshape(-1, 4)
    return torch.from_numpy(np.concatenate((found[:, :2], found[:, :2] + found[:, 2:]), axis=1))


def table(scoring: RsodScoring) -> str:
    """Markdown of the figures that are there."""
    lines: list[list[str]] = []
    notes: list[str] = []
    for split, file in ((TRAIN, scoring.record_file), (TEST, scoring.test_file)):
        content = read(file)
        if content is None:
            continue
        names = list(content["rows"][0]["classes"])
        lines = lines or [["Way", "Split", "Macro", *names, "ms per picture"]]
        lines += [cells(row, split) for row in content["rows"]]
        notes.append(speed_note(content, split))
    if not lines:
        return "Not measured yet."
    return "\n".join([markdown_table(lines[0], lines[1:]), "", *notes])


def cells(row: Mapping[str, Any], split: str) -> list[str]:
    """Cells of one row."""
    low, high = row["milliseconds_quartiles"]
    classes = [
        f"{each['recall']:.1f} ({each['interval'][0]:.1f} to {each['interval'][1]:.1f})"
        for each in row["classes"].values()
    ]
    milliseconds = f"{row['milliseconds']:.1f} ({low:.1f} to {high:.1f})"
    return [row["way"], split, f"{row['macro']:.1f}", *classes, milliseconds]


def speed_note(content: Mapping[str, Any], split: str) -> str:
    """Say what the graph costs beside the tower."""
    speed = content["speed"]
    met = "met" if speed["ratio"] <= speed["target"] else "missed"
    low, high = speed["ratio_quartiles"]
    return (
        f"- RSOD {split}, {content['pictures']} pictures: image tower "
        f"{speed['tower_milliseconds']:.1f} ms, proposals from its maps "
        f"{speed['proposals_milliseconds']:.1f} ms, proposals and graph "
        f"{speed['graph_milliseconds']:.1f} ms: ratio {speed['ratio']:.2f} (quartiles {low:.2f} to "
        f"{high:.2f}), target {speed['target']} {met}."
    )


if __name__ == "__main__":
    run(main)
