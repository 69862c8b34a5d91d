"""Run a dual encoder: prepared pictures and sentences become unit vectors.

A tower returns a tensor, or as in transformers 5 an output object whose ``pooler_output`` is the
vector, perhaps unnormalised. Both end here as float32 unit vectors on the CPU.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from threading import Lock
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsctir_hf.embedding.clip_text import cleaned
from rsctir_hf.embedding.prepare import Preparation, PreparedImages, Skipped
from rsctir_hf.embedding.read_ahead import default_workers
from rsctir_hf.embedding.roles import DualEncoder, PatchEncoder, Processor

logger = logging.getLogger(__name__)

#: On a CPU the C library gives large activations back to the system after each layer, and getting
#: fresh pages for them costs more than a larger batch saves (``rsctir_hf.allocation``). Those of 4
#: pictures of 224 pixels are just small enough to be kept.
CPU_BATCH = 4
DEVICE_BATCH = 64

_LONGEST_BELIEVABLE_LENGTH = 100_000  # a tokenizer without a limit reports about 1e30


@dataclass(frozen=True)
class EmbeddedImages:
    """The usable pictures of a sequence as unit vectors.

    Attributes:
        vectors: (n, D) float32 unit vectors on the CPU, one per usable picture; (n, T, D) where
            patches were asked for.
        kept: positions of those n pictures in the sequence that was given.
        skipped: the other pictures.
    """

    vectors: Tensor
    kept: tuple[int, ...]
    skipped: tuple[Skipped, ...]

    @classmethod
    def joined(cls, parts: Sequence["EmbeddedImages"]) -> "EmbeddedImages":
        """Put the batches of one sequence together."""
        filled = [part.vectors for part in parts if part.kept]
        return cls(
            vectors=torch.cat(filled) if filled else torch.zeros(0, 0),
            kept=tuple(position for part in parts for position in part.kept),
            skipped=tuple(skipped for part in parts for skipped in part.skipped),
        )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Run without gradients and in evaluation mode, then restore each module's own mode.

    Each module's, because a trainer may hold a frozen tower in evaluation mode within a model
    that trains.
    """
    training = [module for module in model.modules() if module.training]
    if training:
        model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


def device_of(model: nn.Module) -> torch.device:
    """Return where a model's weights lie."""
    return next(model.parameters()).device


