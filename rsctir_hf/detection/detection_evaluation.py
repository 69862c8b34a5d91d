"""What a detector finds in pictures with known boxes, and how good that is."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from PIL import Image
from tqdm import tqdm
from transformers import PreTrainedModel

from rsctir_hf.detection.average_precision import Found, average_precisions
from rsctir_hf.detection.boxes import Boxes
from rsctir_hf.embedding.encode import evaluating


class TrueBoxes(Protocol):
    """A picture with the boxes that are known to be in it."""

    @property
    def image(self) -> Image.Image:
        """RGB."""

    @property
    def boxes(self) -> Boxes:
        """(N, 4) left, top, right, bottom in pixels."""

    @property
    def labels(self) -> np.ndarray:
        """(N,) class numbers."""


def evaluate_detection(
    model: PreTrainedModel,
    processor: Any,  # noqa: ANN401 - image processors share no typed base
    pictures: Sequence[TrueBoxes],
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
    for start in tqdm(starts, desc="Detecting", unit="batch", leave=False):
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
