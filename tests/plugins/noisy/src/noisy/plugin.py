from segzoo import ModelSpec

print("noisy is imported")


def segzoo_models() -> list[ModelSpec]:
    print("noisy is asked")
    return [
        ModelSpec(name="noisy", summary="one convolution", build="noisy.network:build", stride=1)
    ]