def on_device(model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring inputs to where a model's weights lie."""
    return {name: tensor.to(device_of(model)) for name, tensor in inputs.items()}


def default_batch_size(model: nn.Module) -> int:
    """Return how many pictures the model should see at once where nobody says."""
    return CPU_BATCH if device_of(model).type == "cpu" else DEVICE_BATCH


def embed_inputs(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    """Embed one batch of model inputs as unit vectors (B, D) float32 on the CPU."""
    with evaluating(model):
        return unit_vectors(cast(DualEncoder, model).get_image_features(**on_device(model, inputs)))


def embed_tokens(model: nn.Module, tokens: Mapping[str, Tensor]) -> Tensor:
    """Embed one batch of sentences as unit vectors (C, D) float32 on the CPU."""
    with evaluating(model):
        return unit_vectors(cast(DualEncoder, model).get_text_features(**tokens))


def embed_prepared(model: nn.Module, prepared: PreparedImages) -> Tensor:
    """Embed n prepared pictures as unit vectors (n, D) float32 on the CPU; (0, 0) of none."""
    vectors = [embed_inputs(model, view) for view in prepared.views]
    if not vectors:
        return torch.zeros(0, 0)
    if len(vectors) == 1:
        return vectors[0]  # to the last bit what the model gave
    return F.normalize(torch.stack(vectors).mean(dim=0), dim=-1)


def embed_patches(model: nn.Module, prepared: PreparedImages) -> Tensor:
    """Embed the patches of n prepared pictures, of the first view: (n, T, D) on the CPU.

    (0, 0, 0) of none; unit vectors from a model that is a ``PatchEncoder``.
    """
    if not prepared.views:
        return torch.zeros(0, 0, 0)
    with evaluating(model):
        pixels = prepared.views[0]["pixel_values"].to(device_of(model))
        return cast(PatchEncoder, model).get_patch_features(pixels).float().cpu()


class PictureEmbedding:
    """Embeds a batch of pictures, from reading them to their vectors, in whatever thread it is.

    Args:
        model: runs in evaluation mode.
        prepare: makes its inputs.
        at_once: the model may run in several threads at once. Otherwise one waits for the other.
        run: runs it: ``embed_patches``; default: ``embed_prepared``.
    """

    def __init__(
        self,
        model: nn.Module,
        prepare: Preparation,
        *,
        at_once: bool,
        run: Callable[[nn.Module, PreparedImages], Tensor] | None = None,
    ) -> None:
        self._model, self._prepare, self._at_once, self._run = (
            model,
            prepare,
            at_once,
            run or embed_prepared,
        )
        self._turn = nullcontext() if at_once else Lock()

    def __call__(self, named: Sequence[tuple[str, Any]]) -> EmbeddedImages:
        """Embed pictures: what messages call each, and what ``read_image`` reads."""
        prepared = self._prepare(named)
        with self._turn:
            vectors = self._run(self._model, prepared)
        return EmbeddedImages(vectors, prepared.kept, prepared.skipped)

    def workers(self, wanted: int | None) -> int:
        """Return how many threads may embed, of those that are wanted; 0: the caller's own.

        None may where a proposer looks at the pictures: it may be a network of its own, which
        nobody promised to be safe in threads. Nor may they, unless asked for, where the model on a
        CPU can only run in one of them: that one would have a single processor.
        """
        if self._prepare.proposes:
            return 0
        if wanted is not None:
            return wanted
        alone = not self._at_once and device_of(self._model).type == "cpu"
        return 0 if alone else default_workers()


def tokenize(model: nn.Module, processor: Processor, texts: Sequence[str]) -> dict[str, Tensor]:
    """Turn sentences into ``input_ids`` (C, T) and, where the model has it, ``attention_mask``."""
    tokenizer = processor.tokenizer
    longest = _longest_text(model, tokenizer)
    # A model that sees the padding must always see the same: one without a mask (SigLIP), or one
    # whose processor says so (Siglip2).
    declared = (getattr(processor, "text_kwargs", None) or {}).get("padding")
    fixed = "attention_mask" not in tokenizer.model_input_names or declared == "max_length"
    batch = tokenizer(
        cleaned(tokenizer, texts),
        padding="max_length" if fixed and longest is not None else True,
        truncation=longest is not None,
        max_length=longest,
        return_tensors="pt",
    )
    return {name: batch[name] for name in ("input_ids", "attention_mask") if name in batch}


def tell_cut(model: nn.Module, processor: Processor, texts: Sequence[str]) -> int:
    """Count the sentences that are longer than the model reads; where there are some, log it."""
    tokenizer = processor.tokenizer
    longest = _longest_text(model, tokenizer)
    if longest is None or not texts:
        return 0
    tokens = tokenizer(cleaned(tokenizer, texts), truncation=False, verbose=False)["input_ids"]
    cut = sum(len(each) > longest for each in tokens)
    if cut:
        logger.warning(
            "%d of %d captions are longer than the %d tokens that the model reads, and are cut.",
            cut, len(texts), longest,
        )  # fmt: skip
    return cut


def unit_vectors(features: Any) -> Tensor:  # noqa: ANN401 - a tensor or an output with one
    """Return float32 unit vectors on the CPU from a tensor or an output with a pooled vector."""
    vectors = features if isinstance(features, Tensor) else features.pooler_output
    return F.normalize(vectors.float(), dim=-1).cpu()


def _longest_text(model: nn.Module, tokenizer: Any) -> int | None:  # noqa: ANN401
    """Return the most tokens of a text, by tokenizer and model; None where neither says."""
    config: Any = model.config
    places = getattr(getattr(config, "text_config", None), "max_position_embeddings", None)
    longest = min(tokenizer.model_max_length, places or _LONGEST_BELIEVABLE_LENGTH)
    return longest if longest < _LONGEST_BELIEVABLE_LENGTH else None
