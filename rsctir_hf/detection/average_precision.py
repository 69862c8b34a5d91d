"""What a detector finds in pictures with known boxes, and its average precision.

It is counted as the PASCAL VOC challenge does since 2010. A detection is right where its
best-overlapping true box of that class and picture overlaps it by at least the threshold and no
stronger detection has taken that box. AP is the area under precision over recall, with precision
made to fall only (every point of the curve, not eleven).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.ops import box_iou
from tqdm import tqdm
from transformers import PreTrainedModel

from rsctir_hf.detection.crops import BoxedPicture, Boxes
from rsctir_hf.embedding.encode import evaluating

IOU = 0.5


@dataclass(frozen=True)
class Found:
    """Boxes of one picture.

    Attributes:
        boxes: (N, 4) left, top, right, bottom in pixels.
        labels: (N,) class numbers.
        scores: (N,) confidence; ``None`` for true boxes.
    """

    boxes: Boxes
    labels: NDArray[np.int64]
    scores: NDArray[np.float32] | None = None


def evaluate_detection(
    model: PreTrainedModel,
    processor: Any,  # noqa: ANN401 - image processors share no typed base
    pictures: Sequence[BoxedPicture],
    *,
    batch_size: int = 8,
) -> dict[str, float]:
    """Return ``mAP50`` and ``AP50_NAME`` of each class over whole pictures, in percent.

    Args:
        model: any detector of transformers; its ``id2label`` names the classes of ``pictures``.
        processor: its image processor.
        pictures: with true boxes.
        batch_size: pictures run together.
    """
    names: Any = model.config.id2label
    classes = [names[number] for number in range(len(names))]
    images = [each.image for each in pictures]
    found = list(detect(model, processor, images, batch_size=batch_size))
    true = [Found(each.boxes, each.labels) for each in pictures]
    return average_precisions(found, true, classes=classes)


def detect(
    model: PreTrainedModel,
    processor: Any,  # noqa: ANN401
    images: Sequence[Image.Image],
    *,
    batch_size: int = 8,
    threshold: float = 0.0,
) -> Iterator[Found]:
    """Yield the boxes found in each picture, in its own pixels.

    Args:
        model: any detector of transformers.
        processor: its image processor.
        images: RGB pictures of any size.
        batch_size: pictures run together.
        threshold: weaker boxes are left out.
    """
    starts = range(0, len(images), batch_size)
    for start in tqdm(starts, desc="Detecting", unit="batch", leave=False, disable=None):
        batch = list(images[start : start + batch_size])
        inputs = processor(images=batch, return_tensors="pt").to(model.device)
        sizes = [(image.height, image.width) for image in batch]
        with evaluating(model):
            outputs = model(**inputs)
        for found in processor.post_process_object_detection(
            outputs, threshold=threshold, target_sizes=sizes
        ):
            yield Found(
                found["boxes"].float().cpu().numpy(),
                found["labels"].cpu().numpy(),
                found["scores"].float().cpu().numpy(),
            )


def average_precisions(
    found: Sequence[Found], true: Sequence[Found], *, classes: Sequence[str]
) -> dict[str, float]:
    """Score detections against the truth.

    Args:
        found: detections of each picture, with scores.
        true: true boxes of the same pictures.
        classes: names; a label is a place in it.

    Returns:
        In percent: ``AP50_NAME`` of each class that has true boxes, and ``mAP50``, their mean.

    Raises:
        ValueError: if the lists differ in length, or there is no true box at all.
    """
    if len(found) != len(true):
        raise ValueError(f"{len(found)} pictures with detections, {len(true)} with true boxes.")
    scores = {}
    for label, name in enumerate(classes):
        count = sum(int((each.labels == label).sum()) for each in true)
        if count:
            strength, right = judged(found, true, label)
            scores[f"AP50_{name}"] = 100 * area_under(strength, right, count)
    if not scores:
        raise ValueError("There is no true box in any picture: average precision has no meaning.")
    return {"mAP50": fmean(scores.values()), **scores}


def judged(
    found: Sequence[Found], true: Sequence[Found], label: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return score and rightness (D,) of all detections of one class."""
    strengths = [np.zeros(0, np.float32)]
    rights = [np.zeros(0, bool)]
    for each, truth in zip(found, true, strict=True):
        mine = each.labels == label
        scores = np.zeros(0, np.float32) if each.scores is None else each.scores[mine]
        order = np.argsort(-scores, kind="stable")
        boxes = each.boxes[mine][order]
        rights.append(right_ones(boxes, truth.boxes[truth.labels == label]))
        strengths.append(scores[order])
    return np.concatenate(strengths), np.concatenate(rights)


def right_ones(boxes: Boxes, truth: Boxes) -> NDArray[np.bool_]:
    """Say which boxes (N, 4), strongest first, find a true box (M, 4) nobody has found."""
    right = np.zeros(len(boxes), bool)
    if len(truth) and len(boxes):
        iou = box_iou(torch.from_numpy(boxes), torch.from_numpy(truth))
        overlap = iou.nan_to_num(0).numpy()  # (N, M); boxes without area have no union
        best = overlap.argmax(axis=1)
        taken: set[int] = set()
        for place, target in enumerate(best.tolist()):
            right[place] = overlap[place, target] >= IOU and target not in taken
            if right[place]:
                taken.add(target)
    return right


def area_under(scores: NDArray[np.float32], right: NDArray[np.bool_], count: int) -> float:
    """Return the average precision in 0..1.

    Args:
        scores: (D,) of the detections.
        right: (D,) which of them are right.
        count: number of true boxes.
    """
    right = right[np.argsort(-scores, kind="stable")]
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(right) + 1)
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    return float(falling[right].sum() / count)  # recall grows by 1 / count at each right one
