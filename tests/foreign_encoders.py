"""Dual encoders of transformers, tiny and random, on disk as the Hub holds them.

Their texts differ as the real ones do: CLIP hides the padding behind a mask and reads the vector at
the end-of-text token. SigLIP has no mask and reads the last place, so every text has one length;
its tokenizer says so by returning no mask. Siglip2's flexible variant does that by its processor's
own padding, and takes pictures as patches of any number.
"""

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    PreTrainedTokenizerFast,
    Siglip2Config,
    Siglip2ImageProcessor,
    Siglip2Model,
    Siglip2Processor,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
    SiglipProcessor,
)

WORDS = ("a", "the", "boats", "moored", "beside", "pier", "green", "tennis", "courts", "river")
LONGEST = 12  # tokens of a text
SIDE, PATCH = 32, 8
SMALL = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
VOCABULARY = {"[PAD]": 0, "[UNK]": 1, "[EOS]": 3}
VOCABULARY |= {word: number for number, word in enumerate(WORDS, start=4)}
TEXT = SMALL | {
    "vocab_size": 20,
    "max_position_embeddings": LONGEST,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 3,
}


def word_tokenizer(**options):
    words = Tokenizer(models.WordLevel(VOCABULARY, unk_token="[UNK]"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="$A [EOS]", special_tokens=[("[EOS]", 3)]
    )
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "eos_token": "[EOS]"}
    return PreTrainedTokenizerFast(tokenizer_object=words, **special, **options)


def tiny_clip():
    vision = SMALL | {"image_size": SIDE, "patch_size": PATCH}
    model = CLIPModel(CLIPConfig(projection_dim=16, text_config=TEXT, vision_config=vision))
    pictures = CLIPImageProcessor(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    )
    tokenizer = word_tokenizer(model_max_length=LONGEST)
    return model, CLIPProcessor(image_processor=pictures, tokenizer=tokenizer)


def tiny_siglip():
    vision = SMALL | {"image_size": SIDE, "patch_size": PATCH}
    text = TEXT | {"projection_size": 16}
    model = SiglipModel(SiglipConfig(text_config=text, vision_config=vision))
    pictures = SiglipImageProcessor(size={"height": SIDE, "width": SIDE})
    # No limit of its own, as some tokenizers on the Hub: the model's table is the limit.
    tokenizer = word_tokenizer(model_input_names=["input_ids"])
    return model, SiglipProcessor(image_processor=pictures, tokenizer=tokenizer)


def tiny_siglip2():
    vision = SMALL | {"patch_size": 16, "num_patches": 16}
    text = TEXT | {"projection_size": 16}
    model = Siglip2Model(Siglip2Config(text_config=text, vision_config=vision))
    pictures = Siglip2ImageProcessor()
    tokenizer = word_tokenizer(model_max_length=LONGEST)
    return model, Siglip2Processor(image_processor=pictures, tokenizer=tokenizer)


FOREIGN = {"clip": tiny_clip, "siglip": tiny_siglip, "siglip2": tiny_siglip2}


def save_foreign(name, folder):
    """Write a model and its processor with the library's own methods; return the folder."""
    torch.manual_seed(0)
    model, processor = FOREIGN[name]()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
