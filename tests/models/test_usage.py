"""What users of CLIP-like models do next works with both families, without a line of ours."""

import copy

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.module import register_module_forward_hook
from transformers import (
    AutoImageProcessor,
    AutoModel,
    AutoTokenizer,
    Trainer,
    TrainingArguments,
    default_data_collator,
)

from rsctir_hf.models.galr import GaLRProcessor, build_word_tokenizer
from tests.models import test_modeling_galr as galr
from tests.models import tiny_cmpagl as cmpagl
from tests.models.contract import CAPTIONS, assert_close, pictures_of

#: For each family what LoRA adapts in the picture side and in the text side.
ADAPTED = {
    "cmpagl": {"image_model": ["qkv", "proj"], "text_model": ["query", "value"]},
    "galr": {"backbone": ["conv_pw"], "text_encoder": ["query", "value"]},
}


def cmpagl_parts():
    model = cmpagl.seeded_model(cmpagl.tiny_stem_config(drop_path_rate=0.0))
    cmpagl.open_global_path(model)
    return model, cmpagl.tiny_processor(model)


def galr_parts():
    model = galr.model_of(text_encoder_type="bert", text_config=galr.tiny_bert())
    tokenizer = build_word_tokenizer(CAPTIONS, model_max_length=20)
    return model, GaLRProcessor.build(tokenizer, image_size=model.config.image_size)


@pytest.fixture(params=["cmpagl", "galr"])
def family(request):
    return request.param


@pytest.fixture
def parts(family):
    """A tiny model with random weights and its processor."""
    return {"cmpagl": cmpagl_parts, "galr": galr_parts}[family]()


@pytest.fixture
def inputs(parts):
    return parts[1](images=pictures_of(4), text=list(CAPTIONS), return_tensors="pt")


@pytest.fixture
def folder(parts, tmp_path):
    for part in parts:
        part.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def contrastive_loss(outputs, *_, **__):
    logits = outputs.logits_per_image
    return F.cross_entropy(logits, torch.arange(len(logits)))


@torch.no_grad()
def embed(model, inputs):
    outputs = model.eval()(**inputs)
    return outputs.image_embeds, outputs.text_embeds


@pytest.mark.filterwarnings("ignore::FutureWarning")  # the name before transformers 5.24
def test_gradient_checkpointing_recomputes_and_gives_the_same_gradients(parts, inputs):
    model, _ = parts
    model.train()
    calls, gradients = [], []
    for enabled in (False, True):
        if enabled:
            model.gradient_checkpointing_enable()
        seen = []
        hook = register_module_forward_hook(lambda module, *_, seen=seen: seen.append(id(module)))
        torch.manual_seed(0)
        contrastive_loss(model(**inputs)).backward()
        hook.remove()
        towers = {name: set(map(id, part.modules())) for name, part in model.named_children()}
        calls.append({name: sum(each in ids for each in seen) for name, ids in towers.items()})
        named = model.named_parameters()
        gradients.append({name: value.grad for name, value in named if value.grad is not None})
        model.zero_grad()
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert_close(gradients[1][name], gradient)
    for tower in ADAPTED[model.config.model_type]:
        assert calls[1][tower] > calls[0][tower]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["get_image_features", "get_text_features"])
def test_a_compiled_tower_is_one_graph_and_gives_the_same_vectors(parts, inputs, method):
    model, _ = parts
    given = {
        name: value
        for name, value in inputs.items()
        if (name == "pixel_values") == (method == "get_image_features")
    }
    # The graph is what this is about; code for a timm network takes minutes to make on a small CPU.
    backend = "aot_eager" if method == "get_image_features" else "inductor"
    # GaLR's suppression of overlapping regions leaves a number of boxes that depends on the data,
    # which torch.compile takes into a graph only where it is told to. CMPAGL needs no setting.
    dynamic = model.config.model_type == "galr"
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=dynamic), torch.no_grad():
        compiled = torch.compile(getattr(model, method), fullgraph=True, backend=backend)
        found = compiled(**given).pooler_output
    torch._dynamo.reset()
    with torch.no_grad():
        assert_close(found, getattr(model, method)(**given).pooler_output, tolerance=1e-4)


