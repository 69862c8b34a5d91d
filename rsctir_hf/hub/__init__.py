"""The Hugging Face Hub: pushing a model, its card, the Space of the demo."""
