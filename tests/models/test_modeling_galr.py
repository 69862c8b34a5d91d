"""GaLR as a whole: the contract, the faithful size, every switch, odd regions, odd text."""

import pytest
import torch
from timm.models import SwinTransformer, SwinTransformerV2, register_model
from torch import nn
from transformers import BertConfig, BertModel

from rsctir_hf.models.galr import GaLRConfig, GaLRModel, GaLRProcessor, build_word_tokenizer
from tests.models.contract import CAPTIONS, ModelContract, assert_close

REGION_DIM, GRAPH_DIM, FUSION_DIM = 8, 6, 16


def tiny_config(**settings):
    small = {
        "backbone": "test_efficientnet",
        "image_size": 64,
        "mvsa_grid": 4,
        "max_regions": 5,
        "region_dim": REGION_DIM,
        "graph_dims": (GRAPH_DIM, GRAPH_DIM),
        "fusion_dim": FUSION_DIM,
        "fusion_heads": 2,
        "vocab_size": 20,
        "embedding_dim": 6,
        "text_hidden_size": 10,
        "projection_dim": 12,
    }
    return GaLRConfig(**{**small, **settings})


def tiny_bert():
    return BertConfig(
        vocab_size=20,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=24,
    )


def tiny_faithful(**settings):
    small = {
        "backbone": "test_resnet",
        "image_size": 64,
        "mvsa_grid": 4,
        "fusion_dim": FUSION_DIM,
        "projection_dim": FUSION_DIM,
        "vocab_size": 20,
        "embedding_dim": 6,
        "text_hidden_size": 10,
    }
    return GaLRConfig.faithful(**{**small, **settings})


def model_of(config=None, **settings):
    torch.manual_seed(0)
    return GaLRModel(config or tiny_config(**settings)).eval()


def pictures_of(count=2, size=(64, 64)):
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(3))


def count_of(module):
    return sum(parameter.numel() for parameter in module.parameters())


class TestGaLRContract(ModelContract):
    @pytest.fixture(scope="class")
    def model(self):
        return model_of()

    @pytest.fixture(scope="class")
    def processor(self, model):
        tokenizer = build_word_tokenizer(CAPTIONS, model_max_length=20)
        return GaLRProcessor.build(tokenizer, image_size=model.config.image_size)


VARIANTS = {
    "bert": lambda: tiny_config(text_encoder_type="bert", text_config=tiny_bert()),
    "faithful": tiny_faithful,
    "global only": lambda: tiny_config(use_regions=False, backbone_pool=False),
    "transformer": lambda: tiny_config(backbone="test_vit", backbone_indices=(0, 1, 2, 3)),
    "all switches": lambda: tiny_config(
        mvsa_prelu=True,
        mvsa_l2=True,
        region_pooling="flatten",
        region_labels=("plane", "ship"),
        fusion_order="released",
        fusion_norm="released",
    ),
}


SWIN = {"embed_dim": 8, "depths": (2, 2), "num_heads": (2, 2), "window_size": 4}


def of_the_model(settings):
    """Leave out what timm hands to its own builder and not to the model."""
    builder = ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")
    return {name: value for name, value in settings.items() if name not in builder}


@register_model
def tiny_swin(pretrained=False, **settings):
    return SwinTransformer(**SWIN, **of_the_model(settings))


@register_model
def tiny_swinv2(pretrained=False, **settings):
    return SwinTransformerV2(**SWIN, **of_the_model(settings))


@register_model
def tiny_one_size(pretrained=False, **settings):
    """A Swin that, like some of timm's transformers, takes no other size."""
    if set(of_the_model(settings)) != {"num_classes"}:
        raise TypeError(f"unexpected {settings}")
    return SwinTransformer(**SWIN, num_classes=0)


def swin_of(backbone):
    levels = {"backbone_indices": (0, 1), "low_levels": (0,), "high_levels": (1,)}
    return model_of(backbone=backbone, region_levels=(1,), **levels)


@pytest.mark.parametrize("backbone", ["tiny_swin", "tiny_swinv2"])
def test_a_backbone_with_unsaved_buffers_survives_saving_and_takes_other_sizes(backbone, tmp_path):
    model = swin_of(backbone)
    unsaved = set(dict(model.backbone.named_buffers())) - set(model.backbone.state_dict())
    assert any("relative_position_index" in name for name in unsaved)
    model.save_pretrained(tmp_path)
    loaded = GaLRModel.from_pretrained(tmp_path).eval()
    for size in ((64, 64), (96, 64), (128, 160), (32, 32)):
        pictures = pictures_of(size=size)
        with torch.no_grad():
            expected = model.get_image_features(pictures).pooler_output
            assert_close(loaded.get_image_features(pictures).pooler_output, expected)
        assert expected.isfinite().all()


