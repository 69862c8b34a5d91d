"""Load models by their ids with transformers and sentence-transformers; print their answers.

In: ``{"package": whether rsctir_hf may be imported, "models": [[id, revision], ...], "image": a
file, "texts": [...]}``. Out: one mapping a model, with vectors as lists.
"""

import importlib.abc
import json
import sys

import torch
from PIL import Image


class Refusing(importlib.abc.MetaPathFinder):
    """Makes a package as absent as if it had never been installed."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname.split(".")[0] == "rsctir_hf":
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None


request = json.load(sys.stdin)
if request["package"]:
    import rsctir_hf
else:
    sys.meta_path.insert(0, Refusing())
    try:
        import rsctir_hf  # noqa: F401
    except ModuleNotFoundError:
        pass
    else:
        sys.exit("rsctir_hf can be imported")

from sentence_transformers import SentenceTransformer  # noqa: E402
from transformers import AutoModel, AutoProcessor, pipeline  # noqa: E402

TRUST = {} if request["package"] else {"trust_remote_code": True}
texts, image = request["texts"], Image.open(request["image"]).convert("RGB")


@torch.no_grad()
def answer(name, revision):
    model = AutoModel.from_pretrained(name, revision=revision, **TRUST).eval()
    processor = AutoProcessor.from_pretrained(name, revision=revision, **TRUST)
    inputs = processor(images=[image], text=texts, return_tensors="pt")
    outputs = model(**inputs)
    found = {
        "module": type(model).__module__,
        "image": outputs.image_embeds.tolist(),
        "text": outputs.text_embeds.tolist(),
    }
    if revision is not None:
        return found
    classify = pipeline("zero-shot-image-classification", model=name, **TRUST)
    classes = classify(image, candidate_labels=texts, hypothesis_template="{}")
    sentences = SentenceTransformer(name, device="cpu", **TRUST)
    return found | {
        "classes": {row["label"]: row["score"] for row in classes},
        "logits": outputs.logits_per_image.tolist(),
        "st_image": sentences.encode([image]).tolist(),
        "st_text": sentences.encode(texts).tolist(),
    }


print(json.dumps([answer(*asked) for asked in request["models"]]))
