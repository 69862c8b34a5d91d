"""An objective of a recipe: its options, its place in the sum, its heads from start to end."""

from dataclasses import dataclass

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from rsctir_hf.errors import RecipeError
from rsctir_hf.training.objectives.objective import Objective, Options
from rsctir_hf.training.objectives.registry import OBJECTIVES
from rsctir_hf.training.recipe_args import RetrievalTrainingArguments, parse_recipe
from rsctir_hf.training.run_record import finish_run
from tests.tiny_training import StopAt, curve, make_trainer, stream_of, tiny_processor, tiny_rows


@dataclass(frozen=True)
class ToyOptions(Options):
    target: float = 3.0
    form: str = "square"
    steps: int = 1


class Toy(Objective):
    """A head that learns to say ``target`` of every picture."""

    Options = ToyOptions
    hidden_states = True

    def __init__(self, options, model, facts):
        super().__init__(options, model, facts)
        self.head = nn.Linear(model.config.projection_dim, 1)
        self.facts = facts
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, batch):
        assert batch.outputs.vision_model_output.hidden_states
        self.seen += 1
        self.batch = batch
        said = self.head(batch.outputs.image_embeds)
        return (said - self.options.target).square().mean()


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    monkeypatch.setitem(OBJECTIVES, "toy", Toy)


@pytest.fixture(scope="module")
def rows():
    kinds = ["harbor", "", "river"]
    labels = [["ship", "water"], None, ["water"]]
    return [
        {**row, "category": kinds[n % 3], "labels": labels[n % 3]}
        for n, row in enumerate(tiny_rows())
    ]


@pytest.fixture(scope="module")
def processor(rows):
    return tiny_processor(rows)


def test_its_loss_is_added_with_its_weight(tmp_path, rows, processor):
    plain = make_trainer(tmp_path / "a", rows, processor, matching_weight=0.0)
    batch = next(iter(plain.get_train_dataloader()))
    expected = plain.compute_loss(plain.model.eval(), dict(batch))
    options = {"objectives": {"toy": {"weight": 0.5, "target": 2}}, "matching_weight": 0.0}
    trainer = make_trainer(tmp_path / "b", rows, processor, **options)
    batch = next(iter(trainer.get_train_dataloader()))
    loss = trainer.compute_loss(trainer.model.eval(), dict(batch))
    toy = trainer.objectives["toy"]
    said = toy.head(toy.batch.outputs.image_embeds)
    torch.testing.assert_close(loss, expected + 0.5 * (said - 2.0).square().mean())


def test_its_batch_says_what_is_known_of_pairs_and_pictures(tmp_path, rows, processor):
    trainer = make_trainer(tmp_path, rows, processor, objectives={"toy": None})
    loader = trainer.get_train_dataloader()
    batch = next(iter(loader))
    trainer.compute_loss(trainer.model, dict(batch))
    seen = trainer.objectives["toy"].batch
    numbers = next(iter(loader.batch_sampler))
    every = [caption for row in rows for caption in row["captions"]]
    first = [sum(len(row["captions"]) for row in rows[:n]) for n in numbers]
    counts = [len(rows[n]["captions"]) for n in numbers]
    assert all(a <= p < a + c for a, p, c in zip(first, seen.pairs.tolist(), counts, strict=True))
    assert trainer.objectives["toy"].facts.pairs == len(every)
    assert seen.classes.tolist() == [[0, -1, 1][n % 3] for n in numbers]
    shown = [[1.0, 1.0], None, [0.0, 1.0]]
    for row, n in zip(seen.labels.tolist(), numbers, strict=True):
        assert row == shown[n % 3] if shown[n % 3] else all(value != value for value in row)
    assert seen.similarity.shape == (4, 4) and "pairs" not in seen.inputs


@pytest.mark.slow
def test_of_a_stream_nothing_is_known(tmp_path, rows, processor):
    options = {"validation": {"ucm": rows[:4]}, "max_steps": 1, "objectives": {"toy": {}}}
    trainer = make_trainer(tmp_path, stream_of(len(rows)), processor, **options)
    trainer.train()
    assert trainer.objectives["toy"].batch.pairs is None


def test_its_heads_begin_by_the_seed_and_leave_the_model_as_it_would_be(tmp_path, rows, processor):
    plain = make_trainer(tmp_path / "a", rows, processor, seed=0)
    after = torch.rand(1)
    weights = []
    for seed in (0, 0, 1):
        trainer = make_trainer(tmp_path / "b", rows, processor, objectives={"toy": {}}, seed=seed)
        assert seed or torch.equal(torch.rand(1), after)
        weights.append(trainer.objectives["toy"].head.weight.detach())
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    names = dict(plain.model.named_parameters())
    assert {n for n, _ in trainer.model.named_parameters() if n not in names} == {
        "objectives.toy.head.weight",
        "objectives.toy.head.bias",
    }


