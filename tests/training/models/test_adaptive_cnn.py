"""The network that is shipped."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional as F

from ser_stream.errors import ConfigError
from training.models import make_model
from training.models.cost import count_parameters, multiply_adds

SMALL = {
    "n_bands": 16,
    "n_filters": 4,
    "channels": [8, 8, 12, 12],
    "n_prosody_channels": [8, 8],
    "n_hidden": 16,
    "dropout": 0.0,
}


def conv_bn(n_in: int, n_out: int, area: int) -> int:
    return n_in * n_out * area + 2 * n_out


def test_its_size_is_that_of_the_formula():
    first = 2 * 12 * 2 * 27 + 2 * 24
    middle = sum(conv_bn(a, b, 9) for a, b in ((24, 32), (32, 48), (48, 80), (80, 96)))
    prosody = conv_bn(6, 32, 7) + conv_bn(32, 48, 5)
    join = conv_bn(96 * 6 + 48, 128, 3)
    head = 128 * 4 + 4 + (6 * 128 * 128 + 128 + 256) + (2 * 256 + 256) + (128 * 4 + 4)
    net = make_model("adaptive_cnn", {})
    assert count_parameters(net) == first + middle + prosody + join + head
    convs = 124 * 48 * 24 * 54 + 9 * (62 * 24 * 24 * 32 + 31 * 12 * 32 * 48)
    convs += 9 * 31 * 6 * (48 * 80 + 80 * 96) + 124 * 6 * 32 * 7 + 62 * 32 * 48 * 5
    joined = 31 * (624 * 128 * 3 + 2 * 128 * 4) + 6 * 128 * 128 + 2 * 256 + 128 * 4
    known = torch.zeros(1, 2)
    assert multiply_adds(net, torch.zeros(1, 124, 102), embedding=known) == convs + joined


@pytest.mark.parametrize("frames", [16, 17, 18, 19, 50])
def test_any_length_goes_through(frames):
    net = make_model("adaptive_cnn", SMALL).eval()
    logits = net(torch.randn(3, frames, 2 * 19), torch.zeros(3, 2))
    assert logits.shape == (3, 4)
    assert net.maps(torch.randn(3, frames, 2 * 19)).shape == (3, 16, frames // 4)


def test_the_attention_is_a_weighted_mean_beside_mean_and_deviation():
    net = make_model("adaptive_cnn", SMALL).eval()
    maps = torch.rand(2, 16, 7)
    pooled = net.pool(maps).unflatten(1, (6, 16))
    weights = torch.softmax(net.attention(maps), dim=2)
    want = torch.einsum("bht,bct->bhc", weights, maps)
    torch.testing.assert_close(pooled[:, :4], want)
    torch.testing.assert_close(pooled[:, 4], maps.mean(dim=2))
    torch.testing.assert_close(pooled[:, 5], maps.std(dim=2, correction=0))


def test_what_is_known_modulates_the_last_layer():
    net = make_model("adaptive_cnn", SMALL).eval()
    x = torch.randn(1, 20, 38).repeat(2, 1, 1)
    logits = net(x, torch.tensor([[0.0, 0.0], [0.5, 1.0]]))
    assert (logits[0] - logits[1]).abs().max() > 1e-4
    with torch.no_grad():
        net.modulate.weight.zero_()
        net.modulate.bias.zero_()
    hidden = net.hidden(net.pool(net.maps(x)))
    torch.testing.assert_close(net(x, torch.ones(2, 2)), net.classify(hidden))


def test_training_and_evaluation_compute_the_same():
    net = make_model("adaptive_cnn", SMALL)
    x, e = torch.randn(6, 20, 38), torch.randn(6, 2)
    want = net.eval()(x, e)
    net.train()
    for module in net.modules():
        if isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
            module.eval()
    torch.testing.assert_close(net(x, e), want)


def test_it_can_learn_twenty_windows_by_heart():
    torch.manual_seed(0)
    net = make_model("adaptive_cnn", SMALL)
    x, e, y = torch.randn(20, 20, 38), torch.randn(20, 2), torch.arange(20) % 4
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(net.train()(x, e), y).backward()
        optimizer.step()
    with torch.no_grad():
        assert (net.eval()(x, e).argmax(dim=1) == y).all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"n_bands": 20}, "multiple of 8"),
        ({"n_hidden": 0}, "positive sizes"),
        ({"channels": [8, 8]}, "channels: expected a list of length 4"),
        ({"n_classes": 1}, "two or more"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_what_cannot_work_is_told(params, told):
    with pytest.raises(ConfigError, match=told):
        make_model("adaptive_cnn", params)
