"""Search a folder of pictures by words, keep the index, and search it again later.

    python examples/search_folder.py
    python examples/search_folder.py my_pictures "a harbour with many boats"

Scores are cosines; a rerank changes the order only.
"""

import sys
import tempfile

from rsctir_hf import Retriever
from rsctir_hf.sample import sample_folder

folder = sys.argv[1] if len(sys.argv) > 1 else sample_folder()
words = sys.argv[2] if len(sys.argv) > 2 else "a harbour with many boats"

retriever = Retriever.from_pretrained("checkpoints/cmpagl-rs")
report = retriever.index(folder)
print(f"{report.indexed} pictures indexed, {len(report.skipped)} could not be read")

print(f"\n{words}")
for hit in retriever.search(words, top_k=5, rerank="smr"):
    print(f"{hit.rank:>3} (was {hit.rank_before})  {hit.score:.3f}  {hit.path}")

with tempfile.TemporaryDirectory() as index:  # any folder; it can move to another machine
    retriever.save(index)
    later = Retriever.load(index)
    print(f"\nFrom the saved index: {later.search(words, top_k=1)[0]}")
