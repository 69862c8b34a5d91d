"""``python -m rsctir_hf ...`` is ``rsctir ...``."""

from rsctir_cli.main import main

if __name__ == "__main__":
    main()