def test_a_vision_transformer_takes_other_sizes():
    model = model_of(VARIANTS["transformer"]())
    assert model.get_image_features(pictures_of(size=(96, 128))).pooler_output.isfinite().all()


def test_a_size_the_backbone_cannot_take_is_refused_with_a_remedy():
    model = swin_of("tiny_one_size")
    with pytest.raises(ValueError, match=r"96 x 64 pixels.*'tiny_one_size'.*Resize.* 64 x 64"):
        model.get_image_features(pictures_of(size=(96, 64)))


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_survives_saving(variant, tmp_path):
    model = model_of(VARIANTS[variant]())
    model.save_pretrained(tmp_path)
    loaded = GaLRModel.from_pretrained(tmp_path)
    assert loaded.config.to_diff_dict() == model.config.to_diff_dict()
    ids, pictures = torch.tensor([[3, 4, 0], [5, 6, 7]]), pictures_of()
    with torch.no_grad():
        expected = model(ids, pixel_values=pictures).logits_per_image
        assert_close(loaded(ids, pixel_values=pictures).logits_per_image, expected)


def test_faithful_preset_has_the_published_number_of_parameters():
    # The released code counts 46,892,998 for RSITMD's 1,349 words + padding, of which 513,000 are
    # ResNet-18's unused classifier (512 * 1000 + 1000). Part by part:
    with torch.device("meta"):
        model = GaLRModel(GaLRConfig.faithful(vocab_size=1350))
    # ResNet-18 without classifier 11,176,512, and the projection of its last level.
    assert count_of(model.backbone) + count_of(model.mvsa.last) == 11_176_512 + 512 * 512 + 512
    # 3 x 3 convolution 192 -> 3, 1 x 1 convolution 768 -> 3, two 1 x 1 convolutions 6 -> 1, and
    # the mask's 256 -> 512: 5,187 + 2,307 + 14 + 131,584.
    assert count_of(model.mvsa) - count_of(model.mvsa.last) == 139_092
    # 20 * 20 + 20 * 10 + 10 * 20, and 400 -> 512.
    assert count_of(model.region_branch) == 800 + 205_312
    # An attention is 4 * (512 * 512 + 512) = 1,050,624; a feed-forward part 512 -> 1024 -> 512
    # 1,050,112; a norm 1,024. Two blocks with one attention and two norms, two with two and
    # three, and 512 -> 512 -> 2.
    assert count_of(model.midf) == 2 * 2_102_784 + 2 * 3_154_432 + 262_656 + 1_026
    # 3 gates of 620 -> 2400 with one bias each and of 2400 -> 2400; 1,350 words.
    assert count_of(model.text_encoder) == 3 * 2400 * (620 + 2400 + 1) + 1_350 * 620
    assert count_of(model.text_projection) == 2400 * 512 + 512
    assert count_of(model) - model.logit_scale.numel() == 46_892_998 - 513_000  # scale is ours


def test_default_model_stays_under_14_million_parameters():
    with torch.device("meta"):
        assert count_of(GaLRModel(GaLRConfig())) < 14_000_000


@pytest.mark.parametrize("size", [(64, 64), (224, 224), (200, 300)])
def test_regions_come_from_an_image_alone(size):
    model, pictures = model_of(), pictures_of(size=size)
    graph = model.get_region_graph(pictures)
    assert graph.mask.any(dim=1).all() and graph.kept.any(dim=1).all()
    limits = torch.tensor([size[1], size[0]] * 2)
    assert (graph.boxes >= 0).all() and (graph.boxes <= limits).all()
    assert graph.adjacency.shape == graph.similarity.shape == (2, 5, 5)
    embeds = model.get_image_features(pictures).pooler_output
    assert embeds.shape == (2, 12) and torch.isfinite(embeds).all()


def test_given_boxes_replace_the_proposals():
    model, pictures = model_of(), pictures_of()
    boxes = torch.tensor([[[5.0, 6, 30, 40]], [[1, 2, 20, 22]]])
    graph = model.get_region_graph(pictures, region_boxes=boxes)
    assert torch.equal(graph.boxes[:, 0], boxes[:, 0])
    given = model.get_image_features(pictures, region_boxes=boxes).pooler_output
    assert not torch.allclose(given, model.get_image_features(pictures).pooler_output, atol=1e-5)


