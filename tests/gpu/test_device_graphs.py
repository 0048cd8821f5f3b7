"""Calls that come again with the same memory are replayed as graphs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import hpacml
from hpacml.runtime.gpu import graphs
from tests.gpu import stencil
from tests.gpu.test_device_calls import close, scaled
from tests.machines import Machine


class Heat:
    """A region with arrays on the device, and what the arrays must hold after each call."""

    def __init__(self, machine: Machine, net: Any = None, shape: tuple[int, int] = (9, 11)) -> None:
        self.machine = machine
        self.region = stencil.region(stencil.refuse)
        self.net = stencil.network()
        self.there_net = machine.network(stencil.network())
        self.use(*stencil.grids(*shape))

    def use(self, t: Any, new: Any) -> None:
        """Other arrays from now on."""
        self.t, self.new = t, new
        self.there = self.machine.there(t.copy()), self.machine.there(new.copy())

    def call(self, times: int = 1) -> None:
        for step in range(times):
            self.t[...] = np.random.default_rng(step).random(self.t.shape)
            self.machine.fill(self.there[0], self.t)
            self.region(*self.there, *self.t.shape, self.there_net)
            close(self.machine, self.there[1], stencil.inferred(self.t, self.new, self.net))

    def measured(self, times: int) -> Any:
        """The report of some calls."""
        hpacml.report(reset=True)
        hpacml.timing()
        try:
            self.call(times)
            return hpacml.report(reset=True)["heat"]
        finally:
            hpacml.timing(False)


@pytest.fixture
def heat(machine: Machine) -> Heat:
    return Heat(machine)


def test_calls_are_replayed_once_they_are_warm(machine: Machine, heat: Heat) -> None:
    for call in range(8):
        heat.call()
        assert machine.replays == max(0, call + 1 - graphs.WARM)
        assert machine.captures == (call >= graphs.WARM)
    assert machine.launched == 2 * graphs.WARM


def test_other_memory_is_captured_anew(machine: Machine, heat: Heat) -> None:
    heat.call(5)
    first = heat.t, heat.new, heat.there
    heat.use(*stencil.grids())
    heat.call(graphs.WARM)
    assert (machine.captures, machine.replays) == (1, 2)
    heat.call()
    assert (machine.captures, machine.replays) == (2, 3)
    heat.t, heat.new, heat.there = first
    heat.call()
    assert (machine.captures, machine.replays) == (2, 4)


def test_another_shape_is_captured_anew(machine: Machine, heat: Heat) -> None:
    heat.call(4)
    heat.use(*stencil.grids(6, 7))
    heat.call(4)
    assert (machine.captures, machine.replays) == (2, 2)


def test_another_number_is_captured_anew(machine: Machine) -> None:
    a, one = machine.there(np.ones((4, 5))), torch.nn.Identity()
    expected = 1.0
    for factor in [2.0] * 5 + [0.5] * 5:
        scaled(a, factor, machine.network(one))
        expected *= factor
        np.testing.assert_array_equal(machine.host(a), expected)
    assert (machine.captures, machine.replays) == (2, 4)


def test_both_zeros_are_numbers(machine: Machine) -> None:
    a, net = machine.there(np.ones((4, 5))), machine.network(torch.nn.Identity())
    for factor in [0.0] * 5 + [-0.0]:
        machine.fill(a, np.ones((4, 5)))
        scaled(a, factor, net)
    assert np.signbit(machine.host(a)).all()


def test_another_model_is_captured_anew(machine: Machine, heat: Heat) -> None:
    heat.call(5)
    heat.net = stencil.network(1)
    heat.there_net = machine.network(stencil.network(1))
    heat.call(graphs.WARM)
    assert (machine.captures, machine.replays) == (1, 2)
    heat.call(2)
    assert (machine.captures, machine.replays) == (2, 4)


def test_weights_that_change_are_seen(machine: Machine, heat: Heat) -> None:
    heat.call(5)
    for net in heat.net, heat.there_net:
        with torch.no_grad():
            net[0].weight.mul_(-2.0)
    heat.call(2)
    assert (machine.captures, machine.replays) == (1, 4)


def test_weights_that_move_are_seen(machine: Machine, heat: Heat) -> None:
    heat.call(5)
    kept = heat.there_net[0].weight.data
    for net in heat.net, heat.there_net:
        net[0].weight.data = 3 * net[0].weight.data
    heat.call(4)
    assert (machine.captures, machine.replays) == (2, 3)
    del kept


def test_a_model_of_a_file_stays_captured(machine: Machine, heat: Heat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPACML_TRUST_MODELS", "all")
    hpacml.save_model(heat.net, "net.pt", example=stencil.features(heat.t))
    heat.there_net = "net.pt"
    heat.call(6)
    assert (machine.captures, machine.replays) == (1, 3)
    heat.net = stencil.network(1)
    hpacml.save_model(heat.net, "net.pt", example=stencil.features(heat.t))
    heat.call(6)
    assert (machine.captures, machine.replays) == (2, 6)


def test_other_parts_of_a_model_are_captured_anew(machine: Machine, heat: Heat) -> None:
    heat.call(5)
    for net in heat.net, heat.there_net:
        net[1] = torch.nn.ReLU()
    heat.call(5)
    assert (machine.captures, machine.replays) == (2, 4)
    for net in heat.net, heat.there_net:
        net[0].register_forward_hook(lambda module, inputs, output: 2 * output)
    heat.call(5)
    assert (machine.captures, machine.replays) == (3, 6)


class Shifted(torch.nn.Module):
    """A network with a tensor that is neither a parameter nor a buffer."""

    def __init__(self, shift: torch.Tensor) -> None:
        super().__init__()
        self.shift = shift

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum(-1, keepdim=True) + self.shift


def test_tensors_that_are_plain_attributes_and_move_are_seen(machine: Machine, heat: Heat) -> None:
    def shift(to: float) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.tensor([to]), machine.network(torch.nn.ParameterList([torch.tensor([to])]))[0].detach()

    here, there = shift(1.0)
    heat.net, heat.there_net = Shifted(here), Shifted(there)
    heat.call(5)
    heat.net.shift, heat.there_net.shift = shift(2.0)
    heat.call(5)
    assert (machine.captures, machine.replays) == (2, 4)


class Keeping(torch.nn.Module):
    """A network that keeps what it has computed."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.last = x.sum(-1, keepdim=True)
        return 2 * self.last