@pytest.mark.parametrize("memory", [None, "half"])
def test_accelerate_places_a_model_and_what_does_not_fit_on_the_disk(
    parts, folder, inputs, memory, tmp_path
):
    model, limit = parts[0], None
    if memory:
        limit = {"cpu": sum(value.nbytes for value in model.state_dict().values()) // 2}
    placed = AutoModel.from_pretrained(
        folder, device_map="auto", max_memory=limit, offload_folder=tmp_path
    )
    if memory:
        assert set(placed.hf_device_map.values()) == {"cpu", "disk"}
    for found, expected in zip(embed(placed, inputs), embed(model, inputs), strict=True):
        assert_close(found.cpu(), expected)


def test_both_implementations_of_attention_agree_and_one_shows_its_weights(folder, inputs):
    fused = AutoModel.from_pretrained(folder, attn_implementation="sdpa")
    eager = AutoModel.from_pretrained(folder, attn_implementation="eager")
    assert fused.config._attn_implementation == "sdpa"
    for found, expected in zip(embed(eager, inputs), embed(fused, inputs), strict=True):
        assert_close(found, expected)
    with torch.no_grad():
        sides = [model(**inputs, output_attentions=True) for model in (fused, eager)]
    assert not sides[0].text_model_output.attentions
    weights = sides[1].text_model_output.attentions
    if eager.config.model_type == "cmpagl":
        weights += sides[1].vision_model_output.attentions
    assert len(weights) == (6 if eager.config.model_type == "cmpagl" else 2)
    for each in weights:
        assert_close(each.sum(-1), torch.ones(each.shape[:-1]))


def test_the_parts_of_a_processor_load_by_themselves(parts, folder, inputs):
    pixels = AutoImageProcessor.from_pretrained(folder)(pictures_of(4), return_tensors="pt")
    assert torch.equal(pixels["pixel_values"], inputs["pixel_values"])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    words = tokenizer(list(CAPTIONS), padding=True, truncation=True, return_tensors="pt")
    assert torch.equal(words["input_ids"], inputs["input_ids"])


def test_lora_trains_both_towers_and_loads_again(family, parts, inputs, tmp_path):
    towers = ADAPTED[family]
    names = [
        name
        for name, module in parts[0].named_modules()
        for tower, ends in towers.items()
        if name.startswith(tower) and name.rsplit(".", 1)[-1] in ends
    ]
    base = copy.deepcopy(parts[0])
    model = get_peft_model(copy.deepcopy(base), LoraConfig(r=2, target_modules=names)).eval()
    before = embed(model, inputs)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    for _ in range(2):
        contrastive_loss(model(**inputs)).backward()
        optimizer.step()
        optimizer.zero_grad()
    after = embed(model, inputs)
    model.save_pretrained(tmp_path)
    again = embed(PeftModel.from_pretrained(base, tmp_path), inputs)
    for found, changed, start in zip(again, after, before, strict=True):
        assert_close(found, changed)
        assert (changed - start).abs().max() > 1e-4


@pytest.mark.slow
def test_a_plain_trainer_with_a_plain_collator_trains_and_predicts(parts, inputs, tmp_path):
    model, _ = parts
    rows = [dict(zip(inputs, row, strict=True)) for row in zip(*inputs.values(), strict=True)]
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(tmp_path),
            max_steps=2,
            per_device_train_batch_size=4,
            gradient_checkpointing=True,
            report_to=[],
            use_cpu=True,
        ),
        train_dataset=rows,
        data_collator=default_data_collator,
        compute_loss_func=contrastive_loss,
    )
    start = copy.deepcopy(model.state_dict())
    assert trainer.train().training_loss > 0
    changed = {n for n, v in model.state_dict().items() if not torch.equal(v, start[n])}
    for tower in ADAPTED[model.config.model_type]:
        assert any(name.startswith(tower) for name in changed)
    predicted = trainer.predict(rows).predictions
    images, texts = embed(model, inputs)
    assert_close(torch.tensor(predicted[2]), images)
    assert_close(torch.tensor(predicted[3]), texts)


def test_auto_model_builds_a_model_from_a_configuration(parts):
    built = AutoModel.from_config(parts[0].config)
    assert type(built) is type(parts[0])
    shapes = {name: value.shape for name, value in parts[0].state_dict().items()}
    assert {name: value.shape for name, value in built.state_dict().items()} == shapes


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_text_tower_runs_in_int8(family, parts, inputs):
    model, _ = parts
    expected = embed(model, inputs)[1]
    tower = {"cmpagl": "text_model", "galr": "text_encoder"}[family]
    quantized = torch.ao.quantization.quantize_dynamic(getattr(model, tower), {nn.Linear})
    setattr(model, tower, quantized)
    found = embed(model, inputs)[1]
    assert (found * expected).sum(-1).min() > 0.99
    assert not torch.equal(found, expected)
