"""What segzoo-torchvision provides; light, torchvision is imported by the modules named here."""

from dataclasses import dataclass
from typing import Literal

from segzoo import DatasetSpec, ModelSpec, option

FCN = "https://arxiv.org/abs/1411.4038"
DEEPLABV3 = "https://arxiv.org/abs/1706.05587"
MOBILENETV3 = "https://arxiv.org/abs/1905.02244"

VOC_HOMEPAGE = "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/"
PET_HOMEPAGE = "https://www.robots.ox.ac.uk/~vgg/data/pets/"
CITYSCAPES_HOMEPAGE = "https://www.cityscapes-dataset.com/"
SBD_HOMEPAGE = "http://home.bharathh.info/pubs/codes/SBD/download.html"

VOC_CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
    *("chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant"),
    *("sheep", "sofa", "train", "tvmonitor"),
)
CITYSCAPES_CLASSES = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}
PET_CLASSES = {"background": (0, 0, 0), "pet": (230, 120, 40), "border": (250, 230, 120)}


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """Options of the network without an auxiliary head."""

    weights: str | None = option(
        None,
        "weights of the whole network: a tag of torchvision's (DEFAULT), or a file",
        external=True,
    )
    backbone_weights: str | None = option(
        None,
        "weights of the classifier it is built on: a tag (IMAGENET1K_V1, DEFAULT), or a file",
        external=True,
    )

    def __post_init__(self) -> None:
        if self.weights is not None and self.backbone_weights is not None:
            raise ValueError("weights hold the backbone too: give weights or backbone_weights")


@dataclass(frozen=True, kw_only=True)
class AuxNetworkOptions(NetworkOptions):
    """Options of the networks that can have an auxiliary head."""

    aux: bool = option(False, "add an auxiliary head on earlier features, trained beside the head")


@dataclass(frozen=True, kw_only=True)
class VOCOptions:
    """Options of `voc2012`."""

    download: bool = option(
        False, "let torchvision download the set (2 GB) where it is missing", external=True
    )


@dataclass(frozen=True, kw_only=True)
class PetOptions:
    """Options of `oxford-pet`."""

    classes: Literal["pet", "trimap"] = option(
        "pet", "pet: background and pet, their border is ignored; trimap: the border is a class"
    )
    val: float = option(0.1, "share of trainval carved out (seeded) as val", minimum=0, maximum=0.9)
    download: bool = option(
        False, "let torchvision download the set (0.8 GB) where it is missing", external=True
    )


@dataclass(frozen=True, kw_only=True)
class CityscapesOptions:
    """Options of `cityscapes`."""

    mode: Literal["fine", "coarse"] = option("fine", "labels of gtFine or of gtCoarse")


@dataclass(frozen=True, kw_only=True)
class SBDOptions:
    """Options of `sbd`."""

    train_noval: bool = option(
        False, "train on train_noval.txt, which leaves out the pictures of VOC 2012's val"
    )
    download: bool = option(
        False, "let torchvision download the set (1.4 GB) where it is missing", external=True
    )


def segzoo_models() -> list[ModelSpec]:
    """Return torchvision's six segmentation networks."""
    resnet50, resnet101 = (f"a ResNet-{depth}, dilated to stride 8" for depth in (50, 101))
    mobilenet = "a MobileNetV3-Large, dilated to stride 16"
    rows = [
        ("fcn-resnet50", "FCN head", resnet50, FCN),
        ("fcn-resnet101", "FCN head", resnet101, FCN),
        ("deeplabv3-resnet50", "DeepLabV3", resnet50, DEEPLABV3),
        ("deeplabv3-resnet101", "DeepLabV3", resnet101, DEEPLABV3),
        ("deeplabv3-mobilenet-v3-large", "DeepLabV3", mobilenet, DEEPLABV3),
        ("lraspp-mobilenet-v3-large", "Lite R-ASPP", mobilenet, MOBILENETV3),
    ]
    return [
        ModelSpec(
            name=f"tv-{name}",
            summary=f"torchvision's {head} on {backbone}",
            build=f"segzoo_torchvision.network:build_{name.replace('-', '_')}",
            options=NetworkOptions if name.startswith("lraspp") else AuxNetworkOptions,
            stride=16 if "mobilenet" in name else 8,
            paper=paper,
            licence="BSD-3-Clause",
        )
        for name, head, backbone, paper in rows
    ]


def segzoo_datasets() -> list[DatasetSpec]:
    """Return `voc2012`, `oxford-pet`, `cityscapes` and `sbd`."""
    return [
        DatasetSpec(
            name="voc2012",  # without a palette of its own: segzoo's default is VOC's
            summary="PASCAL VOC 2012: 20 kinds of objects, 1464 training, 1449 val photographs",
            build="segzoo_torchvision.voc2012:build_voc2012",
            classes=VOC_CLASSES,
            sample="segzoo_torchvision.voc2012:write_sample",
            options=VOCOptions,
            homepage=VOC_HOMEPAGE,
            licence="photographs from Flickr under its terms of use; see the homepage",
        ),
        DatasetSpec(
            name="oxford-pet",
            summary="Oxford-IIIT Pet: cats and dogs, 3680 training, 3669 test photographs",
            build="segzoo_torchvision.oxford_pet:build_oxford_pet",
            classes=tuple(PET_CLASSES)[:2],
            palette=tuple(PET_CLASSES.values())[:2],
            sample="segzoo_torchvision.oxford_pet:write_sample",
            options=PetOptions,
            homepage=PET_HOMEPAGE,
            licence="CC BY-SA 4.0",
        ),
        DatasetSpec(
            name="cityscapes",
            summary="Cityscapes: 19 classes of street scenes, 2975 training, 500 val photographs",
            build="segzoo_torchvision.cityscapes:build_cityscapes",
            classes=tuple(CITYSCAPES_CLASSES),
            palette=tuple(CITYSCAPES_CLASSES.values()),
            sample="segzoo_torchvision.cityscapes:write_sample",
            options=CityscapesOptions,
            homepage=CITYSCAPES_HOMEPAGE,
            licence="non-commercial, with registration; see the homepage",
        ),
        DatasetSpec(
            name="sbd",  # VOC's classes, so VOC's colours
            summary="Semantic Boundaries: VOC's classes, 8498 training, 2857 val photographs",
            build="segzoo_torchvision.sbd:build_sbd",
            classes=VOC_CLASSES,
            sample="segzoo_torchvision.sbd:write_sample",
            options=SBDOptions,
            homepage=SBD_HOMEPAGE,
            licence="photographs of PASCAL VOC 2011, from Flickr; see the homepage",
        ),
    ]
