"""Processor of the CMPAGL-style model: pictures to pixels, sentences to token ids."""

import base64
import json
from collections.abc import Sequence
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import (
    BatchFeature,
    PreTrainedTokenizerBase,
    ProcessorMixin,
    ViTImageProcessor,
)
from transformers.image_utils import PILImageResampling
from transformers.processing_utils import TextKwargs

from .stretch_cmpagl import UnfitPictureError, array_to_rgb, picture_to_rgb

_LEFT = (torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64)  # as they are

#: What sentence-transformers needs beside the weights to embed with either tower.
SENTENCE_TRANSFORMERS_FILES: dict[str, Any] = {
    "modules.json": [
        {
            "idx": 0,
            "name": "0",
            "path": "",
            "type": "sentence_transformers.base.modules.transformer.Transformer",
        }
    ],
    "sentence_bert_config.json": {
        "transformer_task": "feature-extraction",
        "modality_config": {
            "text": {"method": "get_text_features", "method_output_name": "pooler_output"},
            "image": {"method": "get_image_features", "method_output_name": "pooler_output"},
        },
        "module_output_name": "sentence_embedding",
    },
    "config_sentence_transformers.json": {"similarity_fn_name": "cosine"},
}


class CMPAGLProcessor(ProcessorMixin):
    """An image processor and a tokenizer in one.

    ``processor(images=..., text=..., return_tensors="pt")`` gives ``pixel_values`` (B, 3, S, S),
    ``input_ids`` and ``attention_mask`` (C, T). Sentences are padded to the longest and cut at the
    tokenizer's ``model_max_length`` unless told otherwise.

    Args:
        image_processor: a stock transformers image processor; mean and std live only there.
        tokenizer: the tokenizer of the text tower.
    """

    text_kwargs = TextKwargs(padding=True, truncation=True)

    def __init__(
        self,
        image_processor: ViTImageProcessor | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        **kwargs: Any,  # noqa: ANN401 - the signature ProcessorMixin loads with
    ) -> None:
        if tokenizer is not None:
            _prepare_tokenizer(tokenizer)
        super().__init__(image_processor, tokenizer)

    @classmethod
    def build(
        cls,
        tokenizer: PreTrainedTokenizerBase,
        *,
        image_size: int,
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.5, 0.5, 0.5),
        max_length: int | None = None,
    ) -> "CMPAGLProcessor":
        """Make a processor for a new model.

        Args:
            tokenizer: the tokenizer of the text tower.
            image_size: side S in pixels; pictures are resized straight to S x S, without a crop,
                since what an aerial picture shows may lie at its rim.
            mean: per channel, for values in 0..1. The default is EfficientNet-Lite's.
            std: per channel.
            max_length: longest sentence in tokens; None keeps the tokenizer's own limit.
        """
        image_processor = _square_pictures(image_size, mean, std)
        if max_length is not None:
            tokenizer.model_max_length = max_length
        return cls(image_processor, tokenizer)

    def __call__(
        self,
        images: Any = None,  # noqa: ANN401 - whatever transformers takes for pictures
        text: str | Sequence[str] | None = None,
        **kwargs: Any,  # noqa: ANN401 - transformers' processing arguments
    ) -> BatchFeature:
        """Prepare model inputs; see the class, and ``eight_bit_pictures`` for pictures."""
        if images is not None:
            images = eight_bit_pictures(images, do_rescale=_rescales(kwargs))
        return super().__call__(images=images, text=text, **kwargs)

    def save_pretrained(
        self,
        save_directory: str | PathLike,
        push_to_hub: bool = False,
        **kwargs: Any,  # noqa: ANN401 - handed through to transformers
    ) -> list[str]:
        """Write the processor, and the files that let sentence-transformers load the folder.

        Args:
            save_directory: folder, made if missing.
            push_to_hub: also upload the folder's files.
            **kwargs: as for ``ProcessorMixin.save_pretrained``.

        Returns:
            Paths of the files that hold the processor.
        """
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in SENTENCE_TRANSFORMERS_FILES.items():
            (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        return super().save_pretrained(str(folder), push_to_hub=push_to_hub, **kwargs)


def eight_bit_pictures(images: Any, *, do_rescale: bool = True) -> Any:  # noqa: ANN401
    """Bring whatever transformers takes for pictures to 8-bit RGB, as an index of rsctir_hf does.

    8-bit RGB that stands upright stays as it is, and so do tensors of 8 bits or floats. See
    ``stretch`` for the rule, ``picture_to_rgb`` for what Pillow cannot tell.

    Args:
        images: PIL pictures, paths, addresses, arrays or tensors, in lists or not.
        do_rescale: whether transformers scales values; where not, floats stay as they are.

    Raises:
        ValueError: there is no telling what a picture shows.
    """
    if isinstance(images, list | tuple):
        return [eight_bit_pictures(each, do_rescale=do_rescale) for each in images]
    if isinstance(images, str | PathLike):
        images = _opened(str(images))
    if isinstance(images, Image.Image):
        return picture_to_rgb(images)
    if isinstance(images, torch.Tensor) and images.dtype not in _LEFT:
        images = images.cpu().numpy()
    if not isinstance(images, np.ndarray) or (images.dtype.kind == "f" and not do_rescale):
        return images
    return images if _is_plain(images) else _array_to_rgb(images)


def _is_plain(array: NDArray) -> bool:
    """Return whether an array is colours of 8 bits, channels first or last, alone or many."""
    return array.dtype == np.uint8 and array.ndim > 2 and 3 in (array.shape[-3], array.shape[-1])


def _array_to_rgb(array: NDArray) -> Any:  # noqa: ANN401 - one picture or a list of them
    if array.ndim > 3:
        return [_array_to_rgb(each) for each in array]
    if array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.shape[2] not in (1, 3, 4):
        array = np.moveaxis(array, 0, 2)
    return array_to_rgb(array)


def _rescales(kwargs: dict[str, Any]) -> bool:
    return bool({**kwargs, **(kwargs.get("images_kwargs") or {})}.get("do_rescale", True))


def _opened(place: str) -> str | Image.Image:
    """Open a file, an address or a ``data:`` text with Pillow; transformers makes RGB of it."""
    if place.startswith(("http://", "https://")):
        with urlopen(place, timeout=30) as answer:  # seconds
            content = answer.read()
    elif place.startswith("data:image/"):
        content = base64.b64decode(place.partition(",")[2])
    elif Path(place).is_file():
        content = Path(place).read_bytes()
    else:
        return place  # transformers says what is wrong
    try:
        return Image.open(BytesIO(content))
    except Image.UnidentifiedImageError as error:
        raise UnfitPictureError(
            f"{place} is no picture that Pillow can open. Read a TIFF of any kind with rasterio "
            "and hand over an array (height, width, 3), or give rsctir_hf its path."
        ) from error


def _prepare_tokenizer(tokenizer: PreTrainedTokenizerBase) -> None:
    """Prepare a tokenizer for captions, which stand alone."""
    # Token types carry nothing then.
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    # A limit left in tokenizer.json by whoever wrote it must not outrank model_max_length.
    tokenizer.init_kwargs.pop("max_length", None)


def _square_pictures(
    image_size: int, mean: Sequence[float], std: Sequence[float]
) -> ViTImageProcessor:
    """Return what resizes pictures straight to a square, and normalises values in 0..1."""
    return ViTImageProcessor(
        size={"height": image_size, "width": image_size},
        resample=PILImageResampling.BICUBIC,
        image_mean=list(mean),
        image_std=list(std),
        do_convert_rgb=True,
    )


CMPAGLProcessor.register_for_auto_class()

__all__ = ["CMPAGLProcessor"]
