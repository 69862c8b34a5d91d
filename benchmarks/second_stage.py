"""Does a second stage help? Text-gated patches and match(), on the shipped towers, frozen.

    python benchmarks/second_stage.py --ucm data/ucm_captions --rsicd data/rsicd_aid --kept FOLDER
    python benchmarks/second_stage.py --only speed

What the towers make of a split is kept in ``--kept`` and made once. Compared, on the validation
splits, with the search of one stage:

- ``free``: the text-gated patches (``reranking.text_gated``) as they are;
- ``gated``: a residual linear map of the patches, learnt with the gated level of the two-level
  InfoNCE on the training pictures of UCM, three seeds;
- ``gated_redundancy``: the same with EERCF's term;
- ``match``: the fusion encoder as it ships, and ``match_trained``: trained from the first step on
  the same pictures, three seeds.

The weight beside the cosine, and the temperature, are chosen on one half of the validation pictures
and scored on the other, both ways round; "off" is among the choices, and the gallery is always
whole. Beside that gain stands the best that any single choice gives on all of them, which is no
honest figure. ``speed``: a query in words over 10,000 pictures with stored patches, with one and
with two stages, turn about. Nothing is scored on a test split.
"""

import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from report import (
    CHECKPOINTS,
    MODELS,
    RESULTS,
    flags,
    median_ratio,
    read,
    run,
    save,
    settings,
    turn_about,
)
from torch import Tensor, nn
from torch.nn.functional import normalize

from rsctir_hf.data.benchmarks import load_benchmark
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.files.pictures import read_image
from rsctir_hf.losses import gated_similarity, info_nce_loss, matching_loss, redundancy_loss
from rsctir_hf.metrics import recall_by_picture
from rsctir_hf.search.fine import FINE_TOP_K
from rsctir_hf.search.matcher import MATCH_TOP_K
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.training.retrieval_trainer import draw_pairs
from rsctir_hf.vector_index.opening import open_index
from rsctir_hf.vector_index.patches import PART_ROWS, PatchPart, PatchStore

OUTPUT = RESULTS / "second_stage.json"
TEMPERATURES = (0.02, 0.05, 0.1, 0.2)
WEIGHTS = (0.1, 0.3, 0.5)
MATCH_WEIGHTS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
SEEDS = (0, 1, 2)
SCALE = 14.3  # inverse temperature that the shipped model has learnt
BAR, SLOWER = 0.5, 2.0
SPEED_PICTURES, SPEED_PATCHES = 10_000, 49
QUERIES = ("planes beside a terminal", "a river with a bridge", "tennis courts", "many ships")
_BATCH, _AT_ONCE, _PAIRS = 4, 32, 256  # pictures, pictures, pairs

Outputs = dict[str, Any]
Key = tuple[float, ...]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = flags(__doc__, OUTPUT.name, models=MODELS, turns=60)
    parser.add_argument("--ucm", help="folder of UCM-Captions")
    parser.add_argument("--rsicd", help="folder of RSICD")
    parser.add_argument("--kept", type=Path, help="keeps what the towers make")
    parser.add_argument("--epochs", type=int, default=4, help="of the trainings of patches")
    parser.add_argument("--match_epochs", type=int, default=3, help="of those of match(); 0: none")
    parser.add_argument("--only", choices=["free", "gated", "match", "speed"])
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    found: dict[str, Any] = {"bar": BAR, "slower_at_most": SLOWER, "settings": settings()}
    found |= earlier(asked.output)
    places = {name: getattr(asked, name) for name in ("ucm", "rsicd") if getattr(asked, name)}
    parts: dict[str, Callable[[], Any]] = {
        "free": lambda: {name: free_gains(name, places, asked.kept) for name in asked.models},
        "gated": lambda: gated_gains(places, asked.kept, epochs=asked.epochs),
        "match": lambda: match_gains(places, asked.kept, epochs=asked.match_epochs),
        "speed": lambda: speed(turns=asked.turns),
    }
    for name, part in parts.items():
        if asked.only in (None, name):
            found[name] = merged(found.get(name, {}), part())
            save(asked.output, found)


