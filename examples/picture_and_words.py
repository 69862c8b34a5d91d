"""Start from a picture, and say in words what should be different.

    python examples/picture_and_words.py
    python examples/picture_and_words.py my_pictures my_pictures/port.jpg "at night"

Words and picture together ask for what is like the picture and shows what the words say.
"""

import sys
from pathlib import Path

from rsctir_hf import Retriever
from rsctir_hf.files.pictures import list_images
from rsctir_hf.sample import sample_folder

folder = sys.argv[1] if len(sys.argv) > 1 else sample_folder()
picture = Path(sys.argv[2]) if len(sys.argv) > 2 else list_images(folder)[0]
words = sys.argv[3] if len(sys.argv) > 3 else "beside a river"

retriever = Retriever.from_pretrained("checkpoints/cmpagl-rs")
retriever.index(folder)

queries = {
    f"like {picture.name}": retriever.search(picture, top_k=4),
    words: retriever.search(words, top_k=4),
    f"like {picture.name}, {words}": retriever.search(words, image=picture, top_k=4),
}
for query, hits in queries.items():
    print(f"\n{query}")
    for hit in hits:
        print(f"{hit.rank:>3}  {hit.score:.3f}  {Path(str(hit.path)).name}")
