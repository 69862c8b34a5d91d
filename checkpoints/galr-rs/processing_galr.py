"""Processor of GaLR: pictures, captions and regions into model inputs.

The image processor is a stock transformers one, the only home of size, mean and standard
deviation. The tokenizer is BERT's, or for the GRU a word-level one made by
``build_word_tokenizer``; both are plain files beside the model.

The released code reads node features and adjacency from ``*_local.npy``: a pickled dict of
``local_rep`` and ``adj_matrix``, each keyed by "<image stem>.txt" with a (20, 20) array. A pickle
runs code when it is opened, so nothing here reads one. Whoever trusts the file converts it once,
with numpy, to a safetensors file of the same names, and hands over the rows of a batch::

    arrays = {f"{part}/{name}": local[part][name] for part in local for name in local[part]}
    safetensors.numpy.save_file(arrays, "local.safetensors")

    local = safetensors.numpy.load_file("local.safetensors")
    inputs = processor(
        images=pictures,
        region_features=np.stack([local[f"local_rep/{stem}.txt"] for stem in stems]),
        region_adjacency=np.stack([local[f"adj_matrix/{stem}.txt"] for stem in stems]),
    )
"""

import base64
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import Any, Protocol, Self
from urllib.request import urlopen

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from torch import Tensor
from transformers import (
    BatchFeature,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    ProcessorMixin,
    ViTImageProcessor,
)
from transformers.image_utils import (
    PILImageResampling,
    get_image_size,
    make_flat_list_of_images,
)
from transformers.processing_utils import TextKwargs

from .stretch_galr import UnfitPictureError, array_to_rgb, picture_to_rgb

_LEFT = (torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64)  # as they are

PADDING, UNKNOWN = "<pad>", "<unk>"  # ids 0 and 1
_NOT_A_WORD = r"[^\w\s]|_"  # punctuation, symbols and emoji

# Copied from rsctir_hf.models.cmpagl.processing_cmpagl.SENTENCE_TRANSFORMERS_FILES
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


class ImageRegions(Protocol):
    """Regions of one picture, in its own pixels (``rsctir_hf.regions.proposer.Regions`` is one)."""

    boxes: Any
    scores: Any
    labels: Sequence[str]


