"""MSA's multi-scale training heads: each stage of the image tower is compared with the words.

Source: "Transcending Fusion" (arXiv 2405.18959), formulas from the code it released. On each stage
the pooled map asks the words of each sentence by attention, and what it finds there, with the
sentence's vector, is matched with the map. Each stage learns which sentence is its picture's
(cross), and the earlier ones to judge as the last one does (consistency). The heads serve training
alone; a search compares plain vectors.

Our choices: the heads stand beside the family's own losses, in the place of MSA's triplet loss;
they are as wide as the states of the text tower (MSA: both 768); a sentence's vector of another
width is mapped to that; the scaled targets know that a batch may hold a sentence twice.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsctir_hf.data.row_facts import RowFacts
from rsctir_hf.embedding.encode import device_of, evaluating
from rsctir_hf.errors import RecipeError
from rsctir_hf.training.objectives.objective import Batch, Objective, Options
from rsctir_hf.training.recipe_files import check

RELEASED, SCALED = "released", "scaled"
SOFTENING = 2.0  # divides the released matches in the consistency term


@dataclass(frozen=True)
class MultiscaleOptions(Options):
    """What a recipe may say of it.

    Attributes:
        form: ``released``: matches are sigmoids, so that the cross entropy can hardly fall, words
            of padding are asked too, the first token ([CLS]) is not, and the divergence is divided
            by the number of its cells, so that it hardly acts. ``scaled`` (ours) drops the sigmoid,
            divides by the model's temperature, leaves out padding alone and takes the divergence
            of whole distributions, their mean over sentences.
        cross: weight of the stages' cross entropy; 15 in the released code.
        consistency: weight of the divergence from the last stage; 10 in the released code.
        heads: of the attention; they divide the width of the text tower.
    """

    form: str = SCALED
    cross: float = 15.0
    consistency: float = 10.0
    heads: int = 12

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self, "form", self.form in (RELEASED, SCALED), f"{RELEASED} or {SCALED}")
        check(self, "cross", 0 <= self.cross < math.inf, "0 or more")
        check(self, "consistency", 0 <= self.consistency < math.inf, "0 or more")
        check(self, "heads", self.heads >= 1, "1 or more")


class StageHead(nn.Module):
    """Matches one stage of the image tower with sentences.

    Args:
        channels: of the stage's map.
        width: of words and sentences.
        heads: of the attention; they divide the width.
    """

    def __init__(self, channels: int, width: int, heads: int) -> None:
        super().__init__()
        self.project = nn.Linear(channels, width)
        self.attention = nn.MultiheadAttention(width, heads)
        # The released start.
        nn.init.normal_(self.attention.in_proj_weight, std=width**-0.5)
        nn.init.normal_(self.attention.out_proj.weight, std=(2 * width) ** -0.5)
        self.match = nn.Linear(width, 1)

    def forward(
        self, pooled: Tensor, words: Tensor, *, norm: nn.Module, sentences: Tensor, hidden: Tensor
    ) -> Tensor:
        """Match B pictures with C sentences.

        Args:
            pooled: (B, channels) of the stage.
            words: (C, T, width), normalised.
            norm: of what asks the words.
            sentences: (C, width).
            hidden: (C, T) bool, true where a word is not to be asked.

        Returns:
            (B, C).
        """
        stage = self.project(pooled)  # (B, width)
        weighed = stage * self.match.weight  # (B, width)
        found = attended_dot(
            self.attention, norm(stage), words=words, hidden=hidden, direction=weighed
        )
        return found + weighed @ sentences.T + self.match.bias


def attended_dot(
    attention: nn.MultiheadAttention,
    asking: Tensor,
    *,
    words: Tensor,
    hidden: Tensor,
    direction: Tensor,
) -> Tensor:
    """Return what B vectors find in each of C sentences, along a direction of each vector's own.

    Equal to the product of ``direction`` with the attention's output for each of B x C pairs, which
    would be ``width`` numbers a pair.

    Args:
        attention: its dropout is not used.
        asking: (B, width) queries.
        words: (C, T, width) keys and values.
        hidden: (C, T) bool, true where a word counts for nothing.
        direction: (B, width).

    Returns:
        (B, C).
    """
    heads, bias = attention.num_heads, attention.in_proj_bias.chunk(3)
    query, key, value = (
        F.linear(part, weight, one).unflatten(-1, (heads, -1))
        for part, weight, one in zip(
            (asking, words, words), attention.in_proj_weight.chunk(3), bias, strict=True
        )
    )
    logits = torch.einsum("bhd,cthd->bcht", query, key) / math.sqrt(query.shape[-1])
    shares = logits.masked_fill(hidden[:, None], -torch.inf).softmax(-1)  # (B, C, heads, T)
    along = (direction @ attention.out_proj.weight).unflatten(-1, (heads, -1))  # (B, heads, d)
    seen = torch.einsum("bhd,cthd->bcht", along, value)
    constant = direction @ attention.out_proj.bias  # (B,)
    return (shares * seen).sum((-2, -1)) + constant.unsqueeze(-1)


def cross_loss(
    logits: Sequence[Tensor], positives: Tensor, *, rows: Tensor | None = None
) -> Tensor:
    """Return how badly each stage finds a picture's sentence, the sum over stages.

    Args:
        logits: (B, C) of each stage.
        positives: (B, C) bool; a picture's target is uniform over its own.
        rows: (C,) the picture each sentence was drawn for: then each sentence in turn is its
            picture's only target, as in the released code, which has one sentence a picture.
    """
    if rows is not None:
        targets = torch.arange(len(rows), device=rows.device)
        return torch.stack([F.cross_entropy(each[rows], targets) for each in logits]).sum()
    shares = positives.float() / positives.sum(1, keepdim=True)
    return torch.stack([F.cross_entropy(each, shares) for each in logits]).sum()


def consistency_loss(logits: Sequence[Tensor], *, over_cells: bool) -> Tensor:
    """Return how far earlier stages judge from the last one, the sum over them.

    Each judges by a softmax over pictures for each sentence. That is its Kullback-Leibler
    divergence from the last one's, which learns nothing from it.

    Args:
        logits: (B, C) of each stage, the last one last.
        over_cells: divide the sum by all B x C cells, not by the C sentences.
    """
    last = logits[-1].detach().log_softmax(0)
    apart = [
        F.kl_div(last, each.log_softmax(0), reduction="sum", log_target=True)
        for each in logits[:-1]
    ]
    total = torch.stack(apart).sum() if apart else last.new_zeros(())
    return total / (last.numel() if over_cells else last.shape[1])


def stage_maps(hidden_states: Sequence[Tensor], channels: int) -> list[Tensor]:
    """Return the map (B, C_stage, h, w) that leaves each stage of an image tower.

    Args:
        hidden_states: maps, (B, C, h, w) or (B, h, w, C) throughout; those of equal shape that
            follow each other are of one stage.
        channels: C of the last one.

    Raises:
        RecipeError: they are no maps.
    """
    if not hidden_states or any(state.ndim != 4 for state in hidden_states):
        raise RecipeError(
            "objectives: multiscale needs the stages of an image tower, and this model gives no "
            "maps as its hidden states. Use GaLR or CMPAGL."
        )
    ends = [list(states)[-1] for _, states in groupby(hidden_states, lambda state: state.shape)]
    if ends[-1].shape[-1] == channels:
        return [end.permute(0, 3, 1, 2) for end in ends]
    return ends


class Multiscale(Objective):
    """The heads of all stages, and their loss; see the module.

    Args:
        options: of the recipe.
        model: its hidden states are stages of an image tower.
        facts: unused.

    Raises:
        RecipeError: they are not, or ``heads`` does not divide the width of the text tower.
    """

    Options: ClassVar[type[Options]] = MultiscaleOptions
    hidden_states: ClassVar[bool] = True

    def __init__(self, options: MultiscaleOptions, model: Any, facts: RowFacts) -> None:  # noqa: ANN401
        super().__init__(options, model, facts)
        widths, (width, sentence) = stage_widths(model), text_widths(model)
        if width % options.heads:
            raise RecipeError(
                f"objectives: multiscale: heads is {options.heads}; expected a divisor of {width}, "
                "the width of the text tower's states."
            )
        self.norm_stage, self.norm_words = nn.LayerNorm(width), nn.LayerNorm(width)
        self.sentence = nn.Identity() if sentence == width else nn.Linear(sentence, width)
        self.stages = nn.ModuleList(StageHead(each, width, options.heads) for each in widths)

    def forward(self, batch: Batch) -> Tensor:
        """Return the weighted sum of both terms."""
        options = self.options
        released = options.form == RELEASED
        matches = self.matches(batch)
        if released:
            matches = [torch.sigmoid(each) for each in matches]
            softened = [each / SOFTENING for each in matches]
        else:
            matches = softened = [each * batch.scale.detach() for each in matches]
        rows = batch.image_of_caption if released else None
        loss = options.cross * cross_loss(matches, batch.positives, rows=rows)
        return loss + options.consistency * consistency_loss(softened, over_cells=released)

    def matches(self, batch: Batch) -> list[Tensor]:
        """Return each stage's match (B, C) of pictures and sentences."""
        outputs = batch.outputs
        words = outputs.text_model_output.last_hidden_state
        unread = batch.inputs["attention_mask"] == 0
        if self.options.form == RELEASED:
            words, unread = words[:, 1:], torch.zeros_like(unread[:, 1:])
        words, sentences = self.norm_words(words), self.sentence(outputs.text_embeds)
        asked = {"norm": self.norm_stage, "sentences": sentences, "hidden": unread}
        stages = pooled_stages(outputs.vision_model_output)
        return [
            head(pooled, words, **asked) for head, pooled in zip(self.stages, stages, strict=True)
        ]


def pooled_stages(vision: Any) -> list[Tensor]:  # noqa: ANN401 - of either family
    """Pool each stage (B, C_stage): the greatest of each channel, of the last stage the mean."""
    maps = stage_maps(vision.hidden_states, vision.last_hidden_state.shape[-1])
    return [*(each.amax((2, 3)) for each in maps[:-1]), maps[-1].mean((2, 3))]


def stage_widths(model: Any) -> list[int]:  # noqa: ANN401
    """Return the channels of each stage, by a blank picture."""
    side = model.config.image_size
    blank = torch.zeros(1, 3, side, side, device=device_of(model))
    with evaluating(model):
        vision = model.get_image_features(blank, output_hidden_states=True)
    return [each.shape[-1] for each in pooled_stages(vision)]


def text_widths(model: Any) -> tuple[int, int]:  # noqa: ANN401
    """Return the width of a word's state and of a sentence's vector, by a sentence of one word."""
    with evaluating(model):
        word = torch.ones(1, 1, dtype=torch.long, device=device_of(model))
        text = model.get_text_features(word, attention_mask=word)
    return text.last_hidden_state.shape[-1], text.pooler_output.shape[-1]
