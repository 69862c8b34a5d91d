"""Processor of the CMPAGL-style model: pictures to pixels, sentences to token ids."""

import json
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase, ProcessorMixin, ViTImageProcessor
from transformers.image_utils import PILImageResampling
from transformers.processing_utils import TextKwargs

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
