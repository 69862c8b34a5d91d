"""Configuration of GaLR (Yuan et al., TGRS 2022, arXiv 2204.09860).

The released code departs from the paper (and from AMFMN, its parent) in several places. Each
departure is a field here whose description says what the released code does, what the paper
says, what our default is and why. ``GaLRConfig.faithful()`` sets all of them as released.
"""

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from transformers import BertConfig, PreTrainedConfig

CHOICES: dict[str, tuple[str, ...]] = {
    "region_source": ("model", "precomputed"),
    "region_pooling": ("mean", "flatten"),
    "drea": ("both", "denoise", "enhanced", "plain"),
    "fusion_attention": ("value", "full"),
    "fusion_order": ("paper", "released"),
    "fusion_gate": ("paper", "released"),
    "fusion_weights": ("paper", "released"),
    "fusion_norm": ("standard", "released"),
    "text_encoder_type": ("gru", "uni_skip", "bert"),
    "text_activation": ("none", "relu"),
    "image_head": ("linear", "none"),
    "text_guidance": ("none", "soft", "fusion", "sim"),
}
SHARES = ("region_dropout", "fusion_dropout", "text_dropout", "projection_dropout")
SMALLEST_IMAGE = 32  # below, the low-level map is smaller than the 3 x 3 kernel of MVSA


