def steal() -> None:
    print("the other list")
