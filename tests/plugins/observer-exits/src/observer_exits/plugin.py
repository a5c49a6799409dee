import sys


def segzoo_checkpoint_saved() -> None:
    sys.exit("the disk is mine")
