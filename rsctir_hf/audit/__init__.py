"""Captions that look wrong: which they are, and a page to look at them."""
