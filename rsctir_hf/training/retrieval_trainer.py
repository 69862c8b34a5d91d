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
from rsctir_hf.data.collator import EpochView, RetrievalCollator, RowDrawer
from rsctir_hf.data.sampler import CaptionAwareSampler
from rsctir_hf.data.stream import StreamedTable, StreamView
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.evaluation import evaluate_retrieval
from rsctir_hf.losses import (
    distillation_loss,
    hard_negative_indices,
    info_nce_loss,
    intra_class_loss,
    matching_loss,
    triplet_loss,
)
from rsctir_hf.sample import read_caption_bank
from rsctir_hf.search.matcher import PairMatcher
from rsctir_hf.training.recipe_args import RetrievalTrainingArguments
from rsctir_hf.training.report import choose_on_validation, judge, validation_reports
from rsctir_hf.training.sets import VALIDATION, TrainingData
from rsctir_hf.training.staged import StagedTrainer, hold_statistics


class RetrievalTrainer(StagedTrainer):
    """Trains any of the two families on one data set or several, and evaluates retrieval.

    A batch never mixes data sets, and each validation set is a gallery of its own.

    Args:
        encoder: a GaLR or CMPAGL-style model with its processor, which is saved with every
            checkpoint; a proposer's regions all pictures get.
        args: losses, augmentation, freezing, averaging and all of ``TrainingArguments``.
        data: the sets; any sequence of rows with ``image`` and ``captions`` will do for one.
        callbacks: see ``StagedTrainer``.
    """

    args: RetrievalTrainingArguments

    def __init__(
        self,
        encoder: Encoder,
        args: RetrievalTrainingArguments,
        *,
        data: TrainingData,
        callbacks: list[TrainerCallback] | None = None,
    ) -> None:
        self.encoder = encoder
        self.data = data
        self.view = training_view(data.train, args)
        processor = cast(ProcessorMixin, encoder.processor)
        super().__init__(
            model=encoder.model,
            args=args,
            train_dataset=self.view,
            eval_dataset=data.validation,
            data_collator=RetrievalCollator(processor, data.teachers, regions=encoder.regions),
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
        scale = inner.logit_scale.exp()
        loss = self.alignment_loss(similarity, image_of_caption, positives, scale=scale)
        if teacher_logits is not None:
            loss = loss + self.args.distillation_weight * distillation_loss(
                similarity,
                teacher_logits,
                scale=scale,
                temperature=self.args.distillation_temperature,
            )
        if self.matching_is_on(inner):
            pairs = draw_pairs(
                (similarity * scale).detach(),
                positives,
                image_of_caption,
                generator=self.step_generator(),
            )
            loss = loss + self.args.matching_weight * fusion_loss(
                inner, outputs, inputs["attention_mask"], pairs=pairs
            )
        return (loss, outputs) if return_outputs else loss

    def alignment_loss(
        self, similarity: Tensor, image_of_caption: Tensor, positives: Tensor, *, scale: Tensor
    ) -> Tensor:
        """Contrastive plus triplet loss on the similarity matrix (B, C); ``scale`` is 1 / tau."""
        args = self.args
        loss = similarity.new_zeros(())
        if args.contrastive_weight:
            loss = loss + args.contrastive_weight * info_nce_loss(
                similarity, positives, scale=scale
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

    def score(self, rows: Any) -> dict[str, float]:  # noqa: ANN401
        """Score retrieval over each validation set, a gallery of its own.

        Returns:
            ``i2t_R@1`` ... ``mR`` in percent, each the mean over the sets; where there are
            several, ``NAME_mR`` and so on beside them.
        """
        return mean_metrics(
            {
                name: evaluate_retrieval(
                    self.encoder, table, batch_size=self.args.per_device_eval_batch_size
                ).metrics
                for name, table in rows.items()
            }
        )

    def final_results(self) -> dict[str, Any]:
        """Make the choices on validation, and say in the configuration what the model has seen.

        Returns:
            ``seen_before``, by the model it goes on from, and ``validation``, the reports.
        """
        encoder, config = self.encoder, self.encoder.config
        judged = judge(encoder, self.data.validation)
        choose_on_validation(encoder, judged)
        seen_before = config.training_images
        seen = filter(None, [self.data.describe(), seen_before])
        config.training_images = "; before that ".join(seen)
        reports = validation_reports(
            encoder,
            judged,
            bank=read_caption_bank(),
            source={"model": self.args.model_name, "split": VALIDATION, "seed": self.args.seed},
        )
        return {"seen_before": seen_before, "validation": reports}


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


def mean_metrics(scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each metric over sets, and ``NAME_KEY`` where there are several.

    Args:
        scores: name of a set -> its metrics in percent; all sets have the same keys.
    """
    keys = next(iter(scores.values()))
    means = {key: fmean(each[key] for each in scores.values()) for key in keys}
    if len(scores) > 1:
        means |= {f"{name}_{key}": each[key] for name, each in scores.items() for key in keys}
    return means


def cosines(image_embeds: Tensor, text_embeds: Tensor) -> Tensor:
    """Compare unit vectors (B, D) and (C, D) in full precision, whatever the towers ran in."""
    with torch.autocast(image_embeds.device.type, enabled=False):
        return image_embeds.float() @ text_embeds.float().T


def draw_pairs(
    scores: Tensor, positives: Tensor, image_of_caption: Tensor, *, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Return each true pair, and the hard negatives drawn for both of its sides.

    Args:
        scores: (B, C) scaled cosines; negatives are drawn with probability softmax of them.
        positives: (B, C) cells that may not serve as negatives.
        image_of_caption: (C,) the picture each caption was drawn for.
        generator: draws the negatives.

    Returns:
        Pictures (P,), their captions (P,), and labels (P,): 1 where both belong together, else 0.
    """
    images, captions = (torch.arange(count, device=scores.device) for count in scores.shape)
    negative_captions, negative_images = hard_negative_indices(
        scores, positives, generator=generator
    )
    has_caption, has_image = negative_captions >= 0, negative_images >= 0
    pair_images = torch.cat([image_of_caption, images[has_caption], negative_images[has_image]])
    pair_captions = torch.cat([captions, negative_captions[has_caption], captions[has_image]])
    labels = (torch.arange(len(pair_images), device=scores.device) < len(captions)).long()
    return pair_images, pair_captions, labels


def fusion_loss(
    model: Any,  # noqa: ANN401 (a PairMatcher with match_logits)
    outputs: Any,  # noqa: ANN401
    attention_mask: Tensor,
    *,
    pairs: tuple[Tensor, Tensor, Tensor],
) -> Tensor:
    """Return the matching loss over pairs.

    Args:
        model: its ``match_logits`` takes text states and image tokens.
        outputs: the model's output with those of both sides.
        attention_mask: (C, T) of the captions.
        pairs: see ``draw_pairs``.
    """
    images, captions, labels = pairs
    logits = model.match_logits(
        text_states=outputs.text_model_output.last_hidden_state[captions],
        attention_mask=attention_mask[captions],
        image_tokens=outputs.vision_model_output.last_hidden_state[images],
    )  # (P, 2)
    return matching_loss(logits, labels)
