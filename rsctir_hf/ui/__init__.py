"""The Gradio app: what a visitor sees. Needs the extra ``app``; never imported by the package."""
