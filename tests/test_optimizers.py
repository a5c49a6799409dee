"""Each optimizer of timm can be saved and gone on with to the bit, or is refused by name."""

import json

import pytest
import torch
from timm.optim import list_optimizers  # pyright: ignore[reportPrivateImportUsage]
from torch import nn

from segzoo.errors import SegzooError
from segzoo.train.config import RunConfig
from segzoo.train.recovery import trial
from segzoo.train.recovery.optimizer_state import load, packed

CPU = torch.device("cpu")
COMPILES = {"kron", "kronc", "kronw"}
NEEDS_CUDA = ("bnb", "fused")


@pytest.mark.filterwarnings("ignore:.*opt_einsum")
@pytest.mark.parametrize("name", list_optimizers())
def test_every_optimizer_goes_on_or_is_refused(name):
    before = torch.get_rng_state()
    try:
        trial.check_optimizer(RunConfig(optimizer=name), CPU)
        outcome = ""
    except SegzooError as error:
        outcome = error.message
        assert outcome.startswith(f"--optimizer {name}: ")
        assert "adamw" in error.hint
    assert torch.equal(torch.get_rng_state(), before)
    if name in COMPILES:
        assert "compiles code" in outcome
    elif name == "adahessian" or name.startswith(NEEDS_CUDA):
        assert "cannot be used here" in outcome
    else:
        assert not outcome


def test_those_that_are_named_as_working_work():
    for name in trial.WORK.partition(" and ")[0].split(", "):
        trial.check_optimizer(RunConfig(optimizer=name), CPU)


class Odd(torch.optim.SGD):
    """Keeps what SGD does not; its steps are the larger the more it has kept."""

    kept = staticmethod(lambda p: [p.new_ones(2)])

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                first = "odd" not in state
                value = state["odd"] = self.kept(p) if first else state["odd"]
                with torch.no_grad():
                    p.sub_(p.grad, alpha=self.size(value))
        return

    def size(self, value):
        value[0].add_(0.1)
        return float(value[0].sum()) * 1e-3


def made(kind, monkeypatch):
    def make(model, config):
        return kind(model.parameters(), lr=0.1)

    monkeypatch.setattr(trial, "make_optimizer", make)


@pytest.mark.parametrize(
    "kept",
    [
        lambda p: [p.new_ones(2)],
        lambda p: [p.new_ones(2), (None, {"a": p.new_ones(1), "b": [1, True, "x", 2.5]})],
        lambda p: [p.new_ones(2, dtype=torch.bfloat16)],
        lambda p: [p.new_ones(2, dtype=torch.float64), torch.ones(3, dtype=torch.int64)],
    ],
)
def test_state_in_lists_and_dicts_is_kept(monkeypatch, kept):
    made(type("Listed", (Odd,), {"kept": staticmethod(kept)}), monkeypatch)
    trial.check_optimizer(RunConfig(optimizer="listed"), CPU)


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (lambda p: [p.new_ones(2), {1, 2}], "could not be saved: its state `odd/1` holds a set"),
        (lambda p: [p.new_ones(2), torch.float32], "could not be saved: .*holds a dtype"),
        (lambda p: [p.new_ones(2), {3: 4}], "could not be saved: .*holds a dict"),
        (lambda p: [p.new_ones(2), object()], "could not be saved: .*holds a object"),
    ],
)
def test_other_state_is_refused_before_the_first_step(monkeypatch, kept, said):
    made(type("Worse", (Odd,), {"kept": staticmethod(kept)}), monkeypatch)
    with pytest.raises(SegzooError, match=f"--optimizer worse: a training with it {said}"):
        trial.check_optimizer(RunConfig(optimizer="worse"), CPU)


def test_state_outside_of_the_state_dict_is_noticed(monkeypatch):
    class Hidden(Odd):
        def size(self, value):
            self.count = getattr(self, "count", 0) + 1
            return 1e-3 * self.count

    made(Hidden, monkeypatch)
    with pytest.raises(SegzooError, match="would not go on, once resumed, as it does without"):
        trial.check_optimizer(RunConfig(optimizer="hidden"), CPU)


def test_an_error_in_a_step_is_told(monkeypatch):
    class Broken(Odd):
        def step(self, closure=None):
            raise ZeroDivisionError("7")

    made(Broken, monkeypatch)
    with pytest.raises(SegzooError, match="it cannot be used here: ZeroDivisionError: 7"):
        trial.check_optimizer(RunConfig(optimizer="broken"), CPU)


def test_moments_find_their_parameters_in_other_groups():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    one = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.ones(1, 2)).sum().backward()
    one.step()
    tensors, values = packed(one, model)
    values = json.loads(json.dumps(values))
    values["optimizer_groups"][0]["initial_lr"] = 0.1
    other = torch.optim.AdamW(
        [{"params": model[1].parameters(), "lr": 0.2}, {"params": model[0].parameters()}], lr=0.1
    )
    load(other, model, values, tensors)
    assert [group["lr"] for group in other.param_groups] == [0.2, 0.1]
    for parameter in model.parameters():
        assert torch.equal(other.state[parameter]["exp_avg"], one.state[parameter]["exp_avg"])
