"""Judge (picture, sentence) pairs with a model's fusion encoder: stage two of a two-stage search.

The fusion encoder is far dearer than a cosine, so it only sees the ``MATCH_TOP_K`` best candidates
of each query (our choice: the issue's design has 32, at twice the time of a live query). The
second-stage score is ``cosine + weight * probability`` (our choice).
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Protocol, cast, runtime_checkable

import torch
from PIL import Image
from torch import Tensor, nn

from rsctir_hf.errors import UnsupportedError
from rsctir_hf.gallery.embedding import evaluating, image_inputs, tokenize
from rsctir_hf.protocols import PairMatcher

MATCH_TOP_K = 16
DEFAULT_MATCH_WEIGHT = 1.0  # of a model whose weight was never chosen
_KEPT_STATES = 256  # pictures whose tokens a matcher keeps, some 100 kB each


@runtime_checkable
class ImageTokenEncoder(Protocol):
    """A model whose picture side of the fusion encoder can be computed once and kept."""

    def get_image_tokens(self, pixel_values: Tensor) -> Tensor:
        """Return tokens (B, T, hidden) of pictures (B, 3, H, W)."""


def match_weight(model: nn.Module) -> float:
    """Return ``config.match_weight``; ``DEFAULT_MATCH_WEIGHT`` where it was never chosen.

    None, 0 and no such field all mean "never chosen". 0 is free to mean that: it would leave the
    order as it was, which nobody asks for who chooses ``match``, so the grid that validation
    chooses from (``evaluation.MATCH_WEIGHTS``) starts above it.
    """
    return float(getattr(model.config, "match_weight", 0.0) or 0.0) or DEFAULT_MATCH_WEIGHT


def require_matcher(model: nn.Module) -> None:
    """Raise ``UnsupportedError`` when ``model`` cannot judge pairs."""
    if not isinstance(model, PairMatcher):
        raise UnsupportedError(
            f"{type(model).__name__} has no match() method, so rerank='match' is not possible. "
            "Use a model with a fusion encoder (CMPAGL), or rerank 'none', 'smr' or 'mr'."
        )


def image_states(
    model: nn.Module,
    processor: Any,  # noqa: ANN401 - processors share no base with a usable signature
    pictures: Iterable[Image.Image],
    *,
    batch_size: int = 16,
) -> Tensor:
    """Compute what the fusion encoder needs of B pictures: tokens (B, T, hidden) on the CPU.

    A matcher without ``get_image_tokens`` gets the pixels (B, 3, H, W) themselves. A lazy iterable
    is read one batch at a time.
    """
    parts, remaining = [], iter(pictures)
    with evaluating(model):
        while batch := list(islice(remaining, batch_size)):
            inputs = image_inputs(model, processor, batch)
            pixels = inputs["pixel_values"]
            if isinstance(model, ImageTokenEncoder):
                pixels = cast(ImageTokenEncoder, model).get_image_tokens(pixels)
            parts.append(pixels.cpu())
    return torch.cat(parts)


def pair_probabilities(
    model: nn.Module,
    processor: Any,  # noqa: ANN401
    states: Tensor,
    texts: Sequence[str],
    *,
    pairs: Tensor,
    batch_size: int = 64,
) -> Tensor:
    """Return the probability (P,) that each pair belongs together, float32 on the CPU.

    Args:
        model: a ``protocols.PairMatcher``.
        processor: its processor.
        states: what ``image_states`` returned for B pictures.
        texts: C sentences.
        pairs: (P, 2) int64: a row of ``states`` and a position in ``texts``.
        batch_size: pairs per forward pass.
    """
    require_matcher(model)
    name = "image_tokens" if isinstance(model, ImageTokenEncoder) else "pixel_values"
    device = next(model.parameters()).device
    parts = [torch.zeros(0)]
    with evaluating(model):
        for chunk in pairs.split(batch_size):
            tokens = tokenize(processor, [texts[position] for position in chunk[:, 1].tolist()])
            picture = {name: states[chunk[:, 0]].to(device)}
            parts.append(
                cast(PairMatcher, model).match(**tokens.to(device), **picture).float().cpu()
            )
    return torch.cat(parts)  # (P,)


class LiveMatcher:
    """Second stage of a live search: judges the best candidates of one query.

    Args:
        model: a ``protocols.PairMatcher``.
        processor: its processor.

    Raises:
        UnsupportedError: the model cannot judge pairs.
    """

    def __init__(self, model: nn.Module, processor: Any) -> None:  # noqa: ANN401
        require_matcher(model)
        self._model = model
        self._processor = processor
        self._states: OrderedDict[int, Tensor] = OrderedDict()

    def rerank_pictures(
        self, scores: Tensor, text: str, *, read: Callable[[int], Image.Image]
    ) -> Tensor:
        """Return cosine + weight * probability (G,); only the top k are judged.

        Args:
            scores: (G,) cosine of the text with each picture.
            text: the query.
            read: gives the picture of an item.
        """
        best = scores.topk(min(MATCH_TOP_K, len(scores))).indices.tolist()
        states = torch.stack([self._state_of(item, read) for item in best])
        pairs = torch.stack([torch.arange(len(best)), torch.zeros(len(best), dtype=torch.int64)], 1)
        judged = pair_probabilities(self._model, self._processor, states, [text], pairs=pairs)
        return self._add(scores, best, judged)

    def rerank_captions(
        self, scores: Tensor, picture: Image.Image, *, captions: Sequence[str]
    ) -> Tensor:
        """Return cosine + weight * probability (C,) for one picture; only the top k are judged."""
        best = scores.topk(min(MATCH_TOP_K, len(scores))).indices.tolist()
        states = image_states(self._model, self._processor, [picture])
        pairs = torch.tensor([[0, caption] for caption in best])
        judged = pair_probabilities(self._model, self._processor, states, captions, pairs=pairs)
        return self._add(scores, best, judged)

    def _add(self, scores: Tensor, best: list[int], judged: Tensor) -> Tensor:
        reranked = scores.clone()
        reranked[best] += match_weight(self._model) * judged
        return reranked

    def _state_of(self, item: int, read: Callable[[int], Image.Image]) -> Tensor:
        """What the fusion encoder needs of one picture, kept for the next query."""
        state = self._states.pop(item, None)
        if state is None:
            state = image_states(self._model, self._processor, [read(item)])[0]
        self._states[item] = state
        while len(self._states) > _KEPT_STATES:
            self._states.popitem(last=False)
        return state
