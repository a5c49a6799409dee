from segzoo.testing import DatasetConformance


class TestVOC2012(DatasetConformance):
    data = "segzoo-torchvision/voc2012"


class TestOxfordPet(DatasetConformance):
    data = "segzoo-torchvision/oxford-pet"


class TestOxfordPetTrimaps(DatasetConformance):
    data = "segzoo-torchvision/oxford-pet"
    options = {"classes": "trimap"}


class TestCityscapes(DatasetConformance):
    data = "segzoo-torchvision/cityscapes"


class TestCityscapesCoarse(DatasetConformance):
    data = "segzoo-torchvision/cityscapes"
    options = {"mode": "coarse"}


class TestSBD(DatasetConformance):
    data = "segzoo-torchvision/sbd"


class TestSBDWithoutVOCsVal(DatasetConformance):
    data = "segzoo-torchvision/sbd"
    options = {"train_noval": True}
