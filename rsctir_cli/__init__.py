"""The console script ``rsctir``: what each command takes, and nothing that takes long to load.

It stands beside the package, whose import brings torch and transformers along. The code of the
commands is ``rsctir_hf.cli``; ``main.load`` fetches it when a command is called, so that help and
usage errors come at once.
"""