@pytest.mark.parametrize("step", [4, 6])
def test_a_resumed_run_equals_the_uninterrupted_one_heads_and_buffers_included(
    step, tmp_path, rows, processor
):
    options = {"objectives": {"toy": {}}, "matching_weight": 0.0}
    whole = make_trainer(tmp_path / "whole", rows, processor, **options)
    first = whole.objectives["toy"].head.weight.detach().clone()
    whole.train()
    make_trainer(tmp_path / "cut", rows, processor, callbacks=[StopAt(step)], **options).train()
    resumed = make_trainer(tmp_path / "cut", rows, processor, **options)
    torch.manual_seed(99)
    checkpoint = tmp_path / "cut" / "_checkpoints" / f"checkpoint-{step}"
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert curve(resumed)[-3:] == curve(whole)[-3:]
    left, right = whole.model.state_dict(), resumed.model.state_dict()
    assert left.keys() == right.keys() and "objectives.toy.head.weight" in left
    for name, value in left.items():
        torch.testing.assert_close(value, right[name], msg=name)
    assert resumed.objectives["toy"].seen == 9  # steps
    assert not torch.allclose(whole.objectives["toy"].head.weight, first)


def test_its_heads_are_clipped_and_decayed_as_weights_of_the_model(tmp_path, rows, processor):
    trainer = make_trainer(
        tmp_path, rows, processor, objectives={"toy": {}}, weight_decay=0.05,
        lr_factors={"objectives": 2.0},
    )  # fmt: skip
    groups = trainer.create_optimizer().param_groups
    head = trainer.objectives["toy"].head
    found = {
        id(value): (group["lr"], group["weight_decay"])
        for group in groups
        for value in group["params"]
    }
    assert found[id(head.weight)] == (pytest.approx(2e-2), 0.05)
    assert found[id(head.bias)] == (pytest.approx(2e-2), 0.0)
    assert {id(value) for value in trainer.model.parameters()} == set(found)


@pytest.mark.slow
@pytest.mark.parametrize("lora", [False, True])
def test_the_finished_model_has_no_heads_and_its_record_and_card_name_them(
    tmp_path, rows, processor, lora
):
    options = {"objectives": {"toy": {"weight": 2}}, "num_train_epochs": 1, "frozen_epochs": {}}
    options |= {"lora": True, "base_share": "0.5", "lora_rank": 2} if lora else {}
    trainer = make_trainer(tmp_path, rows, processor, **options)
    head = trainer.objectives["toy"].head.weight
    before = head.detach().clone()
    trainer.train()
    assert not torch.equal(head, before)
    finish_run(trainer, [trainer.args], revision=None, training_sets={"ucm": 10})
    (file,) = tmp_path.glob("*.safetensors")
    assert not [name for name in load_file(file) if "objectives" in name]
    card = (tmp_path / "README.md").read_text()
    said = "Further losses of its training: toy (weight 2.0, target 3.0, form square, steps 1)."
    assert said in card
    assert "objectives:\n  toy:\n    weight: 2\n" in (tmp_path / "recipe.yaml").read_text()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("{toi: {}}", r"objectives: no 'toi' is known. Did you mean toy\? There are "),
        (
            "{toy: {wieght: 1}}",
            r"toy: no 'wieght' is known. Did you mean weight\? There are form, ",
        ),
        ("{toy: 3}", "toy is 3; expected a mapping of its options"),
        ("{toy: [a]}", r"toy is \['a'\]; expected a mapping of its options"),
        ("{toy: {form: 1}}", "toy: form is 1; expected str, such as 'square'"),
        ("{toy: {steps: 1.5}}", "toy: steps is 1.5; expected int"),
        ("{toy: {target: yes}}", "toy: target is True; expected float"),
        ("{toy: {weight: 0}}", "toy: weight is 0.0; expected more than 0"),
        ("{toy: {weight: .nan}}", "toy: weight is nan; expected more than 0"),
        ("[toy]", "objectives must be a mapping"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_words(asked, said, tmp_path):
    with pytest.raises(RecipeError, match=said):
        parse_recipe(["--objectives", asked, "--output_dir", str(tmp_path)])


def test_a_flag_takes_the_objectives_of_a_recipe_away(tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("objectives: {toy: {weight: 2}}\n")
    _, _, args = parse_recipe([str(recipe), "--output_dir", str(tmp_path)])
    assert args.chosen_objectives == {"toy": ToyOptions(weight=2.0)}
    _, _, args = parse_recipe([str(recipe), "--output_dir", str(tmp_path), "--objectives", "{}"])
    assert args.chosen_objectives == {}
    assert RetrievalTrainingArguments(output_dir=str(tmp_path)).objectives == {}
