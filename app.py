"""The demo: search remote-sensing pictures by words and by picture, in the browser.

    python app.py                                  # the embedded model and the drawn scenes
    python app.py --gallery my_pictures            # a folder of your own
    RSCTIR_GALLERY=arampacha/rsicd python app.py   # a data set of the Hugging Face Hub
    python app.py --mcp                            # the searches as tools for language models too

A Space runs this file; ``python app.py --help`` lists every flag and its environment variable.
"""

import gc
import logging
import os
import signal
import sys
from pathlib import Path

# No telemetry unless asked for; all three are read when the packages are imported.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
# Threads of one visitor's request must not keep the processors from another's while they wait.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from rsctir_hf.allocation import share_arenas
from rsctir_hf.errors import exit_on_error, require_packages

# What imports make stays: to look again and again for what may go takes a sixth of their time.
gc.disable()
with exit_on_error("app"):
    # Before the model is loaded in a thread, which an exit would break off.
    require_packages("gradio", "plotly", "networkx", "torch_geometric", extra="app")
    from rsctir_hf.ui.server.settings import parse_settings
    from rsctir_hf.ui.server.workbench import Workbench

_LAUNCHED = __name__ == "__main__"

settings = parse_settings(
    sys.argv[1:] if _LAUNCHED else (), os.environ, root=Path(__file__).resolve().parent
)
bench = Workbench(settings)
if _LAUNCHED:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    # A container's first process would not heed it otherwise. There is nothing to tidy up: files
    # appear whole.
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(128 + number))
    share_arenas()
    bench.start()  # the model is loaded while gradio is, and the page built

with exit_on_error("app"):
    from rsctir_hf.ui.layout import build_app, launch_options
demo = build_app(bench)
gc.enable()

if _LAUNCHED:
    gc.freeze()  # what is there by now is not looked at again
    with exit_on_error("app"):
        demo.launch(**launch_options(settings))
