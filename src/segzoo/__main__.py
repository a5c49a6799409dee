"""``python -m segzoo``."""

from segzoo.cli import program

program()
