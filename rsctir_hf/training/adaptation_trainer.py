"""Adaptation without captions: a model goes on with its picture tower alone.

Text side and logit scale stay as they are, so that its words mean what they meant. The tower learns
to place each picture near the sentences it was assigned, whatever the view (``pseudo_captions``),
by the three label-free terms (``objectives.label_free``), and not far from where the initial model
put it. Two sensors: it reads the second one's pictures, and is taught by the first one's.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from rsctir_hf.data.collator import EpochView, RowDrawer, TrainingRow
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.embedding.roles import Processor
from rsctir_hf.files.pictures import read_image
from rsctir_hf.training.adaptation_args import AdaptationArguments
from rsctir_hf.training.adaptation_data import Lesson
from rsctir_hf.training.before_after import table_lines
from rsctir_hf.training.objectives.label_free import label_free_loss
from rsctir_hf.training.pseudo_captions import caption_loss
from rsctir_hf.training.report import Judged
from rsctir_hf.training.retrieval_trainer import RetrievalTrainer, cosines
from rsctir_hf.training.sets import TrainingData
from rsctir_hf.training.staged import hold_statistics

logger = logging.getLogger(__name__)

_OTHER_VIEW = 1_000_003  # added to the seed of a run for the second view of a picture


class AdaptationTrainer(RetrievalTrainer):
    """Trains the picture side of either family on pictures alone.

    Args:
        encoder: the initial model with its processor.
        args: how.
        data: the pictures, and the captioned sets on which both models are scored.
        lesson: what the initial model made of the pictures.
        two_sensors: it was made of other pictures of the same places.
    """

    args: AdaptationArguments

    def __init__(
        self,
        encoder: Encoder,
        args: AdaptationArguments,
        *,
        data: TrainingData,
        lesson: Lesson,
        two_sensors: bool = False,
    ) -> None:
        rows: Any = next(iter(data.train.values()))
        self.used = picture_side(encoder, [read_image(rows[0]["image"])])
        super().__init__(encoder, args, data=data)
        draw = self.view.draw
        other = replace(draw, seed=draw.seed + _OTHER_VIEW)
        self.view = ViewsOfPictures(rows, draws=(draw,) if two_sensors else (draw, other))
        self.data_collator = ViewCollator(cast(Processor, encoder.processor), lesson)
        self.bank = lesson.bank.to(args.device)

    def freeze(self, epoch: float) -> None:
        """See ``StagedTrainer``; what embedding a picture does not use stays frozen, too."""
        super().freeze(epoch)
        for name, parameter in self.model.named_parameters():
            if name not in self.used:
                parameter.requires_grad_(False)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, Any]:
        """Sum of the weighted losses of one batch of B pictures in one view or two."""
        inner = self.accelerator.unwrap_model(model)
        if self.args.hold_batch_norm:
            hold_statistics(inner)
        assignments, anchors = inputs.pop("assignments"), inputs.pop("anchors")
        outputs = model(**inputs)
        vectors = outputs.image_embeds.float()  # (V * B, D)
        with torch.autocast(vectors.device.type, enabled=False):
            loss = self.picture_loss(
                vectors, assignments.float(), anchors, scale=inner.logit_scale.detach().exp()
            )
        return (loss, outputs) if return_outputs else loss

    def picture_loss(
        self, vectors: Tensor, assignments: Tensor, anchors: Tensor, *, scale: Tensor
    ) -> Tensor:
        """Return the loss of V views of B pictures, (V * B, D), all pictures view by view.

        Args:
            vectors: of the views.
            assignments: (B, U) of a ``Lesson``.
            anchors: (B, D) of it.
            scale: 1 / tau of the model.
        """
        args, views = self.args, vectors.split(len(anchors))
        loss = vectors.new_zeros(())
        if args.bank_weight:
            similarity = cosines(vectors, self.bank)  # (V * B, U)
            assigned = assignments.repeat(len(views), 1)
            loss = loss + args.bank_weight * caption_loss(similarity, assigned, scale=scale)
        if args.label_free_weight:
            loss = loss + args.label_free_weight * label_free_loss(
                views[0],
                views[1] if len(views) > 1 else anchors,
                temperature=args.label_free_temperature,
            )
        if args.anchor_weight:
            moved = 1 - (vectors * anchors.repeat(len(views), 1)).sum(dim=1)
            loss = loss + args.anchor_weight * moved.mean()
        return loss

    def choose(self, judged: Mapping[str, Judged]) -> None:
        """Choose nothing: there are no captions of these pictures to choose by."""

    def show(self) -> None:
        """Log the table of both models on what has captions."""
        for line in table_lines(self.compared):
            logger.info(line)


class ViewsOfPictures(EpochView):
    """Pictures in one view or several, drawn anew in each epoch; see ``EpochView``.

    Args:
        rows: a data set with ``image``; its captions, if any, are not looked at.
        draws: what is done to a picture, for each view.
    """

    def __init__(self, rows: Any, *, draws: Sequence[RowDrawer]) -> None:  # noqa: ANN401
        super().__init__(rows, draw=draws[0])
        self.draws = draws

    def __getitem__(self, index: int) -> Any:  # noqa: ANN401 - a row for each view
        epoch, row = divmod(int(index), len(self))
        picture = self._picture(row, self._all[row])
        return tuple(draw(picture, (), epoch=epoch, row=row) for draw in self.draws)


class ViewCollator:
    """Makes model inputs of the views of B pictures, and brings what is to be learnt of them.

    Args:
        processor: of the model.
        lesson: of all pictures.
    """

    def __init__(self, processor: Processor, lesson: Lesson) -> None:
        self.processor = processor
        self.lesson = lesson

    def __call__(self, pictures: Sequence[tuple[TrainingRow, ...]]) -> dict[str, Tensor]:
        """Return the processor's tensors of (V * B) views, ``assignments`` and ``anchors`` of B."""
        views = [view for together in zip(*pictures, strict=True) for view in together]
        side = views[0].side
        options = {} if side is None else {"size": {"height": side, "width": side}}
        images = [view.image for view in views]
        inputs = self.processor(images=images, return_tensors="pt", **options)
        rows = [first.row for first, *_ in pictures]
        lesson = self.lesson
        taught = {"assignments": lesson.assignments[rows], "anchors": lesson.anchors[rows]}
        return {**inputs, **taught}


def picture_side(encoder: Encoder, pictures: Sequence[Any]) -> frozenset[str]:
    """Return the names of the parameters that the vectors of pictures depend on.

    Args:
        encoder: of any family.
        pictures: RGB, to look at.
    """
    model: Any = encoder.model
    named = dict(model.named_parameters())
    was_training = model.training
    model.eval()
    with torch.enable_grad():
        vectors = model.get_image_features(**encoder.inputs(pictures)).pooler_output
        slopes = torch.autograd.grad(vectors.sum(), list(named.values()), allow_unused=True)
    model.train(was_training)
    return frozenset(name for name, slope in zip(named, slopes, strict=True) if slope is not None)