def merged(older: Mapping[str, Any], newer: Mapping[str, Any]) -> dict[str, Any]:
    """Return both, with what is newer where both say something; rows of models and sets add up."""
    nested = {
        name: merged(older[name], each)
        for name, each in newer.items()
        if isinstance(each, Mapping) and isinstance(older.get(name), Mapping)
    }
    return {**older, **newer, **nested}


def earlier(file: Path) -> dict[str, Any]:
    """Return what other runs of this script have found."""
    return {} if (there := read(file)) is None else dict(there)


def outputs_of(model: str, place: str, split: str, kept: Path) -> Outputs:
    """Return what the frozen towers of a shipped model make of a split of UCM or RSICD.

    Returns:
        ``vectors`` (B, D), ``patches`` (B, T, D) as an index keeps them, ``tokens`` (B, T, dim) for
        ``match``, ``texts`` (U distinct sentences) with ``text_vectors`` (U, D) and
        ``text_states``, and of each caption its picture, ``image_of_caption`` (C,), and its
        sentence, ``caption`` (C,); ``has`` (B, U) says which picture has which sentence.
    """
    name = "ucm" if "ucm" in place else "rsicd"
    file = kept / f"{model}_{name}_{split}.pt"
    if not file.exists():
        rows = load_benchmark(name, place, split=split, complete=False)
        made = run_towers(Encoder.from_pretrained(CHECKPOINTS / model), rows)
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(made, file)
    made = torch.load(file, weights_only=True)
    patches = normalize(made["patches"].float(), dim=-1)
    stored = PatchPart.of(made["vectors"], patches)
    made["patches"] = stored.rows(torch.arange(len(patches)))
    made["has"] = torch.zeros(len(patches), len(made["texts"]), dtype=torch.bool)
    made["has"][made["image_of_caption"], made["caption"]] = True
    return made


@torch.no_grad()
def run_towers(encoder: Encoder, rows: Any) -> Outputs:  # noqa: ANN401 - a data set
    """Run both towers once over pictures and distinct sentences."""
    model: Any = encoder.model
    vectors, patches, tokens = list[Tensor](), list[Tensor](), list[Tensor]()
    for start in range(0, len(rows), _BATCH):
        batch = rows[start : start + _BATCH]["image"]
        pixels = encoder.inputs([read_image(each) for each in batch])["pixel_values"]
        seen = model.get_image_features(pixels)
        vectors.append(seen.pooler_output)
        tokens.append(seen.last_hidden_state.half())
        patches.append(model.get_patch_features(pixels).half())
    captions = [text for said in rows["captions"] for text in said]
    texts = sorted(set(captions))
    place = {text: number for number, text in enumerate(texts)}
    owners = [row for row, said in enumerate(rows["captions"]) for _ in said]
    return {
        "vectors": torch.cat(vectors),
        "patches": torch.cat(patches),
        "tokens": torch.cat(tokens),
        "texts": texts,
        "text_vectors": encoder.texts(texts),
        "text_states": [states_of(encoder, text) for text in texts],
        "caption": torch.tensor([place[text] for text in captions]),
        "image_of_caption": torch.tensor(owners),
    }


def states_of(encoder: Encoder, text: str) -> Tensor:
    """Return the states (T, hidden) of a sentence's words."""
    return encoder.model.get_text_features(**encoder.tokens([text])).last_hidden_state[0].half()  # type: ignore[operator]


