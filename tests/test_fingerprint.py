"""What tells the data of a run from other data, and the marks of older versions."""

import pytest

from segzoo.data.fingerprint import fingerprint, former_fingerprints
from segzoo.data.sample import TWO_UNNAMED, DataInfo, voc_palette


class Split:
    """Pictures of these names, and of no files."""

    def __init__(self, *keys):
        self.keys = list(keys)

    def __len__(self):
        return len(self.keys)


def info(classes=("a", "b")):
    return DataInfo(
        identity="acme/x", version="1", classes=classes, palette=voc_palette(2), target="labels",
        ignore_index=255, options={},
    )  # fmt: skip


SPLITS = {"train": Split("1", "2"), "val": Split("3"), "test": Split("4")}


@pytest.mark.parametrize("split", SPLITS)
def test_other_names_in_any_split_are_other_data(split):
    other = {**SPLITS, split: Split(*(f"{key}0" for key in SPLITS[split].keys))}
    assert fingerprint(info(), other) != fingerprint(info(), SPLITS)
    assert fingerprint(info(), SPLITS) not in former_fingerprints(info(), other)


def test_pictures_that_moved_between_splits_are_other_data():
    moved = {**SPLITS, "val": Split("4"), "test": Split("3")}
    assert fingerprint(info(), moved) != fingerprint(info(), SPLITS)


def test_runs_of_older_versions_are_known():
    assert len(former_fingerprints(info(), SPLITS)) == 1
    assert len(former_fingerprints(info(TWO_UNNAMED), SPLITS)) == 3