class GaLRProcessor(ProcessorMixin):
    """Image processor + tokenizer + region arithmetic.

    Args:
        image_processor: resizes straight to the model's (S, S), without a crop.
        tokenizer: pads on the right.
        region_labels: the model's ``config.region_labels``; other names become -1. Empty: names
            are numbered per call, which is enough to tell classes apart.
    """

    text_kwargs = TextKwargs(padding=True, truncation=True)  # type: ignore[misc]

    def __init__(
        self,
        image_processor: Any,  # noqa: ANN401 - transformers has no common public base
        tokenizer: PreTrainedTokenizerBase,
        region_labels: Sequence[str] = (),
    ) -> None:
        self.region_labels = list(region_labels)
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
        region_labels: Sequence[str] = (),
    ) -> Self:
        """Make a processor for a new model.

        Args:
            tokenizer: BERT's, or one of ``build_word_tokenizer``.
            image_size: side S in pixels; pictures are resized straight to S x S, without a crop.
            mean: per channel, for values in 0..1. The default is EfficientNet-Lite's.
            std: per channel.
            max_length: longest caption in tokens; None keeps the tokenizer's own limit.
            region_labels: see the class.
        """
        image_processor = _square_pictures(image_size, mean, std)
        if max_length is not None:
            tokenizer.model_max_length = max_length
        return cls(image_processor, tokenizer, region_labels)

    def __call__(
        self,
        images: Any = None,  # noqa: ANN401 - whatever transformers takes for pictures
        text: str | Sequence[str] | None = None,
        *,
        regions: Sequence[ImageRegions] | None = None,
        region_features: Any = None,  # noqa: ANN401 - a numpy array or a tensor
        region_adjacency: Any = None,  # noqa: ANN401
        **kwargs: Any,  # noqa: ANN401 - transformers' processing arguments
    ) -> BatchFeature:
        """Prepare model inputs.

        Args:
            images: one picture or B; see ``eight_bit_pictures``.
            text: one caption or C.
            regions: one per picture, boxes in pixels of that picture.
            region_features: (B, N, F) nodes made elsewhere, for a model with
                ``region_source="precomputed"``; 20 x 20 in the released files.
            region_adjacency: (B, N, N) beside them.
            kwargs: processing arguments of transformers, such as ``padding="max_length"``.

        Returns:
            What applies of ``pixel_values`` (B, 3, S, S), ``input_ids`` and ``attention_mask``
            (C, T), ``region_boxes`` (B, M, 4) in model-input pixels, ``region_scores``,
            ``region_labels`` and ``region_mask`` (B, M), or ``region_features`` and
            ``region_adjacency`` in float32.

        Raises:
            ValueError: if there is nothing to do, not one set of regions per picture, or regions
                are given in both forms or in the wrong shape.
        """
        precomputed = region_features is not None or region_adjacency is not None
        if precomputed and regions is not None:
            raise ValueError(
                "Both regions and region_features were given; give regions where the model's "
                "region_source is 'model', region_features where it is 'precomputed'."
            )
        kwargs.setdefault("return_tensors", "pt")
        text = list(text) if text is not None and not isinstance(text, str) else text
        if images is not None:
            images = eight_bit_pictures(images, do_rescale=_rescales(kwargs))
        inputs = super().__call__(images=images, text=text, **kwargs)
        inputs.pop("token_type_ids", None)
        if regions is None and not precomputed:
            return inputs
        flat: Any = [] if images is None else make_flat_list_of_images(images)
        pictures = list(flat)
        if regions is None:
            inputs.update(_check_nodes(region_features, region_adjacency, pictures=len(pictures)))
            return inputs
        if len(pictures) != len(regions):
            raise ValueError(
                f"{len(regions)} sets of regions were given for {len(pictures)} pictures; "
                "give one set per picture (one without boxes where nothing was found)."
            )
        sizes = [_size_of(picture) for picture in pictures]
        target = (inputs["pixel_values"].shape[-2], inputs["pixel_values"].shape[-1])
        inputs.update(self.prepare_regions(regions, sizes=sizes, target=target))
        return inputs

    def prepare_regions(
        self,
        regions: Sequence[ImageRegions],
        *,
        sizes: Sequence[tuple[int, int]],
        target: tuple[int, int],
    ) -> dict[str, Tensor]:
        """Scale boxes to the model input, number labels, pad to the largest set.

        Args:
            regions: B sets.
            sizes: B pairs (height, width) of the original pictures.
            target: (height, width) of the model input.
        """
        count = max(1, *(len(each.boxes) for each in regions)) if regions else 1
        boxes = torch.zeros(len(regions), count, 4)
        scores = torch.zeros(len(regions), count)
        labels = torch.full((len(regions), count), -1, dtype=torch.int64)
        mask = torch.zeros(len(regions), count, dtype=torch.bool)
        numbers = self._label_numbers(regions)
        for row, (each, (height, width)) in enumerate(zip(regions, sizes, strict=True)):
            found = len(each.boxes)
            scale = torch.tensor([target[1] / width, target[0] / height] * 2)
            given = torch.as_tensor(each.boxes, dtype=torch.float32).reshape(found, 4)
            boxes[row, :found] = given * scale
            scores[row, :found] = torch.as_tensor(each.scores, dtype=torch.float32)
            mask[row, :found] = True
            for place, name in enumerate(each.labels):
                labels[row, place] = numbers.get(name, -1)
        prepared = {"region_boxes": boxes, "region_scores": scores, "region_mask": mask}
        if any(len(each.labels) for each in regions):
            prepared["region_labels"] = labels
        return prepared

    # Copied from rsctir_hf.models.cmpagl.processing_cmpagl.CMPAGLProcessor.save_pretrained
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

    def _label_numbers(self, regions: Sequence[ImageRegions]) -> dict[str, int]:
        names = self.region_labels or sorted({name for each in regions for name in each.labels})
        return {name: number for number, name in enumerate(names)}


