"""The tab *About*: what the models are, what was measured, how to use them, whom to cite."""

from pathlib import Path

import gradio as gr

from rsctir_hf.hub.space import HUB_GALLERY
from rsctir_hf.ui.server.model_facts import Figure, ModelFacts
from rsctir_hf.ui.server.workbench import Workbench
from rsctir_hf.ui.views.cards import escape, note
from rsctir_hf.ui.views.results import RERANK_NAMES

_WHAT = """
### What you see
A picture and a sentence are each turned into one vector; near vectors belong together. That is
all a search needs: it works in both directions, and for pictures never described by anyone.

- **CMPAGL-style**, from the published description of Sun, Zhao, Liu and Kaup (2024), whose code
  was never released: a windowed transformer with one more window that holds the whole picture,
  and a second stage that reads picture and sentence together (*Match*).
- **GaLR** (Yuan et al., 2022): a global view of the picture corrected by a graph of its regions.
  How regions are denoised and tied (DREA) is *our reading*; the authors' code for it is not public.
- **SMR** (*our reading*) and **MR** reorder results. They ask how well each picture fits many other
  sentences, and move down the pictures that fit everything.
"""
_CAVEATS = """
*mR* is the mean of six recalls (the right answer among the first 1, 5 and 10, both ways), in
percent. Read the figures with care:

- They are of the pictures by which the model was chosen, so they flatter a little where the table
  says *validation*.
- Sentences repeat between pictures of these sets and exact counting takes the others' for wrong, so
  no model comes near 100. Ties count at their expected value.
- RSICD stands here for the part of it that AID has, at 150 instead of 224 pixels. That does not
  compare with published figures.
- The models were trained on aerial photographs of cities and countryside in daylight with English
  captions. Expect less on radar, night, clouds, other scales and other languages.
- Drawn scenes are drawings, and the models trained on others of their kind: how well they do on
  them says little about photographs.
"""
_CODE = """from rsctir_hf import Retriever
finder = Retriever.from_pretrained("{model}")
finder.index("pictures")
print(finder.search("boats beside a pier", top_k=5))"""
_CLIENT = """from gradio_client import Client
client = Client("{address}")
client.predict("boats beside a pier", api_name="/text_to_image")"""
#: Stands for the address of the page, which ``app.js`` knows.
_ADDRESS = "http://this-page"
_OTHER_PICTURES = f"""### Other pictures
The person who starts the app chooses the gallery:

- `python app.py --gallery {HUB_GALLERY}`: 1,093 photographs of the RSICD test split, fetched from
  the Hugging Face Hub once;
- `python app.py --gallery my_pictures`: a folder of your own.
"""
_LICENCE = """
### Licence and citations
Code and drawn scenes: Apache-2.0. The weights that come with it are for research only; their
cards name the terms of what they were trained on. Pictures of other galleries belong to their
owners.

- Z. Yuan et al., *Remote Sensing Cross-Modal Text-Image Retrieval Based on Global and Local
  Information*, IEEE TGRS 2022, arXiv:2204.09860 (GaLR, MR).
- Z. Sun, M. Zhao, G. Liu, A. Kaup, *Cross-Modal Pre-Aligned Method with Global and Local
  Information for Remote-Sensing Image and Text Retrieval*, IEEE TGRS 2024, arXiv:2411.14704
  (CMPAGL, SMR).
- B. Qu, X. Li, D. Tao, X. Lu, *Deep Semantic Understanding of High Resolution Remote Sensing
  Image*, CITS 2016 (UCM-Captions, Sydney-Captions).
- X. Lu, B. Wang, X. Zheng, X. Li, *Exploring Models and Data for Remote Sensing Image Caption
  Generation*, IEEE TGRS 2017, doi:10.1109/TGRS.2017.2776321 (RSICD).

Your pictures stay on the machine that runs this page, are shown to you alone and are deleted
after a day. Nothing is reported to anyone.
"""


def figures_table(facts: ModelFacts | None) -> str:
    """Return the measured figures of a model as an HTML table, or that there are none."""
    if facts is None:
        return note("The model is not loaded yet.")
    trained = f"<p>Trained on {escape(facts.training_images)}.</p>" if facts.training_images else ""
    head = f"<p><strong>{escape(facts.name)}</strong>, {facts.size}.</p>{trained}"
    if not facts.figures:
        return head + note("No results file lies beside this model: it was not evaluated.")
    sets = list(dict.fromkeys(figure.data for figure in facts.figures))
    by_data = sorted(facts.figures, key=lambda figure: sets.index(figure.data))
    rows = "".join(_row(figure) for figure in by_data)
    return (
        f'{head}<div class="rs-scroll" tabindex="0" role="group" aria-label="Measured figures">'
        '<table class="rs-table"><thead><tr><th scope="col">Data</th><th scope="col">Rerank</th>'
        '<th scope="col">Right picture in the first ten, of 100 sentences</th>'
        f'<th scope="col">mR (%)</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _row(figure: Figure) -> str:
    pictures = f", {figure.images:,} pictures" if figure.images else ""
    found = "" if figure.found is None else f"{figure.found:.0f}"
    return (
        f"<tr><td>{escape(figure.data)}{pictures}</td>"
        f"<td>{escape(RERANK_NAMES.get(figure.rerank, figure.rerank))}</td>"
        f"<td>{found}</td><td>{figure.value:.1f}</td></tr>"
    )


def code_box(label: str, code: str) -> str:
    """Show lines of code in full, with a button that copies them."""
    return (
        f'<div class="rs-code"><div class="rs-code-head"><span>{escape(label)}</span>'
        '<button type="button" class="rs-copy">Copy</button></div>'
        f"<pre><code>{escape(code)}</code></pre></div>"
    )


def library_box(model: str) -> str:
    """Return the lines of Python that search with a model: a Hub id, or a folder's last parts."""
    return code_box("The library", _CODE.format(model="/".join(Path(model).parts[-2:])))


def build_about_tab(bench: Workbench) -> list[gr.HTML]:
    """Lay the tab out; return the places of figures and lines that are known once the model is."""
    with gr.Row(elem_classes="rs-split rs-about"):
        with gr.Column(scale=3, min_width=300):
            gr.Markdown(_WHAT)
            gr.Markdown("### Measured")
            figures = gr.HTML(figures_table(bench.facts), elem_id="rs-figures")
            gr.Markdown(_CAVEATS)
        with gr.Column(scale=2, min_width=300):
            gr.Markdown("### In Python")
            library = gr.HTML(library_box(bench.model), elem_id="rs-library")
            client = code_box("This page", _CLIENT.format(address=_ADDRESS))
            gr.HTML(client, js_on_load=f"window.rsctir.address(element, '{_ADDRESS}');")
            gr.Markdown(_OTHER_PICTURES)
            gr.Markdown(_LICENCE)
    return [figures, library]
