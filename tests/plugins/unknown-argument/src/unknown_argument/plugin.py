def segzoo_epoch_end(run: object, epoch: int, colour: str) -> None:
    print(run, epoch, colour)