def cross_fitted(data: Outputs, choices: Mapping[Key, Tensor], *, top_k: int) -> dict[str, Any]:
    """Choose on one half of the pictures, score on the other, and put both halves together.

    Args:
        data: of a validation split.
        choices: scores (B, U) that order the ``top_k`` best, by what was chosen.
        top_k: see ``MATCH_TOP_K``.
    """
    coarse = data["vectors"] @ data["text_vectors"].T  # (B, U)
    plain = by_picture(data, coarse, coarse)
    tables: dict[Any, Tensor] = {"off": plain} | {
        key: by_picture(data, best_by(coarse, scores, top_k), best_by(coarse.T, scores.T, top_k).T)
        for key, scores in choices.items()
    }
    half = torch.zeros(len(plain), dtype=torch.bool)
    half[torch.randperm(len(plain), generator=torch.Generator().manual_seed(0))[::2]] = True
    mixed, chosen = plain.clone(), list[Any]()
    for part in (half, ~half):
        best = max(tables, key=lambda key: float(tables[key][part].mean()))
        mixed[~part] = tables[best][~part]
        chosen.append(best)
    gains = {key: float((table - plain).mean()) for key, table in tables.items()}
    top = max(gains, key=gains.__getitem__)
    return {
        "one_stage_mR": round(float(plain.mean()), 2),
        "gain": round(float((mixed - plain).mean()), 2),
        "chosen": [list(key) if key != "off" else key for key in chosen],
        "best_of_all": round(gains[top], 2),
        "best_choice": list(top) if top != "off" else top,
    }


def by_picture(data: Outputs, i2t: Tensor, t2i: Tensor) -> Tensor:
    """Return what each picture contributes to the six cells of mR (B, 6); all have 5 captions."""
    ids = data["caption"]
    return recall_by_picture(i2t[:, ids], t2i[:, ids], data["image_of_caption"])


def best_by(coarse: Tensor, scores: Tensor, top_k: int) -> Tensor:
    """Return scores (Q, G) of the ``top_k`` best of each query, with the others behind."""
    first = coarse.topk(min(top_k, coarse.shape[1]), dim=1).indices  # (Q, K)
    fine = scores.gather(1, first)
    rest = coarse.scatter(1, first, -torch.inf).amax(dim=1)
    lowered = coarse - (rest - fine.amin(dim=1)).clamp(min=0)[:, None]
    return lowered.scatter(1, first, fine)


@torch.no_grad()
def gated_choices(data: Outputs, patches: Tensor) -> dict[Key, Tensor]:
    """Return the mixed scores (B, U) by weight of the fine score and temperature."""
    texts = data["text_vectors"]
    coarse = data["vectors"] @ texts.T
    found: dict[Key, Tensor] = {}
    for tau in TEMPERATURES:
        parts = patches.split(_AT_ONCE)
        fine = torch.cat([gated_similarity(texts, each, temperature=tau) for each in parts])
        found |= {(weight, tau): (1 - weight) * coarse + weight * fine for weight in WEIGHTS}
    return found


def free_gains(model: str, places: Mapping[str, str], kept: Path) -> dict[str, Any]:
    """Return what the text-gated patches bring as they are, by set."""
    found = {}
    for name, place in places.items():
        data = outputs_of(model, place, "validation", kept)
        found[name] = cross_fitted(data, gated_choices(data, data["patches"]), top_k=FINE_TOP_K)
    return found


def gated_gains(places: Mapping[str, str], kept: Path, *, epochs: int) -> dict[str, Any]:
    """Return what patches bring through a map that was trained, by variant and set."""
    train = outputs_of(MODELS[0], places["ucm"], "train", kept)
    variants = {"plain": 0.0, "redundancy": 7e-4}
    maps = {
        variant: [train_map(train, seed, epochs=epochs, redundancy=weight) for seed in SEEDS]
        for variant, weight in variants.items()
    }
    found: dict[str, Any] = {variant: {} for variant in variants}
    for name, place in places.items():
        data = outputs_of(MODELS[0], place, "validation", kept)
        for variant, trained in maps.items():
            scored = [gated_choices(data, each(data["patches"])) for each in trained]
            found[variant][name] = over_seeds(data, scored, top_k=FINE_TOP_K)
    return found


