"""The meta phase: what it changes, that it learns, that adapting helps."""

import pytest
import torch
from torch import Tensor

from networks.meta import Task, adapt, initial_step_sizes, meta_losses, meta_optimizer, meta_step
from networks.mpn import Mpn
from tests.unit.networks.small import clips_for, small_network


@pytest.fixture
def network() -> Mpn:
    network = small_network("mpn")
    assert isinstance(network, Mpn)
    return network


def scene(network: Mpn, seed: int) -> Tensor:
    """Clips of one camera: its brightness is its own."""
    brightness = torch.rand(1, generator=torch.Generator().manual_seed(seed)).item()
    return clips_for(network, samples=4, seed=seed) * 0.05 + brightness - 0.5


def task(network: Mpn, seed: int) -> Task:
    clips = scene(network, seed)
    return Task(clips[:2], clips[2:])


def frozen(network: Mpn) -> dict[str, Tensor]:
    return {name: v.clone() for name, v in network.state_dict().items() if not name.startswith("tail.")}


def loss_on(network: Mpn, clips: Tensor) -> float:
    inputs, target = network.split(clips)
    with torch.no_grad():
        return network.losses(network(inputs), target).total.item()


def test_seven_tensors_adapt(network: Mpn) -> None:
    step_sizes = initial_step_sizes(network)
    assert len(step_sizes) == 7
    assert all(torch.equal(values, torch.full_like(values, 1e-6)) for values in step_sizes.values())


def test_one_meta_step_changes_the_tail_and_step_sizes_only(network: Mpn) -> None:
    before, tail = frozen(network), [values.clone() for values in network.tail.parameters()]
    step_sizes = initial_step_sizes(network, 0.01)
    losses = meta_step(network, step_sizes, [task(network, 1), task(network, 2)], meta_optimizer(network, step_sizes))
    assert torch.isfinite(losses.inner + losses.outer)
    assert all(torch.equal(before[name], values) for name, values in frozen(network).items())
    assert all(not torch.equal(a, b) for a, b in zip(tail, network.tail.parameters(), strict=True))
    assert all((values != 0.01).any() for values in step_sizes.values())


def test_the_step_is_on_the_mean_over_tasks(network: Mpn) -> None:
    step_sizes = initial_step_sizes(network, 0.01)
    tasks = [task(network, 1), task(network, 2)]
    wanted = torch.stack([meta_losses(network, step_sizes, each).outer for each in tasks]).mean()
    gradient = torch.autograd.grad(wanted, network.tail.unit.heads.weight)[0]
    losses = meta_step(network, step_sizes, tasks, torch.optim.SGD(network.tail.parameters(), lr=0.0))
    assert torch.isclose(losses.outer, wanted)
    assert network.tail.unit.heads.weight.grad is not None
    assert torch.allclose(network.tail.unit.heads.weight.grad, gradient, atol=1e-7)


def test_outer_gradients_go_through_the_inner_step() -> None:
    """Against finite differences in double precision, of a weight and of its step size."""
    network = small_network("mpn").double()
    assert isinstance(network, Mpn)
    step_sizes = initial_step_sizes(network, 0.1)
    clips = scene(network, 3).double()
    lesson = Task(clips[:2], clips[2:])
    meta_losses(network, step_sizes, lesson).outer.backward()
    name = "head.4.bias"
    for values in (dict(network.tail.named_parameters())[name], step_sizes[name]):
        assert values.grad is not None
        found, sides = values.grad[0].item(), []
        for change in (1e-5, -2e-5):
            values.data[0] += change
            sides.append(meta_losses(network, step_sizes, lesson).outer.item())
        values.data[0] += 1e-5
        assert found == pytest.approx((sides[0] - sides[1]) / 2e-5, rel=1e-4)


def test_the_meta_phase_learns_to_adapt(network: Mpn) -> None:
    step_sizes = initial_step_sizes(network, 0.01)
    optimizer = meta_optimizer(network, step_sizes, learning_rate=1e-2)
    outer = [meta_step(network, step_sizes, [task(network, n % 4)], optimizer).outer.item() for n in range(24)]
    assert sum(outer[-4:]) < 0.7 * sum(outer[:4])


def test_adapting_helps_at_the_camera_and_leaves_the_network_alone(network: Mpn) -> None:
    clips, before = scene(network, 5), {name: values.clone() for name, values in network.state_dict().items()}
    adapted = adapt(network, clips[:2], initial_step_sizes(network, 0.1), steps=5)
    assert loss_on(adapted, clips[2:]) < 0.9 * loss_on(network, clips[2:])
    assert all(torch.equal(before[name], values) for name, values in network.state_dict().items())
    assert all(torch.equal(a, b) for a, b in zip(frozen(network).values(), frozen(adapted).values(), strict=True))


def test_a_step_is_the_mean_of_the_gradients_of_single_clips(network: Mpn) -> None:
    clips = scene(network, 6)
    step_sizes = initial_step_sizes(network, 0.1)
    together = adapt(network, clips, step_sizes)
    alone = [adapt(network, clip, step_sizes) for clip in clips.split(1)]
    for name, values in together.tail.named_parameters():
        mean = torch.stack([dict(each.tail.named_parameters())[name] for each in alone]).mean(dim=0)
        assert torch.allclose(values, mean, atol=1e-6)


def test_no_steps_change_nothing(network: Mpn) -> None:
    same = adapt(network, scene(network, 7), initial_step_sizes(network), steps=0)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), same.parameters(), strict=True))


def test_loss_weights_reach_the_inner_step(network: Mpn) -> None:
    step_sizes, lesson = initial_step_sizes(network, 0.1), task(network, 8)
    usual = meta_losses(network, step_sizes, lesson)
    pixel_only = meta_losses(network, step_sizes, lesson, {"feature": 0.0, "distinct": 0.0})
    assert pixel_only.inner < usual.inner
