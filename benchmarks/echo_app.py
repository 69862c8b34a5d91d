"""A Gradio app that returns the text it is given, with the queue of ours: what Gradio itself takes.

``app_load.py`` starts it as ``app.py`` of a folder of its own.
"""

import argparse

import gradio as gr

from rsctir_hf.ui.server.limits import AT_ONCE, MOST_WAITING


def main() -> None:
    """Serve on loopback until ended."""
    parser = argparse.ArgumentParser(description="Return the text that is given.")
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    with gr.Blocks(analytics_enabled=False) as demo:
        words, same = gr.Textbox(), gr.Textbox()
        words.submit(lambda text: text, words, same, api_name="echo", concurrency_limit=1)
    demo.queue(max_size=MOST_WAITING, default_concurrency_limit=AT_ONCE)
    demo.launch(server_port=port, server_name="127.0.0.1", quiet=True)


if __name__ == "__main__":
    main()
