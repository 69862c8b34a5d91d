"""What the base makes of general sentences is kept, so that tuning on a few captions forgets less.

A model tuned on one narrow set of captions moves all other sentences too, though nothing asks it
to. Here sentences of the caption bank, which drew on no data set, are held where the base had them,
and pictures of the batch go on to read them as the base did: learning without forgetting (Li and
Hoiem, ECCV 2016), with sentences in place of their classes *(our choice)*.
"""

import copy
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import kl_div, normalize

from rsctir_hf.data.row_facts import RowFacts
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.sample import read_caption_bank
from rsctir_hf.training.objectives.objective import Batch, Objective, Options
from rsctir_hf.training.recipe_files import check


@dataclass(frozen=True)
class KeptSentencesOptions(Options):
    """Options of ``kept_sentences``.

    Attributes:
        sentences: of the bank beside each batch; every step takes the next ones.
        reading: weight of what pictures read, beside the sentences' 1. More than 0 takes a second
            copy of the model, and a forward pass of it in each step.
        pictures: of the batch that read, at most.
        temperature: of the softmax over all sentences of the bank that a picture reads.
    """

    sentences: int = 64
    reading: float = 0.0
    pictures: int = 16
    temperature: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self, "sentences", self.sentences >= 1, "1 or more")
        check(self, "reading", self.reading >= 0, "0 or more")
        check(self, "pictures", self.pictures >= 1, "1 or more")
        check(self, "temperature", self.temperature > 0, "more than 0")


class KeptSentences(Objective):
    """How far the model has moved from what the base makes of sentences of the bank.

    The mean of 1 - cosine between a sentence's two vectors; and, with a weight, the divergence
    (Kullback-Leibler) of each picture's softmax over the base's vectors from that of the base.
    """

    Options: ClassVar[type[Options]] = KeptSentencesOptions
    options: KeptSentencesOptions
    vectors: Tensor
    next: Tensor
    base: tuple[Any, ...]  # no module by itself: nobody trains or saves it with the model

    def __init__(self, options: KeptSentencesOptions, model: Any, facts: RowFacts) -> None:  # noqa: ANN401
        super().__init__(options, model, facts)
        self.register_buffer("next", torch.zeros((), dtype=torch.int64))

    def begin(self, encoder: Encoder) -> None:
        """Ask the base for its vectors, in an order that the run's seed has drawn."""
        bank = read_caption_bank()
        bank = [bank[row] for row in torch.randperm(len(bank)).tolist()]
        tokens = encoder.tokens(bank)
        self.names = tuple(tokens)
        for name in self.names:
            self.register_buffer(name, tokens[name], persistent=False)  # (C, T)
        self.register_buffer("vectors", encoder.texts(bank).clone(), persistent=False)  # (C, D)
        if self.options.reading:
            self.base = (copy.deepcopy(encoder.model).eval().requires_grad_(False),)

    def forward(self, batch: Batch) -> Tensor:
        """Return the distance, a scalar."""
        steps = torch.arange(self.options.sentences, device=self.next.device)
        rows = (self.next + steps) % len(self.vectors)
        self.next.copy_((rows[-1] + 1) % len(self.vectors))
        tokens = {name: getattr(self, name)[rows] for name in self.names}
        found = batch.model.get_text_features(**tokens).pooler_output.float()  # (S, D)
        moved = (1 - (normalize(found, dim=1) * self.vectors[rows]).sum(dim=1)).mean()
        if self.options.reading:
            moved = moved + self.options.reading * self._read_otherwise(batch)
        return moved

    def _read_otherwise(self, batch: Batch) -> Tensor:
        """Return how far the pictures' reading of the bank is from the base's, a scalar."""
        most = self.options.pictures
        pictures = {
            name: each[:most] for name, each in batch.inputs.items() if name not in self.names
        }
        with torch.no_grad():
            (base,) = self.base
            before = base.to(self.next.device).get_image_features(**pictures).pooler_output
        return kl_div(
            self._reading(batch.outputs.image_embeds[:most]),
            self._reading(before),
            reduction="batchmean",
            log_target=True,
        )

    def _reading(self, pictures: Tensor) -> Tensor:
        """Return the logarithm of (B, C) shares of attention, from (B, D) vectors."""
        cosines = normalize(pictures.float(), dim=1) @ self.vectors.T
        return (cosines / self.options.temperature).log_softmax(dim=1)
