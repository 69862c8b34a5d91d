"""From pictures and sentences to vectors: the encoder, and folders that keep what it made."""
