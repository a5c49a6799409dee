"""The same training as `segzoo train`, in one plain file: no hooks, no recipes, nothing hidden.

It trains a registered model on a registered data set with Adam, cross-entropy and step decay, and
prints the loss, pixel accuracy and IoU of each epoch::

    python examples/plain_train.py linknet hk path/to/HK
"""

import sys
from pathlib import Path

import torch
from torch.nn import functional
from torch.utils.data import DataLoader

import segzoo
from segzoo.data.finish import finish_sample
from segzoo.metrics.confusion import Confusion

SIZE, BATCH, EPOCHS = (256, 256), 8, 20


class Pictures(torch.utils.data.Dataset):
    """Images as float 0..1 and labels, both at one size."""

    def __init__(self, source: segzoo.DataSource, split: str) -> None:
        self.samples = source.split(split)
        self.info = source.info(self.samples)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        image, target, _ = finish_sample(self.samples[index], self.info, SIZE)
        return image / 255, target.long()


def main(model_name: str, data_name: str, root: Path | None) -> None:
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    source = segzoo.DataSource(data_name, root=root)
    train, test = Pictures(source, "train"), Pictures(source, "test")
    classes, ignore = train.info.classes, train.info.ignore_index
    train_batches = DataLoader(train, BATCH, shuffle=True, num_workers=2)
    test_batches = DataLoader(test, BATCH, num_workers=2)

    model = segzoo.create_model(model_name, in_channels=3, num_classes=len(classes)).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)

    for epoch in range(1, EPOCHS + 1):
        model.train()
        for images, labels in train_batches:
            images, labels = images.to(device), labels.to(device)
            optimizer.zero_grad()
            loss = functional.cross_entropy(
                model(images), labels, ignore_index=-100 if ignore is None else ignore
            )
            loss.backward()
            optimizer.step()
        schedule.step()

        model.eval()
        scores = Confusion(classes, ignore)
        with torch.inference_mode():
            for images, labels in test_batches:
                scores.update(model(images.to(device)), labels.to(device))
        text = ", ".join(f"{name} {value:.4f}" for name, value in scores.compute().items())
        print(f"epoch {epoch}: last loss {loss.item():.4f}, test {text}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]) if len(sys.argv) > 3 else None)