def over_seeds(data: Outputs, scored: Sequence[Mapping[Key, Tensor]], *, top_k: int) -> Any:  # noqa: ANN401 - JSON
    """Return the gain of each seed, their mean, and whether the bar is met."""
    seeds = [cross_fitted(data, choices, top_k=top_k) for choices in scored]
    gains = [each["gain"] for each in seeds]
    mean = round(statistics.fmean(gains), 2)
    return {"mean_gain": mean, "bar_met": mean >= BAR and min(gains) > 0, "seeds": seeds}


class PatchMap(nn.Module):
    """A residual linear map of patches (B, T, D), which begins as none."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.linear.weight)

    def forward(self, patches: Tensor) -> Tensor:
        """Return unit vectors (B, T, D)."""
        return normalize(patches + self.linear(patches), dim=-1)


def train_map(data: Outputs, seed: int, *, epochs: int, redundancy: float) -> PatchMap:
    """Train a map of patches with the gated level of the two-level InfoNCE."""
    torch.manual_seed(seed)
    learned = PatchMap(data["patches"].shape[-1])
    optimizer = torch.optim.AdamW(learned.parameters(), lr=3e-4, weight_decay=0.05)
    for images, captions in batches(data, seed, epochs=epochs, size=128):
        texts = data["text_vectors"][captions]
        patches = learned(data["patches"][images])
        gated = gated_similarity(texts, patches, temperature=0.1)
        loss = info_nce_loss(gated, data["has"][images][:, captions], scale=SCALE)
        if redundancy:
            pooled = normalize(patches.mean(dim=1), dim=-1)
            loss = loss + redundancy * redundancy_loss(pooled, texts)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return learned


def batches(data: Outputs, seed: int, *, epochs: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield pictures (B,) and a sentence (B,) of each, in a new order in every epoch."""
    draw = torch.Generator().manual_seed(seed)
    count = len(data["vectors"])
    sentences = data["caption"].view(count, -1)
    for _ in range(epochs):
        for images in torch.randperm(count, generator=draw).split(size):
            which = torch.randint(sentences.shape[1], (len(images),), generator=draw)
            yield images, sentences[images, which]


def match_gains(places: Mapping[str, str], kept: Path, *, epochs: int) -> dict[str, Any]:
    """Return what match() brings, as it ships and trained on frozen towers, by set."""
    shipped, trained = matcher(), list[Any]()
    if epochs:
        train = outputs_of(MODELS[0], places["ucm"], "train", kept)
        trained = [train_matcher(train, seed, epochs=epochs) for seed in SEEDS]
    found: dict[str, Any] = {"shipped": {}, "trained": {}}
    for name, place in places.items():
        data = outputs_of(MODELS[0], place, "validation", kept)
        choices = match_choices(shipped, data)
        found["shipped"][name] = cross_fitted(data, choices, top_k=MATCH_TOP_K)
        scored = [match_choices(each, data) for each in trained]
        if scored:
            found["trained"][name] = over_seeds(data, scored, top_k=MATCH_TOP_K)
    return found


def matcher() -> Any:  # noqa: ANN401 - a CMPAGLModel
    """Return the shipped model with a fusion encoder."""
    return Encoder.from_pretrained(CHECKPOINTS / MODELS[0]).model


