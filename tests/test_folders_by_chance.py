"""Data folders of random form with a known truth: what is read is the truth, refused, or said."""

import random

import pytest
from campaign import folders
from hypothesis import given, settings
from hypothesis import strategies as st


@given(seed=st.integers(0, 2**48))
@settings(max_examples=60, deadline=None)
def test_nothing_is_silently_wrong(tmp_path_factory, seed):
    root = tmp_path_factory.mktemp("chance") / "set"
    outcome, fault = folders.try_folder(root, random.Random(seed))
    assert outcome in ("read", "refused", "said")
    assert not fault, f"seed {seed}: {fault}"


@pytest.mark.parametrize("kind", ["shifted", "mirrored", "ids"])
def test_what_is_wrong_would_be_found(tmp_path, monkeypatch, kind):
    """The comparison itself can fail: of what is read something is changed."""
    real = folders.build_folder

    def broken(**given):
        built = real(**given)
        read = built.__class__.__getitem__

        class Broken(built.__class__):
            def __getitem__(self, index):
                sample = read(self, index)
                if kind == "ids":
                    return sample._replace(target=(sample.target == 0).to(sample.target.dtype))
                if kind == "mirrored":
                    return sample._replace(target=sample.target.flip(1))
                return sample._replace(target=sample.target.roll(1, 0))

        built.__class__ = Broken
        return built

    monkeypatch.setattr(folders, "build_folder", broken)
    faults = [
        folders.try_folder(tmp_path / str(seed), random.Random(seed))[1] for seed in range(40)
    ]
    assert sum(map(bool, faults)) > 5
