"""``python -m segzoo``."""

from segzoo.cli import main

main()
