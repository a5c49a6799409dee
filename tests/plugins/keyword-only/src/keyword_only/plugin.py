def segzoo_epoch_end(*, run: object, epoch: int) -> None:
    print(run, epoch)
