"""The code of the commands of ``rsctir``; what each takes is said in ``rsctir_cli.commands``.

Results go to standard output, hints, progress and errors to standard error. An error the user can
do something about is one line and exit code 2.
"""