class GaLRConfig(PreTrainedConfig):
    """Everything that decides the shape and behaviour of a ``GaLRModel``.

    Args:
        image_size: side in pixels the processor resizes to. The model itself takes any size that
            its backbone takes: convolutional ones any, Swin and ViT multiples of their patch, a
            few transformers this one alone.
        backbone: name of a timm model with ``forward_intermediates`` (most have it).
        backbone_indices: its levels used, finest first. 1..4 are strides 4, 8, 16, 32.
        low_levels: positions in ``backbone_indices`` of MVSA's low-level features. Released: the
            first two of four (our default); AMFMN: the first three of five.
        high_levels: the same for the high-level features: the last two.
        backbone_pool: join the backbone's pooled final features (with the final convolution of
            an EfficientNet, 1280 channels) to the fused vector before the projection. Not in the
            paper: our choice, so that pretrained semantics reach the embedding directly.
        backbone_pool_levels: join the mean of each level of ``backbone_indices`` as well. Our
            choice: finer levels know textures and small things that the last one has lost.
        scale_decoupling: SSJDN-style (our choice, after an abstract): each of these pooled levels
            shows what stands out on it, not on its neighbours.
        scene_classes: names of classes that ``scene_head`` tells apart; empty: there is no head.
        mvsa_grid: side of the grid on which the MVSA mask is read. Released: no pooling, which
            ties the model to 256 px. Ours: adaptive average pooling of the map to this grid,
            the identity where they are equal (14 at 224 px, 16 at 256 px).
        mvsa_prelu: PReLU after both MVSA convolutions. AMFMN has it, the released code has not;
            off by default like the code whose numbers were published.
        mvsa_l2: L2-normalise the joint map over channels. AMFMN has it, the released code has
            not; off for the same reason.
        use_regions: build the region branch and MIDF. The authors' own service runs without
            them, on MVSA alone; on by default.
        region_source: ``model`` takes boxes (proposed by the model or handed in) and reads its
            own feature maps; ``precomputed`` takes node features and adjacency made elsewhere,
            as released (the code that made them was not).
        max_regions: N, nodes of a region graph.
        region_levels: positions in ``backbone_indices`` that propose boxes and are RoIAligned.
        region_feature_dim: numbers per node of precomputed features; 20 as released.
        region_dim: width of the projected appearance of a node.
        region_labels: class names of an outside detector; each adds a one-hot number per node.
            Empty: labels only keep objects of different classes from suppressing each other.
        graph_dims: output widths of the graph layers. Released: 20, 10, 20.
        region_pooling: nodes to vector: masked ``mean`` (ours, free of the order of nodes) or
            ``flatten`` (released: N ordered nodes side by side).
        region_dropout: share of training samples whose whole branch is off, which keeps
            pictures without regions a supported input. Not in the paper: our choice.
        drea: which halves of DREA act (our reading, see ``graph_galr``): ``both``, ``denoise``,
            ``enhanced`` or ``plain``. Released: none of its code.
        denoise_similarity: appearance cosine above which a node at the same place is redundant.
            Neighbouring proposals of EfficientNet-Lite2 on aerial pictures have a median of 0.8
            and a 90th percentile of 0.9.
        denoise_iou: overlap above which a similar node is redundant.
        adjacency_range: reach of an edge, as a share of the image side.
        enhancement: how much salient nodes strengthen their edges.
        proposal_cells: side of a proposed box in cells of the map it was found on.
        proposal_iou: overlap above which the weaker proposal is suppressed.
        fusion_dim: width of global vector, local vector and MIDF. Released: 512. Ours: 256,
            which holds the default model under 14 M parameters.
        fusion_heads: attention heads of MIDF; only ``fusion_attention="full"`` uses them.
        fusion_ffn_ratio: hidden width of MIDF's feed-forward parts over ``fusion_dim``.
        fusion_dropout: dropout in MIDF.
        fusion_attention: the released attention runs over sequences of one token, where the
            softmax is 1 and query and key matrices never matter. ``value`` keeps only what
            matters (value and output maps, the same function); ``full`` builds all four, for the
            published number of parameters.
        fusion_order: ``released`` guides with an extra self-attention, and corrects the global
            vector by the already corrected local one. ``paper`` (figure) has neither: both sides
            are guided at once by the other's self-attention. Default: paper, symmetric and
            smaller.
        fusion_gate: ``released`` corrects by sigmoid(l) * g, the figure (``paper``) by l * g.
            Default: released, a gate that cannot change signs.
        fusion_weights: the ``released`` code reads the global weight for both sides, so that its
            dynamic fusion cancels in the cosine; ``paper`` reads one for each. Default: paper.
        fusion_norm: ``released`` divides by unbiased standard deviation + eps; ``standard`` is
            the usual layer norm.
        text_encoder_type: ``gru`` (paper: bidirectional, mean of all steps), ``uni_skip``
            (released: one-directional, last valid state) or ``bert`` (masked mean; our choice).
        vocab_size: rows of the word table of ``gru`` and ``uni_skip``, padding included.
        embedding_dim: width of a word vector. AMFMN: 300; released: 620.
        embedding_projection_dim: width the word vectors are mapped to before the GRU (GloVe's
            50 to 300, say), or ``None`` for no map.
        text_hidden_size: width of the GRU state. AMFMN: 512; released: 2400.
        text_dropout: dropout of word vectors (and of the state in ``uni_skip``: 0.25 released).
        pad_token_id: row of the word table that stands for padding.
        text_config: the ``BertConfig`` of the ``bert`` text side.
        text_activation: ``relu`` after the text projection as released, or ``none``.
        projection_dim: D, width of the shared space.
        projection_dropout: dropout before the projections.
        image_head: ``linear`` projects into the shared space (ours); ``none`` takes the fused
            vector itself, as released.
        text_guidance: AMFMN's score of a pair in the place of the cosine, see ``guidance_galr``:
            ``soft``, ``fusion`` or ``sim``; ``none`` as in GaLR.
        logit_scale_init_value: log(1 / temperature) at the start; 0.07 by default.
        smr_temperature: temperature of the SMR rerank, chosen on validation.
        match_weight: unused, since GaLR has no matching head; kept because callers read the same
            fields of every family.
        training_images: what the weights were trained on, in words.
        initializer_range: standard deviation of random word vectors.

    Raises:
        ValueError: if a choice is unknown or two fields contradict each other.
    """

    model_type = "galr"
    sub_configs: ClassVar[dict[str, Any]] = {"text_config": BertConfig}

    image_size: int = 224
    backbone: str = "efficientnet_lite2"
    backbone_indices: Sequence[int] = (1, 2, 3, 4)
    low_levels: Sequence[int] = (0, 1)
    high_levels: Sequence[int] = (2, 3)
    backbone_pool: bool = True
    backbone_pool_levels: bool = False
    scale_decoupling: bool = False
    scene_classes: Sequence[str] = ()

    mvsa_grid: int = 14
    mvsa_prelu: bool = False
    mvsa_l2: bool = False

    use_regions: bool = True
    region_source: str = "model"
    max_regions: int = 20
    region_levels: Sequence[int] = (2, 3)
    region_feature_dim: int = 20
    region_dim: int = 128
    region_labels: Sequence[str] = ()
    graph_dims: Sequence[int] = (128, 128, 128)
    region_pooling: str = "mean"
    region_dropout: float = 0.3
    drea: str = "both"
    denoise_similarity: float = 0.85
    denoise_iou: float = 0.5
    adjacency_range: float = 0.25
    enhancement: float = 1.0
    proposal_cells: int = 3
    proposal_iou: float = 0.3

    fusion_dim: int = 256
    fusion_heads: int = 8
    fusion_ffn_ratio: int = 2
    fusion_dropout: float = 0.1
    fusion_attention: str = "value"
    fusion_order: str = "paper"
    fusion_gate: str = "released"
    fusion_weights: str = "paper"
    fusion_norm: str = "standard"

    text_encoder_type: str = "gru"
    vocab_size: int = 1350
    embedding_dim: int = 300
    embedding_projection_dim: int | None = None
    text_hidden_size: int = 512
    text_dropout: float = 0.2
    pad_token_id: int | None = 0
    text_config: dict | BertConfig | None = None
    text_activation: str = "none"

    projection_dim: int = 512
    projection_dropout: float = 0.1
    image_head: str = "linear"
    text_guidance: str = "none"
    logit_scale_init_value: float = math.log(1 / 0.07)

    smr_temperature: float = 0.1
    match_weight: float = 0.0
    training_images: str = ""
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - transformers' own signature
        """Turn sub-configurations and lists read from JSON into their types, then validate."""
        if isinstance(self.text_config, dict):
            self.text_config = BertConfig(**self.text_config)
        if self.text_config is None and self.text_encoder_type == "bert":
            self.text_config = BertConfig()
        for name in ("backbone_indices", "low_levels", "high_levels", "region_levels"):
            setattr(self, name, [int(level) for level in getattr(self, name)])
        self.graph_dims = [int(width) for width in self.graph_dims]
        self.region_labels = list(self.region_labels)
        self.scene_classes = [str(name) for name in self.scene_classes]
        self._check_choices()
        self._check_levels()
        self._check_widths()
        self._check_scores()
        super().__post_init__(**kwargs)
        if getattr(self, "auto_map", None) is None:
            # One class under several Auto classes; AutoConfig and AutoModel are added on saving.
            self.auto_map = {"AutoModelForZeroShotImageClassification": "modeling_galr.GaLRModel"}

    # Copied from rsctir_hf.models.cmpagl.configuration_cmpagl.CMPAGLConfig.to_dict
    def to_dict(self) -> dict[str, Any]:
        """Return all values; ``dtype`` is float32 whatever precision the weights are stored in.

        transformers 5 runs a model in the dtype its config names, so a file stored in half
        precision to save space would otherwise also run in it.
        """
        values = super().to_dict()
        values["dtype"] = "float32"
        if values["text_config"] is not None:
            values["text_config"]["dtype"] = "float32"
        return values

    @classmethod
    def faithful(cls, vocab_size: int = 1350, **overrides: Any) -> Self:  # noqa: ANN401
        """Return the configuration of the released code.

        Args:
            vocab_size: words + padding: 1350 for RSITMD, 1226 for RSICD.
            overrides: fields to set otherwise.
        """
        released: dict[str, Any] = {
            "image_size": 256,
            "backbone": "resnet18",
            "backbone_pool": False,
            "mvsa_grid": 16,
            "region_source": "precomputed",
            "max_regions": 20,
            "region_feature_dim": 20,
            "graph_dims": (20, 10, 20),
            "region_pooling": "flatten",
            "region_dropout": 0.0,
            "fusion_dim": 512,
            "fusion_attention": "full",
            "fusion_order": "released",
            "fusion_gate": "released",
            "fusion_weights": "released",
            "fusion_norm": "released",
            "text_encoder_type": "uni_skip",
            "vocab_size": vocab_size,
            "embedding_dim": 620,
            "text_hidden_size": 2400,
            "text_dropout": 0.25,
            "text_activation": "relu",
            "projection_dim": 512,
            "projection_dropout": 0.0,
            "image_head": "none",
        }
        return cls(**{**released, **overrides})

    def _check_choices(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}; expected one of {', '.join(allowed)}."
                )
        for name in SHARES:
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 0 <= {name} < 1.")

    def _check_levels(self) -> None:
        levels = len(self.backbone_indices)
        for name in ("low_levels", "high_levels", "region_levels"):
            wanted = getattr(self, name)
            if not wanted or not all(0 <= level < levels for level in wanted):
                raise ValueError(
                    f"{name} is {wanted}; expected at least one position in backbone_indices, "
                    f"which holds {levels} levels (0 to {levels - 1})."
                )

    def _check_widths(self) -> None:
        if self.image_size < SMALLEST_IMAGE:
            raise ValueError(
                f"image_size is {self.image_size}; expected at least {SMALLEST_IMAGE} pixels."
            )
        if self.max_regions < 1 or not self.graph_dims:
            raise ValueError(
                f"max_regions is {self.max_regions} and graph_dims {self.graph_dims}; expected at "
                "least one region and one graph layer. Set use_regions=False for a model without."
            )
        if self.fusion_attention == "full" and self.fusion_dim % self.fusion_heads:
            raise ValueError(
                f"fusion_dim is {self.fusion_dim} and fusion_heads {self.fusion_heads}; expected "
                "fusion_dim to be a multiple of fusion_heads."
            )
        if self.scale_decoupling and not self.backbone_pool_levels:
            raise ValueError(
                "scale_decoupling=True with backbone_pool_levels=False; it is about the pooled "
                "levels. Set both, or neither."
            )
        if self.image_head == "none" and (
            self.backbone_pool
            or self.backbone_pool_levels
            or self.projection_dim != self.fusion_dim
        ):
            raise ValueError(
                f"image_head='none' takes the fused vector as it is: fusion_dim "
                f"({self.fusion_dim}) and projection_dim ({self.projection_dim}) must be equal and "
                f"backbone_pool ({self.backbone_pool}) and backbone_pool_levels "
                f"({self.backbone_pool_levels}) off."
            )

    def _check_scores(self) -> None:
        if self.smr_temperature <= 0:
            raise ValueError(f"smr_temperature is {self.smr_temperature}; expected more than 0.")


GaLRConfig.register_for_auto_class()