def test_a_model_may_keep_tensors(machine: Machine, heat: Heat) -> None:
    heat.net, heat.there_net = Keeping(), Keeping()
    heat.call(8)
    assert machine.captures == 1
    if machine.real:  # the simulated device runs the model in replays, which then keeps other tensors
        assert machine.replays == 5


def test_models_in_turn_are_not_captured_each_time(machine: Machine, heat: Heat) -> None:
    nets = [(stencil.network(seed), machine.network(stencil.network(seed))) for seed in range(2)]
    for _ in range(20):
        for heat.net, heat.there_net in nets:
            heat.call()
    assert machine.captures == 1


def test_the_graph_used_longest_ago_goes_once_it_is_idle(
    machine: Machine, heat: Heat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "MOST", 2)
    monkeypatch.setattr(graphs, "IDLE", 20)
    used = []
    for captures in 1, 2, 2:
        heat.use(*stencil.grids())
        heat.call(5)
        used.append((heat.t, heat.new, heat.there))
        assert machine.captures == captures
    heat.t, heat.new, heat.there = used[1]
    heat.call()
    heat.t, heat.new, heat.there = used[2]
    heat.call(10)
    assert machine.captures == 3
    for (heat.t, heat.new, heat.there), captures in zip(reversed(used), (3, 3, 3), strict=True):
        before = machine.replays
        heat.call()
        assert machine.captures == captures
        assert machine.replays == before + (heat.there is not used[0][2])


