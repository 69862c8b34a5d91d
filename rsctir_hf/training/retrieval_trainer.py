"""The Hugging Face Trainer for both families: the one place where models and losses meet.

Everything that depends on time is a function of the step or epoch number (augmentation,
caption choice, batches, what is frozen), so a run resumed from a checkpoint equals the
uninterrupted one.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from importlib import import_module
from itertools import chain
from statistics import fmean
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import ProcessorMixin, TrainerCallback

from rsctir_hf.data.augmentation import Augmentation
from rsctir_hf.data.collator import EpochView, RetrievalCollator, RowDrawer
from rsctir_hf.data.row_facts import RowFacts
from rsctir_hf.data.sampler import CaptionAwareSampler
from rsctir_hf.data.stream import StreamedTable, StreamView
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.evaluation import evaluate_retrieval
from rsctir_hf.files.atomic import replacing_files, write_atomically
from rsctir_hf.loading.adapters import AdapterBase, chosen_settings, write_base
from rsctir_hf.loading.hub_files import remove_other_kind
from rsctir_hf.losses import (
    distillation_loss,
    info_nce_loss,
    intra_class_loss,
    triplet_loss,
)
from rsctir_hf.sample import read_caption_bank
from rsctir_hf.search.matcher import PairMatcher
from rsctir_hf.training.base_weights import SHARES, BaseWeights, named_tensors, share_by_pictures
from rsctir_hf.training.before_after import BeforeAfter, Compared, table_lines
from rsctir_hf.training.matching_pairs import draw_pairs, fusion_loss
from rsctir_hf.training.objectives.objective import Batch
from rsctir_hf.training.objectives.registry import attach_objectives, detach_objectives
from rsctir_hf.training.pair_ledger import PairLedger
from rsctir_hf.training.recipe_args import (
    BY_PICTURES,
    FAMILIES,
    ON_VALIDATION,
    RetrievalTrainingArguments,
)
from rsctir_hf.training.report import Judged, choose_on_validation, judge, validation_reports
from rsctir_hf.training.sets import TEST, VALIDATION, TrainingData
from rsctir_hf.training.staged import StagedTrainer, hold_statistics
from rsctir_hf.training.tuned_page import PAGE_FILE, TunedPage

logger = logging.getLogger(__name__)

_FACTOR = ".lora_B."
#: What a batch holds beside the model's inputs, where it is known.
KNOWN = ("pairs", "classes", "labels")


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
        self.adapter = adapter_for(encoder.model, args) if args.lora else None
        self.merged: Any = None  # a loading.lora.MergedAdapter
        streamed = isinstance(self.view, StreamView)
        facts = RowFacts() if streamed or not args.objectives else RowFacts.of(data.train)
        of_base = named_tensors(encoder.model)
        self.objectives = attach_objectives(
            encoder, args.chosen_objectives, facts=facts, seed=args.seed
        )
        made = named_tensors(encoder.model).items()
        new = {name for name, tensor in made if of_base.get(name) is not tensor}
        processor = cast(ProcessorMixin, encoder.processor)
        super().__init__(
            model=encoder.model,
            args=args,
            train_dataset=self.view,
            eval_dataset=data.validation,
            data_collator=RetrievalCollator(
                processor, data.teachers, regions=encoder.regions, known=facts
            ),
            processing_class=processor,
            callbacks=callbacks,
        )
        # Heads that objectives made are none of the base's. Of an adapter one factor is mixed: it
        # begins with zero, and the base is without it.
        factor = "" if self.adapter is None else _FACTOR
        self.base = (
            BaseWeights(self.model, lambda name: factor in name and name not in new)
            if args.fixed_share != 0
            else None
        )
        self.add_callback(PairLedger(self.objectives, data.train))
        self.before: BeforeAfter | None = None
        self.compared: list[Compared] = []
        self.base_share = 0.0  # of its weights in the finished ones
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
        known = {name: inputs.pop(name) for name in KNOWN if name in inputs}
        asked = any(each.hidden_states for each in self.objectives.values())
        outputs = model(**inputs, **({"output_hidden_states": True} if asked else {}))
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
        batch = Batch(
            model=inner,
            inputs=inputs,
            outputs=outputs,
            similarity=similarity,
            image_of_caption=image_of_caption,
            positives=positives,
            scale=scale,
            epoch=self.state.epoch or 0.0,
            **known,
        )
        for objective in self.objectives.values():
            loss = loss + objective.options.weight * objective(batch)
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

    def settle_weights(self) -> dict[str, Any]:
        """Mix in the model it goes on from, and round; an adapter is merged into the weights.

        Returns:
            Where there is such a model, ``base``: its name and revision, of an adapter the
            fingerprint of its weights, the ``share`` of them that was mixed in, if any, and, where
            it was chosen, the mean validation mR by share.
        """
        detach_objectives(self.model)
        encoder, mixed = self.encoder, self.mix_with_base()
        self.base_share = mixed.get("share", 0.0)
        base = {"model": encoder.id, "revision": encoder.revision}
        if self.adapter is None:
            return super().settle_weights() | (
                {"base": base | mixed} if encoder.id or mixed else {}
            )
        self.average = None  # the model holds it
        self.adapter.round()
        self.adapter.config.base_model_name_or_path = encoder.id
        self.adapter.config.revision = encoder.revision
        self.merged = self.adapter.merge()
        self.model.eval()
        base["weights"] = self.merged.base
        return {"weights": self.merged.fingerprint, "base": base | mixed}

    def mix_with_base(self) -> dict[str, Any]:
        """Mix in the share of the base that the run asks for; see ``settle_weights``."""
        share = self.args.fixed_share
        if self.base is None:
            return {}
        if self.args.base_share == BY_PICTURES:
            share = share_by_pictures(sum(self.data.counts.values()))
        if share is None:
            return self.base.choose(
                lambda: self.score(self.eval_dataset)["mR"], kept_gain=self.args.kept_gain
            )
        self.base.mix(share)
        logger.info("The finished weights are mixed: %.2g of them are the base's", share)
        return {"share": share}

    def save_finished(self) -> None:
        """Write the finished model and its processor, or the adapter alone; nothing is pushed."""
        if self.merged is None:
            super().save_finished()
            return
        with replacing_files(self.args.folder) as unfinished:
            self.merged.save(unfinished)
            encoder, config = self.encoder, self.encoder.config
            settings = chosen_settings(config)
            base = (encoder.id, encoder.revision, config.model_type, self.merged.base, settings)
            write_base(unfinished, AdapterBase(*base))
        remove_other_kind(self.args.folder, adapter=True, families=FAMILIES)

    def final_results(self) -> dict[str, Any]:
        """Make the choices on validation, and say in the configuration what the model has seen.

        Returns:
            ``seen_before``, by the model it goes on from, ``own_data``, what is known of such
            sets, and ``validation``, the reports.
        """
        encoder, config = self.encoder, self.encoder.config
        judged = judge(encoder, self.data.validation)
        compared = self.compare(judged)
        self.choose(judged)
        seen_before = config.training_images
        seen = filter(None, [self.data.describe(), seen_before])
        config.training_images = "; before that ".join(seen)
        reports = validation_reports(
            encoder,
            judged,
            bank=read_caption_bank(),
            source={"model": self.args.model_name, "split": VALIDATION, "seed": self.args.seed},
        )
        own = {name: asdict(known) for name, known in self.data.own.items()}
        objectives = {name: asdict(each.options) for name, each in self.objectives.items()}
        return {
            "seen_before": seen_before,
            "own_data": own,
            "objectives": objectives,
            "validation": reports,
            **compared,
        }

    def choose(self, judged: Mapping[str, Judged]) -> None:
        """Choose on validation what a search uses beside the weights."""
        choose_on_validation(self.encoder, judged)

    @property
    def base_score(self) -> float | None:
        """See ``StagedTrainer``."""
        return None if self.before is None else self.before.base_score

    @property
    def ending_in_evaluations(self) -> float:
        """See ``StagedTrainer``: choices, reports, and both models on what is scored once."""
        validation = sum(map(len, self.data.validation.values())) or 1
        once = [
            *self.data.test.values(),
            *chain(*(each.values() for each in self.data.kept.values())),
        ]
        shares = len(SHARES) if self.args.base_share == ON_VALIDATION else 0
        return 1 + shares + 2 * sum(map(len, once)) / validation

    def remember_base(self) -> None:
        """Score the model that the run goes on from, to say in the end what was gained."""
        self.before = BeforeAfter(
            self.encoder, self.data.validation, test=self.data.test, kept=self.data.kept
        )

    def compare(self, judged: Mapping[str, Judged]) -> dict[str, Any]:
        """Score the result beside the base, where the run goes on from one.

        Returns:
            ``before_after``, and ``test``: the result's reports on what is no benchmark.
        """
        if self.before is None:
            return {}
        matrices = {name: each.data for name, each in judged.items()}
        self.compared = self.before.compare(self.encoder, matrices)
        source: dict[str, Any] = {"model": self.args.model_name, "seed": self.args.seed}
        test = [each for each in self.compared if each.split == TEST and not each.kept]
        return {
            "test": [
                each.after.report.with_source(**source, data=each.data, split=TEST).to_dict()
                for each in test
            ],
            "before_after": [each.to_dict() for each in self.compared],
        }

    def show(self) -> None:
        """Write the page of what tuning has changed, and log its table."""
        if self.before is None:
            return
        page = TunedPage(
            model=self.args.model_name,
            base=self.encoder.id,
            compared=self.compared,
            curve=[(epoch, score) for _, epoch, score in self.evaluations],
            base_score=self.before.base_score,
            best_epoch=self.best_epoch,
            base_share=self.base_share,
        )
        write_atomically(self.args.folder / PAGE_FILE, page.html())
        for line in table_lines(self.compared):
            logger.info(line)
        logger.info("What rose and fell, with pictures: %s", self.args.folder / PAGE_FILE)


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


def adapter_for(model: nn.Module, args: RetrievalTrainingArguments) -> Any:  # noqa: ANN401
    """Return ``adapted_layers.add_adapter``'s; only who asks for an adapter needs its package."""
    return import_module("rsctir_hf.training.adapted_layers").add_adapter(model, args)


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
