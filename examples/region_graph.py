"""Look into a result: which regions of the best picture speak for the words, and how they are tied.

    python examples/region_graph.py
    python examples/region_graph.py my_pictures "planes beside a terminal"

Also shown in the demo, under *Region graph*.
"""

import sys

from rsctir_hf import Retriever, load_detector
from rsctir_hf.sample import sample_folder

folder = sys.argv[1] if len(sys.argv) > 1 else sample_folder()
words = sys.argv[2] if len(sys.argv) > 2 else "some planes at the airport"

# Regions of a detector carry names; without one the model proposes its own.
detector = load_detector("checkpoints/overhead-rsod")
retriever = Retriever.from_pretrained("checkpoints/galr-rs", regions=detector)
retriever.index(folder)
(best,) = retriever.search(words, top_k=1)
print(f"{words}\n{best}\n")

graph = retriever.region_graph(best.path)  # torch_geometric.data.Data
print(f"{graph.num_nodes} regions in the graph, {graph.num_edges} edges")

found = retriever.contributions(best.path, words)
for row in found.ranking():
    left, top, right, bottom = found.boxes[row].round().int().tolist()
    print(f"{found.values[row, 0]:+.4f}  region at x {left} to {right}, y {top} to {bottom}")
