"""Say what is on each picture of a folder, in sentences of a caption bank: JSON, a line each.

    python examples/caption_pictures.py
    python examples/caption_pictures.py my_pictures my_sentences.txt > captions.jsonl

The first ten pictures; sentences are chosen, none is made up.
"""

import json
import sys

from rsctir_hf import Retriever
from rsctir_hf.files.pictures import list_images
from rsctir_hf.sample import read_caption_bank, sample_folder

folder = sys.argv[1] if len(sys.argv) > 1 else sample_folder()
bank = read_caption_bank(sys.argv[2]) if len(sys.argv) > 2 else None  # None: the one that ships

retriever = Retriever.from_pretrained("checkpoints/cmpagl-rs", bank=bank)
for picture in list_images(folder)[:10]:
    hits = retriever.caption_candidates(picture, top_k=3)
    row = {
        "file_name": picture.name,
        "captions": [hit.caption for hit in hits],
        "scores": [round(hit.score, 3) for hit in hits],
    }
    print(json.dumps(row))
