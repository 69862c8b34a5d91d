"""Configuration of the CMPAGL-style model.

"CMPAGL-style, from the published description": Sun, Zhao, Liu and Kaup (TGRS 2024,
arXiv 2411.14704) describe a global-Swin image encoder, pre-alignment before fusion and a triplet
loss with an intra-class term. No code and no layer sizes were published, so sizes and wiring below
are our choice and say so.
"""

from typing import Any, ClassVar, Literal, get_args

from transformers import BertConfig, PreTrainedConfig

GlobalAttention = Literal["cross", "concat", "local_only"]
TextPooling = Literal["mean", "cls"]


class CMPAGLConfig(PreTrainedConfig):
    """Sizes and switches of a CMPAGL-style model.

    The defaults give Swin-T's layout (our choice: the nearest public systems of that time use
    Swin-T with BERT), so that pretrained Swin-T weights fit.

    Args:
        image_size: side S in pixels that the processor resizes to. The model takes any size; this
            one decides which stages have a global window.
        patch_size: side in pixels of one token of stage 0; unused with a stem.
        embed_dim: width of stage 0; each further stage doubles it.
        depths: number of Gswin blocks of each stage.
        num_heads: attention heads of each stage.
        window_size: side M of a window in tokens; also the side of the global window.
        mlp_ratio: width of the block MLP over the width of the stage.
        global_attention: how a block sees the global window (the image pooled to M x M tokens).
            ``cross``: an own softmax, added with a per-channel weight that starts at zero (our
            reading of "local window self-attention combined with global-local window
            cross-attention"); ``concat``: one softmax over local and global keys; ``local_only``:
            plain Swin.
        dropout: dropout inside the Gswin blocks.
        drop_path_rate: stochastic depth of the last block, rising linearly from 0.
        stem: name of a timm network whose feature maps replace the patch embedding, or None
            (our choice: pretrained convolutional features make training on a small machine and a
            small data set possible).
        stem_indices: for each stage, which feature level of the stem feeds it. Level strides must
            double from stage to stage. Level 0 of them is the input of stage 0; the others, and
            the stem's final features, are added after patch merging through a 1x1 projection.
        stem_skip: with a stem, also hand its pooled final features to the image head.
        stem_skip_levels: with ``stem_skip``, hand it the pooled levels of ``stem_indices`` too (our
            choice: finer levels know textures and small things that the last one has lost).
        scale_decoupling: SSJDN-style (our choice, after an abstract): each of these pooled levels
            shows what stands out on it, not on its neighbours.
        scene_classes: names of classes that ``scene_head`` tells apart; empty: there is no head.
        text_config: a ``BertConfig``, or a dictionary of its values.
        text_pooling: ``mean`` of the valid token states (as MiniLM was trained) or ``cls``.
        fusion_layers: layers of the fusion encoder.
        projection_dim: width D of the shared unit sphere.
        projection_layers: 1 = linear; 2 = linear plus a two-layer residual path.
        projection_dropout: dropout in the projection heads.
        logit_scale_init: initial log(1 / tau); 2.6593 is tau = 0.07.
        initializer_range: standard deviation of new weights.
        smr_temperature: temperature of the rerank "SMR (our reading)", chosen on validation.
        match_weight: w in score = cosine + w * match probability, chosen on validation.
        training_images: what the weights were trained on, in free text.

    Raises:
        ValueError: a value is out of range, or two values contradict each other.
    """

    model_type = "cmpagl"
    sub_configs: ClassVar[dict[str, Any]] = {"text_config": BertConfig}

    image_size: int = 224
    patch_size: int = 4
    embed_dim: int = 96
    depths: list[int] | tuple[int, ...] = (2, 2, 6, 2)
    num_heads: list[int] | tuple[int, ...] = (3, 6, 12, 24)
    window_size: int = 7
    mlp_ratio: float = 4.0
    global_attention: GlobalAttention = "cross"
    dropout: float = 0.0
    drop_path_rate: float = 0.1
    stem: str | None = None
    stem_indices: list[int] | tuple[int, ...] = (3, 4)
    stem_skip: bool = True
    stem_skip_levels: bool = False
    scale_decoupling: bool = False
    scene_classes: list[str] | tuple[str, ...] = ()
    text_config: dict | BertConfig | None = None
    text_pooling: TextPooling = "mean"
    fusion_layers: int = 2
    projection_dim: int = 512
    projection_layers: int = 1
    projection_dropout: float = 0.1
    logit_scale_init: float = 2.6593
    initializer_range: float = 0.02
    smr_temperature: float = 0.1
    match_weight: float = 0.0
    training_images: str = ""

    def __post_init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - unknown keys of a JSON file
        """Build the text configuration and check all values."""
        if not isinstance(self.text_config, BertConfig):
            self.text_config = BertConfig(**(self.text_config or {}))
        self.depths = list(self.depths)
        self.num_heads = list(self.num_heads)
        self.stem_indices = list(self.stem_indices)
        self.scene_classes = [str(name) for name in self.scene_classes]
        super().__post_init__(**kwargs)
        if getattr(self, "auto_map", None) is None:
            # One class under several Auto classes; AutoConfig and AutoModel are added on saving.
            self.auto_map = {
                "AutoModelForZeroShotImageClassification": "modeling_cmpagl.CMPAGLModel"
            }
        self._check_choices()
        self._check_ranges()
        self._check_stages()

    @property
    def bert_config(self) -> BertConfig:
        """``text_config`` as the object it is after construction."""
        if not isinstance(self.text_config, BertConfig):
            raise ValueError(f"text_config was replaced by {type(self.text_config).__name__}.")
        return self.text_config

    @property
    def embed_dim_per_stage(self) -> tuple[int, ...]:
        """Width of each stage."""
        return tuple(self.embed_dim * 2**stage for stage in range(len(self.depths)))

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

    def _check_choices(self) -> None:
        for name, choices in (
            ("global_attention", get_args(GlobalAttention)),
            ("text_pooling", get_args(TextPooling)),
            ("projection_layers", (1, 2)),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}={getattr(self, name)!r}; expected one of {choices}.")

    def _check_ranges(self) -> None:
        for name in (
            "image_size",
            "patch_size",
            "embed_dim",
            "window_size",
            "fusion_layers",
            "projection_dim",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}; expected at least 1.")
        for name in ("dropout", "drop_path_rate", "projection_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name}={getattr(self, name)}; expected 0 <= {name} < 1.")
        if self.smr_temperature <= 0:
            raise ValueError(f"smr_temperature={self.smr_temperature}; expected more than 0.")

    def _check_stages(self) -> None:
        stages = len(self.depths)
        if stages < 1 or min(self.depths) < 1:
            raise ValueError(f"depths={self.depths}; expected one positive number per stage.")
        if len(self.num_heads) != stages:
            raise ValueError(
                f"num_heads={self.num_heads} names {len(self.num_heads)} stages, "
                f"depths={self.depths} names {stages}; give one number per stage in both."
            )
        for stage, (dim, heads) in enumerate(
            zip(self.embed_dim_per_stage, self.num_heads, strict=True)
        ):
            if heads < 1 or dim % heads:
                raise ValueError(
                    f"Stage {stage} is {dim} wide (embed_dim={self.embed_dim} * 2**{stage}) and "
                    f"has {heads} heads; the width must be a multiple of the heads."
                )
        if self.stem_skip_levels and not (self.stem is not None and self.stem_skip):
            raise ValueError(
                f"stem_skip_levels=True with stem={self.stem!r} and stem_skip={self.stem_skip}; "
                "it needs a stem and stem_skip=True."
            )
        if self.scale_decoupling and not self.stem_skip_levels:
            raise ValueError(
                "scale_decoupling=True with stem_skip_levels=False; it is about the pooled "
                "levels. Set both, or neither."
            )
        if self.stem is not None and len(self.stem_indices) != stages:
            raise ValueError(
                f"stem_indices={self.stem_indices} names {len(self.stem_indices)} levels, "
                f"depths={self.depths} names {stages} stages; give one level per stage."
            )


CMPAGLConfig.register_for_auto_class()

__all__ = ["CMPAGLConfig"]
