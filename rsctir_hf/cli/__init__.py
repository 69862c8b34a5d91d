"""The command line ``rsctir``: one module for each group of commands, put together in ``main``.

Results go to standard output, hints, progress and errors to standard error. An error the user can
do something about is one line and exit code 2.
"""