def build_word_tokenizer(
    captions: Iterable[str],
    *,
    min_count: int = 1,
    model_max_length: int = 48,
    stop_words: Iterable[str] = (),
) -> PreTrainedTokenizerFast:
    """Make a word-level tokenizer from captions: lower case, words only.

    Ids: 0 padding, 1 unknown, then words by falling count (equal counts by alphabet).

    Args:
        captions: the training captions.
        min_count: rarer words become unknown. The released code asks for 5.
        model_max_length: tokens beyond are cut off. The longest caption of RSICD and RSITMD
            has 47 words.
        stop_words: words left out, so that they become unknown as in the released code, which
            takes NLTK's English list. None by default: "above", "between" or "many" describe.

    Raises:
        ValueError: if no word is left.
    """
    normaliser = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Lowercase(), normalizers.Replace(Regex(_NOT_A_WORD), " ")]
    )
    counts = Counter(
        word for caption in captions for word in normaliser.normalize_str(caption).split()
    )
    left_out = set(stop_words)
    words = sorted(
        (word for word, count in counts.items() if count >= min_count and word not in left_out),
        key=lambda word: (-counts[word], word),
    )
    if not words:
        raise ValueError(
            f"No word occurs {min_count} times or more; give more captions or a smaller min_count."
        )
    vocabulary = {word: number for number, word in enumerate([PADDING, UNKNOWN, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = normaliser
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PADDING,
        unk_token=UNKNOWN,
        model_max_length=model_max_length,
        padding_side="right",
        model_input_names=["input_ids", "attention_mask"],
    )


# Copied from rsctir_hf.models.cmpagl.processing_cmpagl.eight_bit_pictures
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


# Copied from rsctir_hf.models.cmpagl.processing_cmpagl._is_plain
def _is_plain(array: NDArray) -> bool:
    """Return whether an array is colours of 8 bits, channels first or last, alone or many."""
    return array.dtype == np.uint8 and array.ndim > 2 and 3 in (array.shape[-3], array.shape[-1])


# Copied from rsctir_hf.models.cmpagl.processing_cmpagl._array_to_rgb
def _array_to_rgb(array: NDArray) -> Any:  # noqa: ANN401 - one picture or a list of them
    if array.ndim > 3:
        return [_array_to_rgb(each) for each in array]
    if array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.shape[2] not in (1, 3, 4):
        array = np.moveaxis(array, 0, 2)
    return array_to_rgb(array)


# Copied from rsctir_hf.models.cmpagl.processing_cmpagl._rescales
def _rescales(kwargs: dict[str, Any]) -> bool:
    return bool({**kwargs, **(kwargs.get("images_kwargs") or {})}.get("do_rescale", True))


# Copied from rsctir_hf.models.cmpagl.processing_cmpagl._opened
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


# Copied from rsctir_hf.models.cmpagl.processing_cmpagl._prepare_tokenizer
def _prepare_tokenizer(tokenizer: PreTrainedTokenizerBase) -> None:
    """Prepare a tokenizer for captions, which stand alone."""
    # Token types carry nothing then.
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    # A limit left in tokenizer.json by whoever wrote it must not outrank model_max_length.
    tokenizer.init_kwargs.pop("max_length", None)


# Copied from rsctir_hf.models.cmpagl.processing_cmpagl._square_pictures
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


def _check_nodes(
    features: Any,  # noqa: ANN401 - a numpy array or a tensor
    adjacency: Any,  # noqa: ANN401
    *,
    pictures: int,
) -> dict[str, Tensor]:
    """Return precomputed nodes and adjacency as float32 tensors, or say what does not fit."""
    if features is None or adjacency is None:
        raise ValueError("region_features and region_adjacency belong together; give both.")
    nodes = torch.as_tensor(features, dtype=torch.float32)
    edges = torch.as_tensor(adjacency, dtype=torch.float32)
    square = nodes.ndim == 3 and edges.shape == (pictures, nodes.shape[1], nodes.shape[1])
    if not square or len(nodes) != pictures:
        raise ValueError(
            f"region_features are {tuple(nodes.shape)} and region_adjacency {tuple(edges.shape)} "
            f"for {pictures} pictures; expected ({pictures}, N, F) and ({pictures}, N, N)."
        )
    if not (nodes.isfinite().all() and edges.isfinite().all()):
        raise ValueError(
            "region_features or region_adjacency hold values that are not finite; give zeros where "
            "a picture has no region."
        )
    return {"region_features": nodes, "region_adjacency": edges}


def _size_of(picture: Any) -> tuple[int, int]:  # noqa: ANN401
    """Height and width of a PIL picture or an array."""
    if hasattr(picture, "size") and isinstance(picture.size, tuple):
        return picture.size[1], picture.size[0]
    height, width = get_image_size(picture)
    return int(height), int(width)


GaLRProcessor.register_for_auto_class()
