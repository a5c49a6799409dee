def segzoo_epoch_end(epoch: int) -> None:
    print(f"observer-raises was told of epoch {epoch}")
    if epoch == 2:
        raise RuntimeError("out of ink")