def train_matcher(data: Outputs, seed: int, *, epochs: int) -> Any:  # noqa: ANN401
    """Train fusion encoder and head alone, from the first step (no pre-alignment), as shipped."""
    torch.manual_seed(seed)
    model, draw = matcher(), torch.Generator().manual_seed(seed)
    model.fusion_encoder.train()
    parts = [*model.fusion_encoder.parameters(), *model.match_head.parameters()]
    optimizer = torch.optim.AdamW(parts, lr=1e-4, weight_decay=0.05)
    for images, captions in batches(data, seed, epochs=epochs, size=32):
        cosines = data["vectors"][images] @ data["text_vectors"][captions].T
        positives = data["has"][images][:, captions]
        owners = torch.arange(len(images))
        left, right, labels = draw_pairs(SCALE * cosines, positives, owners, generator=draw)
        loss = matching_loss(pair_logits(model, data, images[left], captions[right]), labels)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parts, 1.0)
        optimizer.step()
    return model.eval()


def pair_logits(model: Any, data: Outputs, images: Tensor, captions: Tensor) -> Tensor:  # noqa: ANN401
    """Return ``match_logits`` (P, 2) of kept tokens and states."""
    states = nn.utils.rnn.pad_sequence(
        [data["text_states"][each].float() for each in captions.tolist()], batch_first=True
    )  # (P, T, hidden)
    lengths = torch.tensor([len(data["text_states"][each]) for each in captions.tolist()])
    mask = (torch.arange(states.shape[1]) < lengths[:, None]).long()
    with torch.autocast("cpu", torch.bfloat16):
        tokens = data["tokens"][images].float()
        return model.match_logits(
            text_states=states, attention_mask=mask, image_tokens=tokens
        ).float()


@torch.no_grad()
def match_choices(model: Any, data: Outputs) -> dict[Key, Tensor]:  # noqa: ANN401
    """Return cosine + weight * probability (B, U) by weight, of the best of both directions."""
    coarse = data["vectors"] @ data["text_vectors"].T
    wanted = torch.zeros_like(coarse, dtype=torch.bool)
    for dim in (0, 1):
        wanted.scatter_(dim, coarse.topk(min(MATCH_TOP_K, coarse.shape[dim]), dim).indices, True)
    judged = torch.zeros_like(coarse)
    for pairs in wanted.nonzero().split(_PAIRS):
        images, captions = pairs.unbind(dim=1)
        logits = pair_logits(model, data, images, captions)
        judged[images, captions] = logits.softmax(dim=-1)[:, 1]
    return {(weight,): coarse + weight * judged for weight in MATCH_WEIGHTS}


def speed(*, turns: int) -> dict[str, Any]:
    """Time a query in words with one and with two stages, over random pictures with patches."""
    encoder = Encoder.from_pretrained(CHECKPOINTS / MODELS[0])
    draw = torch.Generator().manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        index = open_index("exact")
        index.record = asdict(encoder.made_by)
        width = encoder.config.projection_dim
        vectors = normalize(torch.randn(SPEED_PICTURES, width, generator=draw), dim=-1)
        index.add(vectors)
        index.save(Path(folder))
        store = PatchStore(encoder.fingerprint, Path(folder))
        for part in vectors.split(PART_ROWS):
            patches = torch.randn(len(part), SPEED_PATCHES, width, generator=draw)
            store.add(part, normalize(patches, dim=-1))
        size = sum(each.stat().st_size for each in Path(folder).rglob("*.safetensors"))
        retriever = Retriever(encoder, index=open_index(folder))
        asked = {rerank: partial(ask_all, retriever, rerank=rerank) for rerank in ("none", "fine")}
        spent = turn_about(asked, turns)
    ratio = median_ratio(spent["fine"], spent["none"])
    return {
        "pictures": SPEED_PICTURES,
        "bytes_of_a_picture": round(size / SPEED_PICTURES),
        "milliseconds": {
            name: round(1000 * statistics.median(each) / len(QUERIES), 2)
            for name, each in spent.items()
        },
        "times_as_long": ratio,
        "bar_met": ratio <= SLOWER,
    }


def ask_all(retriever: Retriever, *, rerank: str) -> None:
    """Search for each of the sentences."""
    for query in QUERIES:
        retriever.search(query, top_k=10, rerank=rerank)


if __name__ == "__main__":
    run(main)
