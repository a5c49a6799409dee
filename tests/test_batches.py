import numpy as np
import pytest
import torch

from segzoo.data.batches import Batches
from segzoo.data.finish import finish_sample
from segzoo.data.sample import DataInfo, Sample, voc_palette
from segzoo.errors import SegzooError


def info(**changes):
    given = {
        "identity": "acme/x", "version": "1", "classes": ("a", "b", "c"),
        "palette": voc_palette(3), "target": "labels", "ignore_index": 255,
    }  # fmt: skip
    return DataInfo(**{**given, **changes})


class Toy:
    def __init__(self, count=10, size=(16, 20), label=2):
        self.count, self.size, self.label = count, size, label

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        image = torch.full((3, *self.size), index, dtype=torch.uint8)
        return Sample(image, torch.full(self.size, self.label, dtype=torch.uint8), f"k{index}")


class Stream:
    def __iter__(self):
        toy = Toy()
        yield from (toy[i] for i in range(5))


def make(dataset=None, **changes):
    how = {"size": (8, 8), "batch_size": 4, **changes}
    return Batches(Toy() if dataset is None else dataset, how.pop("info", info()), **how)


def keys(batches, epoch=0):
    return [key for batch in batches.epoch(epoch) for key in batch.keys]


@pytest.mark.parametrize("cache", ["memory", "none"])
@pytest.mark.parametrize("workers", [0, 2])
def test_every_picture_once_in_an_order_of_seed_and_epoch_alone(cache, workers):
    batches = make(shuffle=True, seed=3, cache=cache, workers=workers)
    first, second = keys(batches, 0), keys(batches, 1)
    assert sorted(first) == sorted(second) == sorted(f"k{i}" for i in range(10))
    assert first != second
    assert first == keys(make(shuffle=True, seed=3), 0)
    assert first != keys(make(shuffle=True, seed=4), 0)
    assert len(batches) == 3


def test_images_stay_uint8_and_belong_to_their_keys():
    for batch in make(shuffle=True).epoch(0):
        assert batch.images_BCHW.dtype == torch.uint8
        assert batch.images_BCHW.shape[1:] == (3, 8, 8)
        assert [f"k{int(v)}" for v in batch.images_BCHW[:, 0, 0, 0]] == batch.keys


def test_reading_takes_nothing_from_the_global_random_numbers():
    before = torch.get_rng_state()
    keys(make(shuffle=True, cache="none"))
    assert torch.equal(before, torch.get_rng_state())


def test_the_last_batch_is_smaller():
    assert [len(batch.keys) for batch in make().epoch(0)] == [4, 4, 2]


def test_in_training_a_single_picture_left_over_joins_the_batch_before():
    batches = make(Toy(count=9), shuffle=True)
    assert [len(batch.keys) for batch in batches.epoch(0)] == [4, 5]
    assert len(batches) == 2
    assert [len(batch.keys) for batch in make(Toy(count=1), shuffle=True).epoch(0)] == [1]


def test_a_stream_is_read_through():
    batches = make(Stream())
    assert keys(batches) == [f"k{i}" for i in range(5)]
    assert batches.stream
    assert batches.channels == 3


def test_an_empty_split_is_refused():
    with pytest.raises(SegzooError, match="acme/x has no pictures"):
        make(Toy(count=0))


def test_labels_out_of_range_name_the_picture_even_from_workers():
    for workers in (0, 2):
        batches = make(Toy(label=2), workers=workers, cache="none")
        batches.samples.dataset.label = 7
        with pytest.raises(SegzooError, match="acme/x, `k0`: label 7 with 3 classes"):
            list(batches.epoch(0))
    make(Toy(label=255))


def test_a_matte_becomes_labels_after_resizing():
    matte = torch.zeros(16, 16, dtype=torch.uint8)
    matte[:, 9:] = 200
    sample = Sample(torch.zeros(3, 16, 16, dtype=torch.uint8), matte, "k")
    low = finish_sample(sample, info(threshold=0), (8, 8)).target
    high = finish_sample(sample, info(threshold=180), (8, 8)).target
    assert low[0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]  # the mixed column counts as person
    assert high[0].tolist() == [0, 0, 0, 0, 0, 1, 1, 1]


def test_labels_are_never_mixed():
    labels = torch.zeros(17, 17, dtype=torch.uint8)
    labels[:, 8:] = 2
    sample = Sample(torch.zeros(3, 17, 17, dtype=torch.uint8), labels, "k")
    assert finish_sample(sample, info(), (8, 8)).target.unique().tolist() == [0, 2]
    wide = Sample(sample.image, labels.int() * 200, "k")
    many = info(classes=tuple(map(str, range(500))))
    assert finish_sample(wide, many, (8, 8)).target.unique().tolist() == [0, 400]


def test_numpy_arrays_and_deep_images_are_taken():
    image = np.full((1, 8, 8), 60000, dtype=np.uint16)
    sample = Sample(image, np.ones((8, 8), dtype=np.uint8), "k")  # type: ignore[arg-type]
    for size in ((8, 8), (4, 4)):
        done = finish_sample(sample, info(value_range=(0, 65535)), size)
        assert done.image.shape == (1, *size)
        assert float(done.image.max()) == 60000


def test_a_malformed_sample_is_named():
    wrong = Sample(torch.zeros(3, 8, 8, dtype=torch.uint8), torch.zeros(8, 9), "odd")
    with pytest.raises(SegzooError, match="acme/x, `odd`: image"):
        finish_sample(wrong, info(), (8, 8))