BOXES_OF_ALL_KINDS = {
    "none": torch.zeros(2, 0, 4),
    "one": torch.tensor([[[3.0, 3, 20, 30]]]).expand(2, 1, 4),
    "outside": torch.tensor([[[300.0, 300, 320, 330]]]).expand(2, 1, 4),
    "many": torch.rand(2, 40, 4) * 20 + torch.tensor([0.0, 0, 30, 30]),
    "empty": torch.zeros(2, 3, 4),
    "not numbers": torch.full((2, 3, 4), float("nan")),
}


@pytest.mark.parametrize("kind", BOXES_OF_ALL_KINDS)
def test_boxes_of_any_kind_give_finite_embeddings_and_gradients(kind):
    model, boxes = model_of().train(), BOXES_OF_ALL_KINDS[kind]
    scores = torch.full(boxes.shape[:2], float("nan"))
    embeds = model.get_image_features(
        pictures_of(), region_boxes=boxes, region_scores=scores
    ).pooler_output
    assert torch.isfinite(embeds).all()
    embeds[:, 0].sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_uniform_picture_is_embedded(value):
    model = model_of()
    pictures = torch.full((1, 3, 64, 64), value)
    assert torch.isfinite(model.get_image_features(pictures).pooler_output).all()
    assert torch.isfinite(model.get_region_graph(pictures).adjacency).all()


def test_without_regions_only_global_information_counts():
    model, pictures = model_of(), pictures_of()
    nothing = {"region_boxes": torch.rand(2, 3, 4), "region_mask": torch.zeros(2, 3).bool()}
    before = model.get_image_features(pictures, **nothing).pooler_output
    nn.init.normal_(model.region_branch.projection.weight)
    nn.init.normal_(model.midf.guided_local.feed_forward[0].weight)
    assert_close(model.get_image_features(pictures, **nothing).pooler_output, before)


def test_region_dropout_of_all_regions_gives_the_global_only_embedding():
    settings = {"fusion_dropout": 0.0, "projection_dropout": 0.0}
    model = model_of(region_dropout=0.9999, **settings)
    pictures = pictures_of()
    model.region_branch.train()
    dropped = model.get_image_features(pictures).pooler_output
    assert_close(
        dropped, model.get_image_features(pictures, region_boxes=torch.zeros(2, 0, 4)).pooler_output
    )


def test_only_tensors_that_can_learn_get_no_gradient():
    model = model_of().train()
    model.midf.eval()
    torch.manual_seed(5)  # region dropout leaves at least one of four pictures
    output = model(torch.tensor([[3, 4, 0], [5, 6, 7]]), pixel_values=pictures_of(4))
    output.logits_per_image[:, 0].sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_backbone_pool_reaches_the_embedding():
    model = model_of(backbone_pool=True)
    assert model.image_projection.linear.in_features == FUSION_DIM + 256  # its final convolution
    assert model_of(backbone_pool=False).image_projection.linear.in_features == FUSION_DIM
    nn.init.zeros_(model.image_projection.linear.weight.data[:, :FUSION_DIM])
    assert not torch.allclose(*model.get_image_features(pictures_of()).pooler_output, atol=1e-3)


def test_pooled_levels_reach_the_embedding_where_asked():
    model = model_of(backbone_pool=False, backbone_pool_levels=True)
    levels = [norm.normalized_shape[0] for norm in model.image_projection.level_norms]
    assert model.image_projection.linear.in_features == FUSION_DIM + sum(levels)
    assert len(levels) == len(model.config.backbone_indices)
    nn.init.zeros_(model.image_projection.linear.weight.data[:, :FUSION_DIM])
    assert not torch.allclose(*model.get_image_features(pictures_of()).pooler_output, atol=1e-3)


def test_without_backbone_pool_the_final_convolution_is_not_built():
    assert not hasattr(model_of(backbone_pool=False).backbone.conv_head, "weight")


def test_faithful_mode_reads_precomputed_nodes_in_their_order():
    model = model_of(tiny_faithful())
    pictures, nodes, adjacency = pictures_of(), torch.randn(2, 20, 20), torch.rand(2, 20, 20)
    first = model.get_image_features(
        pictures, region_features=nodes, region_adjacency=adjacency
    ).pooler_output
    turned = model.get_image_features(
        pictures,
        region_features=nodes.flip(1),
        region_adjacency=adjacency.flip(1, 2),
    ).pooler_output
    assert not torch.allclose(first, turned, atol=1e-5)
    assert not torch.allclose(first, model.get_image_features(pictures).pooler_output, atol=1e-5)


