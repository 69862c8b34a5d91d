"""What wrong captions cost, and what self-paced training and the audit of captions give back.

    python benchmarks/label_noise.py --data data/ucm_captions

Whole rows of UCM-Captions train's captions are permuted among a share of the pictures. A pair
counts as wrong unless the picture still shares a sentence with its own row. Two linear maps learn
on what GaLR's frozen towers give at 128 px (of the pictures 384 principal components); pictures and
sentences go through these once, without augmentation, so that a run takes seconds. All methods have
the same pictures, sentences, batches and schedule, long enough for plain training to learn wrong
pairs by heart. The last epoch is scored on validation, which is clean; no epoch is chosen.
"""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from report import NONE, RESULTS, ROOT, flags, read, run, save
from torch import Tensor, nn
from transformers import get_cosine_schedule_with_warmup

from rsctir_hf.audit.suspicion import Pairs, suspect
from rsctir_hf.data.benchmarks import load_benchmark
from rsctir_hf.data.row_facts import RowFacts
from rsctir_hf.data.sampler import CaptionAwareSampler
from rsctir_hf.embedding.encode import evaluating
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.files.sentences import normalise_caption
from rsctir_hf.hub.card_tables import markdown_table
from rsctir_hf.losses import info_nce_loss, triplet_loss
from rsctir_hf.metrics import directional_metrics
from rsctir_hf.models.galr.backbone_galr import run_backbone
from rsctir_hf.training.objectives.objective import Batch
from rsctir_hf.training.objectives.self_paced import SelfPaced, SelfPacedOptions
from rsctir_hf.training.recipe_args import parse_recipe
from rsctir_hf.training.start import build_model

FILE = RESULTS / "label_noise.json"
RECIPE = ROOT / "training" / "recipes" / "ablations" / "galr_base.yaml"
SHARES = (0.0, 0.2, 0.4, 0.6, 0.8)
SEEDS = (0, 1, 2)
EPOCHS, BATCH, RATE, DECAY, DROPOUT, WARM_UP = 20, 64, 8e-4, 0.05, 0.2, 0.1
PARTS, WIDTH = 384, 256  # of a picture's features, and of the space
#: Objectives by the name of a method; None: contrastive and triplet loss as in the recipes.
METHODS: dict[str, SelfPacedOptions | None] = {
    "plain": None,
    "released": SelfPacedOptions(released=True),
    "self_paced": SelfPacedOptions(),
}
AUDITED = "self_paced"  # whose list is left out of a plain training
LEFT_OUT, PLAIN = "left_out", "plain"
SHOWN = (PLAIN, "released", AUDITED, LEFT_OUT)
COLUMNS = (
    *("Rows permuted", "mR plain", "as released", "self_paced", "plain without what that lists"),
    *("List of the plain model", "of self_paced"),
)


@dataclass(frozen=True)
class Split:
    """A split as the frozen towers give it.

    Attributes:
        images: (B, ``PARTS``) what the picture tower says.
        states: (B, F) the mean of its last states.
        texts: (U, H) what the text tower says of each distinct sentence.
        captions: the sentences of each picture.
        numbers: sentence -> its row in ``texts``.
    """

    images: Tensor
    states: Tensor
    texts: Tensor
    captions: Sequence[Sequence[str]]
    numbers: Mapping[str, int]


