"""The base's vectors of general sentences are kept, so that tuning on a few captions forgets less.

A model tuned on one narrow set of captions moves all other sentences too, though nothing asks it
to. Here some sentences of the caption bank, which drew on no data set, stand beside each batch and
are held where the base had them: learning without forgetting (Li and Hoiem, ECCV 2016) on the text
side alone, where it takes no pictures *(our choice)*.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.sample import read_caption_bank
from rsctir_hf.training.objectives.objective import Batch, Objective, Options
from rsctir_hf.training.recipe_files import check


@dataclass(frozen=True)
class KeptSentencesOptions(Options):
    """Options of ``kept_sentences``.

    Attributes:
        sentences: of the bank beside each batch; every step takes the next ones.
    """

    sentences: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self, "sentences", self.sentences >= 1, "1 or more")


class KeptSentences(Objective):
    """How far general sentences have moved from where the base had them: the mean of 1 - cosine."""

    Options: ClassVar[type[Options]] = KeptSentencesOptions
    options: KeptSentencesOptions
    vectors: Tensor
    next: Tensor

    def begin(self, encoder: Encoder) -> None:
        """Ask the base for its vectors, in an order that the run's seed has drawn."""
        bank = read_caption_bank()
        bank = [bank[row] for row in torch.randperm(len(bank)).tolist()]
        tokens = encoder.tokens(bank)
        self.names = tuple(tokens)
        for name in self.names:
            self.register_buffer(name, tokens[name], persistent=False)  # (C, T)
        self.register_buffer("vectors", encoder.texts(bank).clone(), persistent=False)  # (C, D)
        self.register_buffer("next", torch.zeros((), dtype=torch.int64))

    def forward(self, batch: Batch) -> Tensor:
        """Return the mean distance of the next sentences, a scalar."""
        steps = torch.arange(self.options.sentences, device=self.next.device)
        rows = (self.next + steps) % len(self.vectors)
        self.next.copy_((rows[-1] + 1) % len(self.vectors))
        tokens = {name: getattr(self, name)[rows] for name in self.names}
        found = batch.model.get_text_features(**tokens).pooler_output.float()  # (S, D)
        return (1 - (normalize(found, dim=1) * self.vectors[rows]).sum(dim=1)).mean()
