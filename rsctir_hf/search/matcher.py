"""Judge (picture, sentence) pairs with a model's fusion encoder: stage two of a two-stage search.

The fusion encoder is far dearer than a cosine, so it only sees the ``MATCH_TOP_K`` best candidates
of each query (our choice: the issue's design has 32, at twice the time of a live query). The
second-stage score is ``cosine + weight * probability`` (our choice).
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from itertools import islice
from typing import Protocol, cast, runtime_checkable

import torch
from PIL import Image
from torch import Tensor, nn

from rsctir_hf.embedding.encode import device_of, evaluating
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.embedding.prepare import picture_inputs
from rsctir_hf.errors import ImageReadError, UnsupportedError

logger = logging.getLogger(__name__)

MATCH_TOP_K = 16
DEFAULT_MATCH_WEIGHT = 1.0  # of a model whose weight was never chosen
_KEPT_STATES = 256  # pictures whose tokens a matcher keeps, some 100 kB each


@runtime_checkable
class PairMatcher(Protocol):
    """A model that also judges a picture and a sentence together."""

    def match(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        *,
        pixel_values: Tensor | None = None,
        image_tokens: Tensor | None = None,
    ) -> Tensor:
        """Return the probability (P,) that sentence p describes picture p."""


@runtime_checkable
class ImageTokenEncoder(Protocol):
    """A model whose picture side of the fusion encoder can be computed once and kept."""

    def get_image_tokens(self, pixel_values: Tensor) -> Tensor:
        """Return tokens (B, T, hidden) of pictures (B, 3, H, W)."""


@runtime_checkable
class TextStateMatcher(Protocol):
    """A model whose sentence side can be computed once too: ``forward`` gives its states."""

    def match_logits(
        self, *, text_states: Tensor, attention_mask: Tensor, image_tokens: Tensor
    ) -> Tensor:
        """Return logits (P, 2), no match and match, of states (P, T, hidden) and image tokens."""


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
    encoder: Encoder, pictures: Iterable[Image.Image], *, batch_size: int = 16
) -> Tensor:
    """Compute what the fusion encoder needs of B pictures: tokens (B, T, hidden) on the CPU.

    A matcher without ``get_image_tokens`` gets the pixels (B, 3, H, W) themselves. A lazy iterable
    is read one batch at a time.
    """
    parts, remaining, model = [], iter(pictures), encoder.model
    with evaluating(model):
        while batch := list(islice(remaining, batch_size)):
            inputs = picture_inputs(encoder.processor, batch, None)
            pixels = inputs["pixel_values"].to(device_of(model))
            if isinstance(model, ImageTokenEncoder):
                pixels = cast(ImageTokenEncoder, model).get_image_tokens(pixels)
            parts.append(pixels.cpu())
    return torch.cat(parts)


def pair_probabilities(
    encoder: Encoder,
    states: Tensor,
    texts: Sequence[str],
    *,
    pairs: Tensor,
    batch_size: int = 64,
) -> Tensor:
    """Return the probability (P,) that each pair belongs together, float32 on the CPU.

    Args:
        encoder: of a ``PairMatcher``.
        states: what ``image_states`` returned for B pictures.
        texts: C sentences.
        pairs: (P, 2) int64: a row of ``states`` and a position in ``texts``.
        batch_size: pairs per forward pass.
    """
    model = encoder.model
    require_matcher(model)
    # Sentences of like length share a batch, so that little padding is computed, and all pairs
    # of a sentence stand together, so that its side is computed once.
    text_of_pair = pairs[:, 1].tolist()
    order = sorted(
        range(len(pairs)), key=lambda pair: (len(texts[text_of_pair[pair]]), text_of_pair[pair])
    )
    judged = torch.zeros(len(pairs))
    with evaluating(model):
        for chunk in torch.tensor(order, dtype=torch.int64).split(batch_size):
            sentences, place = pairs[chunk, 1].unique(return_inverse=True)
            tokens = encoder.tokens([texts[position] for position in sentences.tolist()])
            judged[chunk] = _judge(model, tokens, states[pairs[chunk, 0]], place=place)
    return judged  # (P,)


def _judge(
    model: nn.Module,
    tokens: Mapping[str, Tensor],
    states: Tensor,
    *,
    place: Tensor,
) -> Tensor:
    """Return the probability (P,) of each picture's state (P, ...) with the row ``place`` (P,)."""
    device = device_of(model)
    states, place = states.to(device), place.to(device)
    if isinstance(model, ImageTokenEncoder) and isinstance(model, TextStateMatcher):
        logits = model.match_logits(
            text_states=model(**tokens).text_model_output.last_hidden_state[place],
            attention_mask=tokens["attention_mask"][place],
            image_tokens=states,
        )  # (P, 2)
        return logits.float().softmax(-1)[:, 1].cpu()
    name = "image_tokens" if isinstance(model, ImageTokenEncoder) else "pixel_values"
    words = {key: value[place] for key, value in tokens.items()}
    return cast(PairMatcher, model).match(**words, **{name: states}).float().cpu()


class LiveMatcher:
    """Second stage of a live search: judges the best candidates of one query.

    Args:
        encoder: of a ``PairMatcher``.

    Raises:
        UnsupportedError: the model cannot judge pairs.
    """

    def __init__(self, encoder: Encoder) -> None:
        require_matcher(encoder.model)
        self._encoder = encoder
        # What the fusion encoder needs of a picture, kept for the next query.
        self._state_of = lru_cache(_KEPT_STATES)(partial(_state_of, encoder))

    def rerank_pictures(
        self, scores: Tensor, text: str, *, ids: Tensor, read: Callable[[int], Image.Image]
    ) -> Tensor:
        """Return cosine + weight * probability (G,); only the top k are judged.

        A picture that cannot be read any more keeps its cosine, with a line in the log.

        Args:
            scores: (G,) cosine of the text with each picture.
            text: the query.
            ids: (G,) of the pictures.
            read: gives the picture of an id.
        """
        best, states, unread = list[int](), list[Tensor](), list[ImageReadError]()
        for place in scores.topk(min(MATCH_TOP_K, len(scores))).indices.tolist():
            try:
                states.append(self._state_of(int(ids[place]), read))
                best.append(place)
            except ImageReadError as error:
                unread.append(error)
        if unread:
            logger.warning("%d pictures could not be judged: %s", len(unread), unread[0])
        if not best:
            return scores.clone()
        pairs = torch.tensor([[place, 0] for place in range(len(best))])
        judged = pair_probabilities(self._encoder, torch.stack(states), [text], pairs=pairs)
        return self._add(scores, best, judged)

    def rerank_captions(
        self, scores: Tensor, picture: Image.Image, *, captions: Sequence[str]
    ) -> Tensor:
        """Return cosine + weight * probability (C,) for one picture; only the top k are judged."""
        best = scores.topk(min(MATCH_TOP_K, len(scores))).indices.tolist()
        states = image_states(self._encoder, [picture])
        pairs = torch.tensor([[0, caption] for caption in best])
        judged = pair_probabilities(self._encoder, states, captions, pairs=pairs)
        return self._add(scores, best, judged)

    def _add(self, scores: Tensor, best: list[int], judged: Tensor) -> Tensor:
        reranked = scores.clone()
        reranked[best] += match_weight(self._encoder.model) * judged
        return reranked


def _state_of(encoder: Encoder, item: int, read: Callable[[int], Image.Image]) -> Tensor:
    return image_states(encoder, [read(item)])[0]