class Heads(nn.Module):
    """A linear map of each side into one space."""

    def __init__(self, train: Split) -> None:
        super().__init__()
        self.image = nn.Linear(train.images.shape[1], WIDTH)
        self.text = nn.Linear(train.texts.shape[1], WIDTH)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        """Return unit vectors of both sides."""
        drop = nn.functional.dropout
        seen, read = (drop(each, DROPOUT, training=self.training) for each in (images, texts))
        return F.normalize(self.image(seen), dim=1), F.normalize(self.text(read), dim=1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train every method at every share of noise that the file lacks, and write it after each."""
    parser = flags(__doc__, FILE.name)
    parser.add_argument("--data", required=True, help="UCM-Captions")
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--kept", type=Path, help="file that keeps what the towers gave")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    splits = tower_outputs(options.data, options.kept)
    runs = (read(options.output) or {"runs": []})["runs"]
    for seed in options.seeds:
        for share in options.shares:
            if (share, seed) not in {(each["share"], each["seed"]) for each in runs}:
                runs += measure(splits, share=share, seed=seed)
                runs.sort(key=lambda each: (each["share"], each["seed"]))
                found = {"settings": settings(), "rows": list(summaries(runs)), "runs": runs}
                save(options.output, found, quiet=True)
    print(table({"rows": list(summaries(runs))}))


def settings() -> dict[str, Any]:
    """Return what a reader needs to know of the schedule."""
    return {
        "data": "ucm",
        "split": "validation",
        "recipe": RECIPE.relative_to(ROOT).as_posix(),
        "image_size": 128,
        "epochs": EPOCHS,
        "batch_size": BATCH,
        "learning_rate": RATE,
        "scored": "last epoch",
    }


def tower_outputs(data: str, kept: Path | None) -> dict[str, Split]:
    """Return both splits as the frozen towers give them, read from ``kept`` where it is there."""
    if kept is not None and kept.is_file():
        return {name: Split(**each) for name, each in torch.load(kept, weights_only=True).items()}
    arguments, _, _ = parse_recipe([str(RECIPE), "--data", data])
    tables = {
        name: load_benchmark("ucm", data, split=name, verify=False)
        for name in ("train", "validation")
    }
    encoder = build_model(arguments, tables["train"]["captions"][:])
    splits = {name: encode(encoder, table) for name, table in tables.items()}
    splits = in_parts(splits)
    if kept is not None:
        torch.save({name: vars(each) for name, each in splits.items()}, kept)
    return splits


def in_parts(splits: Mapping[str, Split]) -> dict[str, Split]:
    """Return splits whose pictures are the principal components of train's."""
    seen = splits["train"].images
    mean, spread = seen.mean(dim=0), seen.std(dim=0) + 1e-6
    axes = torch.linalg.svd((seen - mean) / spread, full_matrices=False)[2][:PARTS].T
    return {
        name: replace(each, images=(each.images - mean) / spread @ axes)
        for name, each in splits.items()
    }


def encode(encoder: Encoder, table: Any) -> Split:  # noqa: ANN401 - a datasets.Dataset
    """Send a table through both towers: means of the levels, and means of the words' states."""
    captions = [list(each) for each in table["captions"]]
    distinct = dict.fromkeys(text for each in captions for text in each)
    numbers = {text: number for number, text in enumerate(distinct)}
    images, states, texts, sentences = [], [], [], list(numbers)
    model: Any = encoder.model
    with evaluating(model):
        for start in range(0, len(table), BATCH):
            inputs = encoder.inputs(table[start : start + BATCH]["image"])
            levels, pooled = run_backbone(model.backbone, inputs["pixel_values"], model.config)
            means = [level.mean(dim=(-2, -1)) for level in levels]
            images.append(torch.cat([*means, cast(Tensor, pooled)], dim=1))
            states.append(means[-1])
        for start in range(0, len(sentences), BATCH):
            tokens = encoder.tokens(sentences[start : start + BATCH])
            words = model.get_text_features(**tokens).last_hidden_state  # (C, T, H)
            mask = tokens["attention_mask"].unsqueeze(-1)
            texts.append((words * mask).sum(dim=1) / mask.sum(dim=1))
    return Split(torch.cat(images), torch.cat(states), torch.cat(texts), captions, numbers)


def permuted(
    captions: Sequence[Sequence[str]], *, share: float, seed: int
) -> tuple[list[Sequence[str]], list[bool]]:
    """Permute the rows of a share of the pictures.

    Returns:
        The rows, and whether each now shares no sentence with the picture's own.
    """
    rng = np.random.default_rng([seed, round(100 * share)])
    chosen = rng.permutation(len(captions))[: round(share * len(captions))]
    source = np.arange(len(captions))
    source[chosen] = rng.permutation(chosen)
    own = [{normalise_caption(text) for text in each} for each in captions]
    return (
        [captions[int(place)] for place in source],
        [not own[row] & own[place] for row, place in enumerate(source)],
    )


def measure(splits: Mapping[str, Split], *, share: float, seed: int) -> list[dict[str, Any]]:
    """Train every method on the same noise, and audit what each has made."""
    train, found = splits["train"], []
    captions, wrong = permuted(train.captions, share=share, seed=seed)
    shared = {"share": share, "seed": seed, "wrong": round(statistics.fmean(wrong), 4)}
    for method, options in METHODS.items():
        heads = fit(train, captions, seed=seed, options=options)
        listed = audit(heads, train, captions)
        mR = score(heads, splits["validation"])  # noqa: N806
        found.append({"method": method, **shared, "mR": round(mR, 3), **judged(listed, wrong)})
        if method == AUDITED:
            kept = [
                [text for text, out in zip(row, outs, strict=True) if not out]
                for row, outs in zip(captions, listed, strict=True)
            ]
            heads = fit(train, kept, seed=seed, options=None)
            mR = score(heads, splits["validation"])  # noqa: N806
            found.append({"method": LEFT_OUT, **shared, "mR": round(mR, 3)})
    return found


def fit(
    train: Split,
    captions: Sequence[Sequence[str]],
    *,
    seed: int,
    options: SelfPacedOptions | None,
) -> Heads:
    """Train heads on pictures with these captions; those without any are left out."""
    rows = [row for row, each in enumerate(captions) if each]
    said = [list(captions[row]) for row in rows]
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    heads, facts = Heads(train), RowFacts([len(each) for each in said])
    first = np.cumsum([0, *map(len, said)])
    objective = None if options is None else SelfPaced(options, heads, facts)
    sentence, carried = carriers(said)
    sampler = CaptionAwareSampler(said, batch_size=BATCH, seed=seed)
    optimizer = torch.optim.AdamW(heads.parameters(), lr=RATE, weight_decay=DECAY)
    steps = len(sampler) * EPOCHS
    schedule = get_cosine_schedule_with_warmup(optimizer, round(WARM_UP * steps), steps)
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        for number, batch in enumerate(sampler):
            places = [index % len(said) for index in batch]
            drawn = [int(rng.integers(len(said[place]))) for place in places]
            texts = [said[place][each] for place, each in zip(places, drawn, strict=True)]
            images = train.images[[rows[place] for place in places]]
            loss = loss_of(
                heads,
                (images, train.texts[[train.numbers[text] for text in texts]]),
                positives=carried[places][:, [sentence[text] for text in texts]],
                pairs=torch.tensor(
                    [first[p] + each for p, each in zip(places, drawn, strict=True)]
                ),
                epoch=epoch + number / len(sampler),
                objective=objective,
            )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(heads.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return heads.eval()


def carriers(captions: Sequence[Sequence[str]]) -> tuple[dict[str, int], Tensor]:
    """Number the sentences, and say which pictures carry each: (B, S) bool."""
    known: dict[str, int] = {}
    sentence = {
        text: known.setdefault(normalise_caption(text), len(known))
        for each in captions
        for text in each
    }
    carried = torch.zeros(len(captions), len(known), dtype=torch.bool)
    for row, each in enumerate(captions):
        carried[row, [sentence[text] for text in each]] = True
    return sentence, carried


def loss_of(
    heads: Heads,
    inputs: tuple[Tensor, Tensor],
    *,
    positives: Tensor,
    pairs: Tensor,
    epoch: float,
    objective: SelfPaced | None,
) -> Tensor:
    """Return the loss of one batch."""
    images, texts = heads(*inputs)
    similarity, own, scale = images @ texts.T, torch.arange(len(pairs)), heads.logit_scale.exp()
    if objective is not None:
        return objective(
            Batch(heads, {}, None, similarity, own, positives, scale, epoch, pairs=pairs)
        )
    contrastive = info_nce_loss(similarity, positives, scale=scale)
    return contrastive + triplet_loss(similarity, own, positives, negatives="mean")


@torch.no_grad()
def score(heads: Heads, split: Split) -> float:
    """Return the mR of heads on a split, percent."""
    images, texts = heads(split.images, split.texts)
    numbers = torch.tensor([split.numbers[text] for each in split.captions for text in each])
    own = torch.tensor([row for row, each in enumerate(split.captions) for _ in each])
    similarity = images @ texts[numbers].T
    return directional_metrics(similarity, similarity, own)["mR"]


@torch.no_grad()
def audit(heads: Heads, train: Split, captions: Sequence[Sequence[str]]) -> list[list[bool]]:
    """Return which pairs look wrong to what was trained on them, by picture."""
    images, texts = heads(train.images, train.texts)
    owners = torch.tensor([row for row, each in enumerate(captions) for _ in each])
    numbers = torch.tensor([train.numbers[text] for each in captions for text in each])
    found = suspect(Pairs(images, train.states, texts, owners, numbers))
    listed = iter(found.looks_wrong.tolist())
    return [[next(listed) for _ in each] for each in captions]


def judged(listed: Sequence[Sequence[bool]], wrong: Sequence[bool]) -> dict[str, Any]:
    """Return how many pairs are listed, and precision and recall of the list in percent."""
    right = sum(sum(row) for row, bad in zip(listed, wrong, strict=True) if bad)
    total = sum(map(sum, listed))
    bad = sum(len(row) for row, is_wrong in zip(listed, wrong, strict=True) if is_wrong)
    return {
        "listed": total,
        "precision": round(100 * right / total, 2) if total else None,
        "recall": round(100 * right / bad, 2) if bad else None,
    }


def summaries(runs: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the means over seeds of each method at each share."""
    methods = list(dict.fromkeys(each["method"] for each in runs))
    for share in sorted({each["share"] for each in runs}):
        for method in methods:
            some = [one for one in runs if (one["share"], one["method"]) == (share, method)]
            means = {
                name: round(statistics.fmean(values), 2)
                for name in ("mR", "precision", "recall")
                if (values := [one[name] for one in some if one.get(name) is not None])
            }
            yield {"share": share, "method": method, **means}


def table(found: Mapping[str, Any]) -> str:
    """Return a Markdown table of mR by share of noise, and of the lists' precision and recall."""
    rows = {(row["share"], row["method"]): row for row in found["rows"]}
    lines = []
    for share in sorted({share for share, _ in rows}):
        cells = [f"{100 * share:.0f} %"]
        cells += [f"{rows[share, method]['mR']:.2f}" for method in SHOWN]
        for method in (PLAIN, AUDITED):
            row = rows[share, method]
            cells.append(
                f"{row['precision']:.0f} / {row['recall']:.0f}" if "recall" in row else NONE
            )
        lines.append(cells)
    return markdown_table(COLUMNS, lines)


if __name__ == "__main__":
    run(main)
