"""The Hugging Face Trainer for both families: the one place where models and losses meet.

Everything that depends on time is a function of the step or epoch number (augmentation,
caption choice, batches, what is frozen), so a run resumed from a checkpoint equals the
uninterrupted one.
"""

from collections.abc import Mapping
from statistics import fmean
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import ProcessorMixin, TrainerCallback

from rsctir_hf.data.augmentation import Augmentation
from rsctir_hf.data.collator import EpochView, RetrievalCollator, RowDrawer, TeacherLogits
from rsctir_hf.data.sampler import CaptionAwareSampler
from rsctir_hf.data.stream import StreamedTable, StreamView
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.embedding.prepare import region_source
from rsctir_hf.embedding.roles import Processor
from rsctir_hf.evaluation import evaluate_retrieval
from rsctir_hf.losses import (
    distillation_loss,
    hard_negative_indices,
    info_nce_loss,
    intra_class_loss,
    matching_loss,
    triplet_loss,
)
from rsctir_hf.regions.proposer import MODEL_REGIONS, RegionProposer
from rsctir_hf.search.matcher import PairMatcher
from rsctir_hf.training.recipe_args import RetrievalTrainingArguments
from rsctir_hf.training.staged import AveragingTrainer, hold_statistics


class RetrievalTrainer(AveragingTrainer):
    """Trains any of the two families on one data set or several, and evaluates retrieval.

    A batch never mixes data sets, and each validation set is a gallery of its own.

    Args:
        model: a GaLR or CMPAGL-style model.
        args: losses, augmentation, freezing, averaging and all of ``TrainingArguments``.
        processor: the model's processor; saved with every checkpoint.
        train_rows: name -> ``datasets.Dataset`` (or any sequence of rows) with ``image`` and
            ``captions``; or one name -> ``StreamedTable``.
        validation_rows: the same for validation; recall is computed over all rows of a set.
        teachers: what other models say about a batch, for ``distillation_weight``; None: nobody.
        regions: ``model``, or a proposer whose regions all pictures get.
    """

    args: RetrievalTrainingArguments

    def __init__(
        self,
        model: nn.Module,
        args: RetrievalTrainingArguments,
        *,
        processor: ProcessorMixin,
        train_rows: Mapping[str, Any],
        validation_rows: Mapping[str, Any],
        teachers: TeacherLogits | None = None,
        regions: str | RegionProposer = MODEL_REGIONS,
        callbacks: list[TrainerCallback] | None = None,
    ) -> None:
        region_source(model, regions)  # refuses what the model cannot take, before any work
        self.validation_rows = validation_rows
        self.regions = regions
        self.view = training_view(train_rows, args)
        super().__init__(
            model=model,
            args=args,
            train_dataset=self.view,
            eval_dataset=validation_rows,
            data_collator=RetrievalCollator(processor, teachers, regions=regions),
            processing_class=processor,
            callbacks=callbacks,
        )
        self.can_return_loss = True
        # Dispatched batches of a stream would be cut as if all their tensors had B rows.
        self.accelerator.dataloader_config.dispatch_batches = False

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, Any]:
        """Sum of the weighted losses of one batch; see ``losses`` for each term."""
        inner = self.accelerator.unwrap_model(model)
        if self.args.hold_batch_norm:
            hold_statistics(inner)
        image_of_caption = inputs.pop("image_of_caption")
        positives = inputs.pop("positives")
        teacher_logits = inputs.pop("teacher_logits", None)
        outputs = model(**inputs)
        similarity = cosines(outputs.image_embeds, outputs.text_embeds)  # (B, C)
        loss = self.alignment_loss(
            similarity, image_of_caption, positives, logit_scale=inner.logit_scale
        )
        if teacher_logits is not None:
            loss = loss + self.args.distillation_weight * distillation_loss(
                similarity,
                teacher_logits,
                scale=inner.logit_scale.exp(),
                temperature=self.args.distillation_temperature,
            )
        if self.matching_is_on(inner):
            loss = loss + self.args.matching_weight * fusion_loss(
                inner,
                outputs,
                inputs["attention_mask"],
                similarity=similarity,
                image_of_caption=image_of_caption,
                positives=positives,
                generator=self.step_generator(),
            )
        return (loss, outputs) if return_outputs else loss

    def alignment_loss(
        self,
        similarity: Tensor,
        image_of_caption: Tensor,
        positives: Tensor,
        *,
        logit_scale: Any,  # noqa: ANN401 (the model's log(1 / tau), a scalar parameter)
    ) -> Tensor:
        """Contrastive plus triplet loss on the similarity matrix (B, C)."""
        args = self.args
        loss = similarity.new_zeros(())
        if args.contrastive_weight:
            loss = loss + args.contrastive_weight * info_nce_loss(
                similarity, positives, scale=logit_scale.exp()
            )
        if args.triplet_weight:
            pairs = (similarity, image_of_caption, positives)
            triplet = triplet_loss(
                *pairs, margin=args.triplet_margin, negatives=args.triplet_negatives
            )
            if args.intra_weight:
                triplet = triplet + args.intra_weight * intra_class_loss(
                    *pairs, margin=args.intra_margin, over=args.intra_positives
                )
            loss = loss + args.triplet_weight * triplet
        return loss

    def matching_is_on(self, model: nn.Module) -> bool:
        """Whether pre-alignment is over and the model has a fusion encoder."""
        done = self.state.global_step / max(1, self.state.max_steps)
        return (
            bool(self.args.matching_weight)
            and isinstance(model, PairMatcher)
            and done >= self.args.pre_alignment_fraction
        )

    def step_generator(self) -> torch.Generator:
        """Random numbers of this step alone, so that a resumed run draws the same negatives."""
        seed = self.args.seed + 1_000_003 * self.state.global_step
        return torch.Generator(self.args.device).manual_seed(seed)

    def get_train_dataloader(self) -> DataLoader:
        """Load caption-aware batches, or a stream; rows are pure functions and need no seed."""
        if isinstance(self.view, StreamView):
            return self.loader_over(self.view)
        batches = CaptionAwareSampler(
            self.view.caption_sets,
            batch_size=self.args.train_batch_size,
            seed=self.args.seed,
            groups=self.view.groups,
        )
        return self.loader_over(self.view, batches)

    def evaluate(
        self,
        eval_dataset: Any = None,  # noqa: ANN401
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Score retrieval over each validation set with the averaged weights, if any.

        Returns:
            ``eval_i2t_R@1`` ... ``eval_mR`` in percent, each the mean over the sets; where there
            are several, ``eval_NAME_mR`` and so on beside them.
        """
        sets = self.validation_rows if eval_dataset is None else eval_dataset
        encoder = Encoder(self.model, cast(Processor, self.processing_class), self.regions)
        with self.averaged_weights():
            scores = {
                name: evaluate_retrieval(
                    encoder, rows, batch_size=self.args.per_device_eval_batch_size
                ).metrics
                for name, rows in sets.items()
            }
        return self.log_evaluation(mean_metrics(scores, prefix=metric_key_prefix))


def training_view(
    train_rows: Mapping[str, Any], args: RetrievalTrainingArguments
) -> EpochView | StreamView:
    """Return the rows of all sets with the run's augmentation; a stream stands alone."""
    draw = RowDrawer(
        seed=args.seed,
        augmentation=Augmentation(
            crop_scale=(args.crop_scale[0], args.crop_scale[-1]) if args.crop_scale else None,
            colour_jitter=args.colour_jitter,
        ),
        captions_per_image=args.captions_per_image,
        word_drop=args.word_drop,
        low_resolution=(args.low_resolution, args.low_resolution_epochs),
    )
    first, *others = train_rows.values()
    if isinstance(first, StreamedTable):
        return StreamView(first, draw)
    return EpochView(first, *others, draw=draw, cache=True)


def mean_metrics(scores: Mapping[str, Mapping[str, float]], *, prefix: str) -> dict[str, float]:
    """Return ``PREFIX_KEY``, the mean over sets, and ``PREFIX_NAME_KEY`` where there are several.

    Args:
        scores: name of a set -> its metrics in percent; all sets have the same keys.
        prefix: what every key of the result begins with.
    """
    keys = next(iter(scores.values()))
    means = {f"{prefix}_{key}": fmean(each[key] for each in scores.values()) for key in keys}
    beside = {
        f"{prefix}_{name}_{key}": value
        for name, each in scores.items()
        for key, value in each.items()
        if len(scores) > 1
    }
    return means | beside


def cosines(image_embeds: Tensor, text_embeds: Tensor) -> Tensor:
    """Compare unit vectors (B, D) and (C, D) in full precision, whatever the towers ran in."""
    with torch.autocast(image_embeds.device.type, enabled=False):
        return image_embeds.float() @ text_embeds.float().T


def fusion_loss(
    model: Any,  # noqa: ANN401 (a PairMatcher with match_logits)
    outputs: Any,  # noqa: ANN401
    attention_mask: Tensor,
    *,
    similarity: Tensor,
    image_of_caption: Tensor,
    positives: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Matching loss over each true pair and the hard negatives drawn for both of its sides.

    Args:
        model: its ``match_logits`` takes text states and image tokens.
        outputs: the model's output with ``image_tokens`` and ``text_states``.
        attention_mask: (C, T) of the captions.
        similarity: (B, C) cosines; negatives are drawn with probability softmax of it.
        image_of_caption: (C,) the picture each caption was drawn for.
        positives: (B, C) cells that may not serve as negatives.
        generator: draws the negatives.
    """
    device = similarity.device
    captions = torch.arange(similarity.shape[1], device=device)
    scores = similarity.detach() * model.logit_scale.detach().exp()
    negative_captions, negative_images = hard_negative_indices(
        scores, positives, generator=generator
    )
    images = torch.arange(similarity.shape[0], device=device)
    has_caption, has_image = negative_captions >= 0, negative_images >= 0
    pair_images = torch.cat(
        [image_of_caption, images[has_caption], negative_images[has_image]]
    )  # (P,)
    pair_captions = torch.cat([captions, negative_captions[has_caption], captions[has_image]])
    labels = (torch.arange(len(pair_images), device=device) < len(captions)).long()
    logits = model.match_logits(
        text_states=outputs.text_states[pair_captions],
        attention_mask=attention_mask[pair_captions],
        image_tokens=outputs.image_tokens[pair_images],
    )  # (P, 2)
    return matching_loss(logits, labels)