def test_calls_of_too_many_kinds_in_turn_are_not_captured_each_time(
    machine: Machine, heat: Heat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "MOST", 2)
    kinds = []
    for _ in range(3):
        heat.use(*stencil.grids())
        kinds.append((heat.t, heat.new, heat.there))
    for _ in range(10):
        for heat.t, heat.new, heat.there in kinds:
            heat.call()
    assert (machine.captures, machine.replays) == (2, 2 * (10 - graphs.WARM))


def test_nothing_to_do_is_not_captured(machine: Machine) -> None:
    Heat(machine, shape=(2, 11)).call(6)
    assert machine.captures == 0


class Elsewhere(torch.nn.Module):
    """A network with its weights on another device than its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(1, device="meta"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros(*x.shape[:-1], 1)


def test_a_model_that_is_elsewhere_runs_each_time(machine: Machine, heat: Heat) -> None:
    heat.net = heat.there_net = Elsewhere()
    for _ in range(6):
        heat.region(*heat.there, *heat.t.shape, heat.there_net)
    assert machine.captures == 0
    assert not machine.host(heat.there[1])[1:-1, 1:-1].any()


def test_more_arrays_in_turn_than_graphs_are_kept(machine: Machine, heat: Heat) -> None:
    used = []
    for _ in range(graphs.MOST + 8):
        heat.use(*stencil.grids())
        used.append((heat.t, heat.new, heat.there))
    for _ in range(graphs.WARM + 3):
        for heat.t, heat.new, heat.there in used:
            heat.call()
    assert graphs.MOST <= machine.captures <= machine.replays
    assert len(heat.region._offload._graphs._graphs) <= graphs.MOST


def test_they_can_be_switched_off(machine: Machine, heat: Heat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPACML_CUDA_GRAPHS", "0")
    heat.call(6)
    assert (machine.captures, machine.replays, machine.launched) == (0, 0, 12)


def test_functions_of_python_run_each_time(machine: Machine, heat: Heat) -> None:
    net, calls = heat.there_net, []

    def counted(x: torch.Tensor) -> torch.Tensor:
        calls.append(x)
        return net(x)

    heat.there_net = counted
    heat.call(6)
    assert machine.captures == 0
    assert len(calls) == 6


def test_what_is_checked_runs_each_time(machine: Machine, heat: Heat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPACML_CHECK", "finite")
    heat.call(6)
    assert machine.captures == 0


def test_calls_that_collect_run_each_time(machine: Machine, heat: Heat) -> None:
    heat.region = stencil.region(lambda t, new: None)
    for _ in range(6):
        heat.region(*heat.there, 9, 11, heat.there_net, False)
    assert machine.captures == 0


def test_the_report_counts_replays(machine: Machine, heat: Heat) -> None:
    report = heat.measured(7)
    assert report.calls["infer"] == 7
    assert report.replayed == machine.replays == 4
    assert report.events["Graph Replay"].count == 4
    assert report.events["To Tensor"].count == 3
    assert report.gathered == 3 * 7 * 9 * 5 * 4
    assert report.scattered == 3 * 7 * 9 * 4
    assert report.fallbacks == 0
    assert all(event.total_ms >= 0 for event in report.events.values())


def test_a_report_of_calls_that_are_not_replayed(machine: Machine, heat: Heat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPACML_CUDA_GRAPHS", "0")
    report = heat.measured(7)
    assert (report.calls["infer"], report.replayed) == (7, 0)
    assert report.gathered == 7 * 7 * 9 * 5 * 4


def test_what_the_environment_may_say(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPACML_CUDA_GRAPHS", "off")
    heat, net = stencil.region(stencil.refuse), machine.network(stencil.network())
    with pytest.raises(hpacml.HpacmlError, match="HPACML_CUDA_GRAPHS is 'off': it is 0, for no graphs, or 1"):
        heat(*(machine.there(grid) for grid in stencil.grids()), 9, 11, net, True)