def test_precomputed_nodes_follow_the_precision_of_the_model():
    model, nodes = model_of(tiny_faithful()), torch.rand(2, 20, 20)
    expected = model.get_image_features(
        pictures_of(), region_features=nodes, region_adjacency=nodes
    ).pooler_output
    half = model.to(torch.bfloat16)
    found = half.get_image_features(
        pictures_of(), region_features=nodes, region_adjacency=nodes
    ).pooler_output
    assert found.dtype == torch.float32
    assert (found * expected).sum(-1).min() > 0.95


def test_regions_of_the_wrong_kind_are_refused():
    model, faithful, pictures = model_of(), model_of(tiny_faithful()), pictures_of()
    nodes, adjacency = torch.randn(2, 20, 20), torch.rand(2, 20, 20)
    with pytest.raises(ValueError, match="region_source is 'model'"):
        model.get_image_features(pictures, region_features=nodes, region_adjacency=adjacency)
    with pytest.raises(ValueError, match="region_source is 'precomputed'"):
        faithful.get_image_features(pictures, region_boxes=torch.rand(2, 3, 4))
    with pytest.raises(ValueError, match="give both"):
        faithful.get_image_features(pictures, region_features=nodes)
    with pytest.raises(ValueError, match=r"expects \(2, 20, 20\) and \(2, 20, 20\)"):
        faithful.get_image_features(
            pictures, region_features=nodes[:, :10], region_adjacency=adjacency
        )
    with pytest.raises(ValueError, match="for 2 pictures"):
        faithful.get_image_features(
            pictures, region_features=nodes[:1], region_adjacency=adjacency[:1]
        )
    with pytest.raises(NotImplementedError, match="region_source='model'"):
        faithful.get_region_graph(pictures)
    with pytest.raises(NotImplementedError, match="use_regions=False"):
        model_of(use_regions=False).get_region_graph(pictures)


def test_forward_without_inputs_is_refused():
    with pytest.raises(ValueError, match="input_ids nor pixel_values"):
        model_of()()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"drea": "some"}, "both, denoise, enhanced, plain"),
        ({"region_dropout": 1.0}, "0 <= region_dropout < 1"),
        ({"low_levels": (0, 4)}, "4 levels"),
        ({"image_head": "none", "backbone_pool": False}, r"fusion_dim \(16\).*\(12\)"),
        (
            {"image_head": "none", "backbone_pool_levels": True},
            r"backbone_pool_levels \(True\) off",
        ),
        ({"fusion_attention": "full", "fusion_heads": 3}, "multiple of fusion_heads"),
        ({"image_size": 16}, "at least 32"),
        ({"max_regions": 0}, "use_regions=False"),
        ({"smr_temperature": 0.0}, "smr_temperature is 0.0; expected more than 0"),
    ],
)
def test_contradictory_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        tiny_config(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backbone": "resnet_eighteen"}, "no such model"),
        ({"backbone_indices": (1, 2, 3, 9)}, "5 levels"),
    ],
)
def test_backbones_that_cannot_serve_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        model_of(**settings)


def test_towers_start_from_given_weights():
    model = model_of(text_encoder_type="bert", text_config=tiny_bert())
    weights = {f"{name}": value + 1 for name, value in model.backbone.state_dict().items()}
    model.load_towers(image_state_dict={**weights, "classifier.weight": torch.zeros(3)})
    assert torch.equal(model.backbone.conv_stem.weight, weights["conv_stem.weight"])
    with pytest.raises(ValueError, match="missing or of another shape"):
        model.load_towers(image_state_dict={"conv_stem.weight": weights["conv_stem.weight"]})


def test_bert_weights_are_taken_from_a_folder(tmp_path):
    source = BertModel(tiny_bert(), add_pooling_layer=False)
    source.save_pretrained(tmp_path)
    model = model_of(text_encoder_type="bert", text_config=tiny_bert())
    model.load_towers(text=tmp_path)
    name = "encoder.layer.1.output.dense.weight"
    assert torch.equal(model.text_encoder.bert.state_dict()[name], source.state_dict()[name])
    with pytest.raises(ValueError, match="load_word_vectors"):
        model_of().load_towers(text=tmp_path)


def test_word_vectors_fill_the_known_rows_and_leave_padding_zero():
    model = model_of()
    vectors, known = torch.randn(20, 6), torch.arange(20) % 2 == 0
    model.text_encoder.load_word_vectors(vectors, known)
    table = model.text_encoder.embedding.weight
    assert torch.equal(table[2::2], vectors[2::2])
    assert not table[0].any() and table[1::2].abs().min() > 0
    assert 0.3 < table[1::2].std() / vectors.std() < 3
    with pytest.raises(ValueError, match=r"\(20, 6\)"):
        model.text_encoder.load_word_vectors(torch.randn(20, 7))
