import numpy as np
import pytest
import torch
from PIL import Image

from segzoo.data.finish import finish_sample
from segzoo.data.loading.batches import Batches
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


PIXELS, IDS = torch.zeros(3, 8, 8, dtype=torch.uint8), torch.ones(8, 8, dtype=torch.uint8)


def test_a_malformed_sample_is_named():
    wrong = Sample(PIXELS, torch.zeros(8, 9), "odd")
    with pytest.raises(SegzooError, match="acme/x, `odd`: image"):
        finish_sample(wrong, info(), (8, 8))


MALFORMED = [
    (None, IDS, "the image is a NoneType"),
    ("text", IDS, "the image is a str"),
    (Image.new("RGB", (8, 8)), IDS, "the image is a Image"),
    (np.array([None]), IDS, "the image is a ndarray"),
    (PIXELS, IDS.to_sparse(), "the target is a sparse tensor"),
    (PIXELS.long(), IDS, "an image of torch.int64"),
    (PIXELS.to(torch.complex64), IDS, "an image of torch.complex64"),
    (PIXELS[:, :0], IDS[:0], "without pixels"),
    (PIXELS[:0], IDS, "without pixels"),
    (PIXELS + 0.5, IDS * 0.5, "a target of torch.float32 whose values are not whole"),
    (PIXELS, IDS * torch.nan, "a target of torch.float32 whose values are not whole"),
    (PIXELS, IDS * 1e12, "whose values are not whole"),
    (PIXELS * torch.nan, IDS, "an image with values nan..nan"),
    (PIXELS - torch.inf, IDS, "an image with values -inf..-inf"),
    (PIXELS + 300.0, IDS, "an image with values 300..300"),
    ((PIXELS.int() + 300).to(torch.uint16), IDS, "an image with values 300..300"),
]


@pytest.mark.parametrize(("image", "target", "fault"), MALFORMED)
def test_what_is_no_picture_or_no_target_is_named(image, target, fault):
    with pytest.raises(SegzooError, match=f"acme/x, `odd`: .*{fault}"):
        finish_sample(Sample(image, target, "odd"), info(), None)


def test_what_can_be_taken_as_it_is_meant_is():
    def finished(image=PIXELS, ids=IDS, **changes):
        return finish_sample(Sample(image, ids, "k"), info(**changes), (4, 4))

    for kind in (torch.bool, torch.int8, torch.int64, torch.float32, torch.float64, torch.uint16):
        assert finished(ids=IDS.to(kind)).target.unique().tolist() == [1]
    for kind in (torch.float16, torch.float64, torch.uint16):
        assert finished(PIXELS.to(kind)).image.dtype == torch.float32
    assert float(finished(PIXELS + 1.0005, value_range=(0.0, 1.0)).image.max()) > 1
    assert not finished((PIXELS + 1.0).requires_grad_()).image.requires_grad
    alpha = {"target": "alpha", "classes": ("a", "b")}
    assert finished(ids=IDS.bool(), **alpha).target.unique().tolist() == [255]
    assert finished(ids=IDS.int() * 200, **alpha).target.dtype == torch.uint8
    with pytest.raises(SegzooError, match=r"a matte with values 256\.\.256"):
        finished(ids=IDS.int() * 256, **alpha)
    with pytest.raises(SegzooError, match="whose values are not whole"):
        finished(ids=IDS * 0.5, **alpha)
    with pytest.raises(SegzooError, match=r"an image with values 90\.\.90"):
        finished(PIXELS + 90, value_range=(0.0, 1.0))


class Odd(Toy):
    odd = ()

    def __getitem__(self, index):
        return self.odd if index == 3 else super().__getitem__(index)


@pytest.mark.parametrize(
    ("odd", "fault"),
    [
        (None, "sample 3: TypeError"),
        ((PIXELS, IDS), "sample 3: TypeError"),
        ((PIXELS, IDS, "k", 1), "sample 3: TypeError"),
        ((PIXELS, IDS, 7), "a sample with the key 7"),
        ((PIXELS, None, "k3"), "`k3`: the target is a NoneType"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_no_sample_is_named(odd, fault, stream):
    toy = Odd()
    toy.odd = odd
    data = (toy[i] for i in range(5)) if stream else toy
    batches = Batches(toy, info(), size=(8, 8), batch_size=4, workers=0, cache="none")
    if stream:
        batches = make(Streamed(data))
    with pytest.raises(SegzooError, match=f"acme/x.*{fault}"):
        keys(batches)


class Streamed:
    def __init__(self, items):
        self.items = list(items)

    def __iter__(self):
        yield from self.items


class Channels(Toy):
    def __init__(self, channels):
        super().__init__(len(channels))
        self.channels = channels

    def __getitem__(self, index):
        image, target, key = super().__getitem__(index)
        return Sample(image[:1].repeat(self.channels[index], 1, 1), target, key)


@pytest.mark.parametrize(
    ("channels", "odd"),
    [((3, 3, 4, 3), "k2"), ((3, 3, 1, 3), "k2"), ((4, 3, 3, 3), "k0"), ((3, 4), "k1"),
     ((4, 3), "k1"), ((3, 3, 4, 4), "k2")],
)  # fmt: skip
def test_the_picture_of_other_channels_than_most_is_named(channels, odd):
    with pytest.raises(SegzooError, match=f"`{odd}` has .* channels, others"):
        keys(make(Channels(channels), cache="none", workers=0))
    with pytest.raises(SegzooError, match="`k2` has 4 channels, the first .* `k0`, has 3"):
        keys(make(Channels((3, 3, 4, 4)), batch_size=2, cache="none", workers=0))
