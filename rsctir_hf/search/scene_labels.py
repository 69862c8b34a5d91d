"""The scene that a picture most probably shows, by name, from its vector alone.

A model that was trained to tell scenes apart has a head for it (``config.scene_classes``). Any
other dual encoder is asked with the names: a name's vector is the mean of those of some sentences
with it ("zero-shot"; the sentences are our choice). Either way the products are divided by the
model's own temperature, and a softmax over the names gives the probability: among these names,
whatever the picture shows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from rsctir_hf.data.class_names import TEMPLATES, class_captions, class_words
from rsctir_hf.embedding.encode import unit_vectors
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.errors import QueryError
from rsctir_hf.vector_index.arguments import Scalar

#: The columns of metadata that hold it.
SCENE, PROBABILITY = "predicted_scene", "scene_probability"
_TEMPERATURE = 0.07  # of a model that names none
_DIGITS = 3


@dataclass(frozen=True)
class SceneLabels:
    """Names of scenes, and what tells them apart.

    Attributes:
        names: L of them.
        weights: (L, D), divided by the temperature.
        bias: (L,), likewise.
    """

    names: tuple[str, ...]
    weights: Tensor
    bias: Tensor

    @classmethod
    def of(cls, encoder: Encoder, names: Sequence[str] = ()) -> Self | None:
        """Return what tells scenes apart by a model.

        Args:
            encoder: its model has a head, or is asked with the names.
            names: of scenes; none: those that the head knows.

        Returns:
            None where there are neither names nor a head.

        Raises:
            QueryError: a single name, which every picture would have.
        """
        model: Any = encoder.model
        head = getattr(model, "scene_head", None)
        scale = getattr(model, "logit_scale", None)
        hardness = 1 / _TEMPERATURE if scale is None else float(scale.detach().float().exp())
        if not names and head is not None:
            weights, bias = (part.detach().float().cpu() for part in (head.weight, head.bias))
            return cls(tuple(model.config.scene_classes), hardness * weights, hardness * bias)
        if not names:
            return None
        words = tuple(dict.fromkeys(class_words(name) for name in names))
        if len(words) < 2:
            raise QueryError(
                f"The only name of a scene is {words[0]!r}, which every picture would have. Give "
                "two or more, such as harbor,airport,forest."
            )
        sentences = [each for name in words for each in class_captions(name, TEMPLATES)]
        vectors = encoder.texts(sentences).unflatten(0, (len(words), -1)).mean(1)  # (L, D)
        return cls(words, hardness * F.normalize(vectors, dim=-1), torch.zeros(len(words)))

    def probabilities(self, vectors: Tensor) -> Tensor:
        """Return (n, L) of the unit vectors (n, D) of pictures."""
        return (unit_vectors(vectors) @ self.weights.T + self.bias).softmax(-1)

    def metadata(self, vectors: Tensor) -> list[dict[str, Scalar]]:
        """Return the likeliest name of each of n pictures and its probability, as columns."""
        best, places = self.probabilities(vectors).max(-1)
        return [
            {SCENE: self.names[place], PROBABILITY: round(chance, _DIGITS)}
            for place, chance in zip(places.tolist(), best.tolist(), strict=True)
        ]


def scene_in_words(metadata: Mapping[str, Any]) -> str:
    """Write what an index holds of a picture's scene, such as ``harbor 93 %``; "" of none."""
    name, chance = metadata.get(SCENE), metadata.get(PROBABILITY)
    known = isinstance(chance, int | float) and not isinstance(chance, bool)
    return "" if name is None else f"{name} {chance:.0%}".replace("%", " %") if known else str(name)
