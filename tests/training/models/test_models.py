"""The networks of the five papers: equations, masks, sizes, learning and export."""

from __future__ import annotations

import logging
import math
import warnings

import numpy as np
import pytest

from ser_stream.errors import ConfigError

torch = pytest.importorskip("torch")

from torch.nn import functional as F

from training.models import MODELS, make_model
from training.models.attention_pooling import AttentionPool, BilinearPool
from training.models.context_attention import BiLstm
from training.models.cost import count_parameters, multiply_adds
from training.models.ilt_cat import positional_encoding
from training.models.mscnn_spu import MultiScaleConv, statistical_pooling

MSCNN = {"n_features": 6, "n_filters": 16, "n_hidden": 32}
CONTEXT = {"n_features": 6, "n_hidden": 32, "n_lstm": 16, "n_attention": 32}
ILT = {"n_features": 10, "channels": [8, 16], "n_feedforward": 32}
SPECTROGRAM = (20, 24)

# Every row of the papers' tables in a small size: name, parameters, (frames, width).
VARIANTS = {
    "head_fusion": ("head_fusion", {"n_head": 2, "n_size": 16}, (20, 13)),
    "head_fusion-1-layer": ("head_fusion", {"n_layers": 1, "n_size": 16}, (20, 13)),
    "head_fusion-2-layers": ("head_fusion", {"n_layers": 2, "n_size": 16}, (20, 13)),
    "head_fusion-3-no-attention": ("head_fusion", {"n_layers": 3, "attention": False}, (20, 13)),
    "mscnn-spu": ("mscnn_spu", MSCNN, (12, 6)),
    "mscnn-max": ("mscnn_spu", {**MSCNN, "pooling": "max"}, (12, 6)),
    "pool-attention": ("attention_pooling", {}, SPECTROGRAM),
    "pool-bilinear": ("attention_pooling", {"pooling": "bilinear"}, SPECTROGRAM),
    "pool-gap": ("attention_pooling", {"pooling": "gap"}, SPECTROGRAM),
    "pool-shape-study": (
        "attention_pooling",
        {"pooling": "gap", "n_layers": 0, "shapes": [[2, 5]], "channels_per_shape": 16},
        SPECTROGRAM,
    ),
    **{
        name: ("ilt_cat", {**ILT, "architecture": name}, (16, 10))
        for name in ("cnn-transformer", "cnn-lstm-transformer", "lstm-transformer", "cnn+lstm")
    },
    **{
        f"ilt-{fusion}": ("ilt_cat", {**ILT, "fusion": fusion}, (16, 10))
        for fusion in ("concat", "plus", "trainable")
    },
    "ilt-pe": ("ilt_cat", {**ILT, "positional_encoding": True}, (16, 10)),
    **{
        f"cat-{direction}": (
            "ilt_cat",
            {**ILT, "architecture": "cat", "direction": direction},
            (16, 10),
        )
        for direction in ("both", "cnn-to-lstm", "lstm-to-cnn")
    },
    **{
        f"context-{pooling}": ("context_attention", {**CONTEXT, "pooling": pooling}, (12, 6))
        for pooling in ("mean", "zhou", "yang", "bilstm")
    },
}
MASKED = [key for key in VARIANTS if key.startswith(("mscnn", "context"))]


def make(key):
    name, params, shape = VARIANTS[key]
    torch.manual_seed(0)
    return make_model(name, params), shape


def close(a, b, atol=1e-5):
    torch.testing.assert_close(a, b, rtol=1e-4, atol=atol)


def settle(net, shape):
    """Give batch normalisation statistics of its own."""
    net.train()
    with torch.no_grad():
        for _ in range(3):
            net(2.0 * torch.randn(8, *shape) + 0.5)
    return net.eval()


# Configurations


def test_every_paper_has_a_network_of_four_classes_and_so_has_the_product():
    assert MODELS.keys() >= {
        "head_fusion",
        "mscnn_spu",
        "attention_pooling",
        "ilt_cat",
        "context_attention",
        "adaptive_cnn",
    }
    for name in MODELS:
        assert make_model(name, {}).config.n_classes == 4
        assert make_model(name, {"n_classes": 7}).config.n_classes == 7


def test_lists_become_tuples_at_any_depth():
    net = make_model("attention_pooling", {"shapes": [[3, 2], (2, 4)]})
    assert net.config.shapes == ((3, 2), (2, 4))
    assert make_model("mscnn_spu", {"scales": [2, 7]}).config.scales == (2, 7)
    hash(net.config)


@pytest.mark.parametrize("name", MODELS)
def test_an_unknown_parameter_is_told_with_the_known_ones(name):
    with pytest.raises(ConfigError, match=rf"{name}: unknown 'n_clases'; known: n_classes"):
        make_model(name, {"n_clases": 4})


@pytest.mark.parametrize(
    ("name", "params", "told"),
    [
        ("head_fusion", {"n_layers": 5}, "n_layers = 5"),
        ("head_fusion", {"n_layers": 0}, "n_layers = 0"),
        ("head_fusion", {"n_head": 0}, "n_head = 0"),
        ("head_fusion", {"dropout": 1.0}, "dropout = 1.0"),
        ("mscnn_spu", {"pooling": "mean"}, "'mean'; choose from spu, max"),
        ("mscnn_spu", {"scales": []}, "scales"),
        ("mscnn_spu", {"n_embedding": -1}, "n_embedding=-1"),
        ("attention_pooling", {"pooling": "max"}, "'max'; choose from"),
        ("attention_pooling", {"shapes": [[10]]}, "shapes"),
        ("attention_pooling", {"n_layers": 5}, "n_layers = 5"),
        ("ilt_cat", {"architecture": "lstm"}, "'lstm'; choose from"),
        ("ilt_cat", {"fusion": "sum"}, "'sum'; choose from concat"),
        ("ilt_cat", {"direction": "up"}, "'up'; choose from both"),
        ("ilt_cat", {"n_head": 5}, "n_head = 5"),
        ("ilt_cat", {"n_features": 13}, "16 bands"),
        ("ilt_cat", {"alpha": 1.5}, "alpha = 1.5"),
        ("context_attention", {"pooling": "max"}, "'max'; choose from mean"),
        ("context_attention", {"n_attention": 33}, "even"),
        *((name, {"n_classes": 1}, "n_classes = 1") for name in MODELS),
    ],
)
def test_what_cannot_work_is_told(name, params, told):
    with pytest.raises(ConfigError, match=told):
        make_model(name, params)


# Paper 1


def test_one_head_is_plain_self_attention():
    torch.manual_seed(0)
    net = make_model("head_fusion", {"n_head": 1, "n_size": 24}).eval()
    x = torch.randn(3, 30, 80)
    with torch.no_grad():
        plain = torch.softmax(net.key(x) @ net.query(x).mT, dim=-1) @ net.value(x)
        close(net.fuse(x), plain.mean(dim=1))


def test_attention_of_head_fusion_sums_to_one():
    torch.manual_seed(0)
    net = make_model("head_fusion", {"n_size": 8}).eval()
    x = torch.randn(2, 12, 80)
    x[:, :, 0] = 1.0
    with torch.no_grad():
        net.value.weight.zero_()
        net.value.bias.zero_()
        net.value.weight[:, 0] = 1.0  # V is 1 at every position
        close(net.fuse(x), torch.ones(2, 8))


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("n_layers", [1, 2, 3, 4])
def test_head_fusion_of_any_depth_has_its_layers_and_folds(n_layers, attention):
    torch.manual_seed(n_layers)
    params = {"n_layers": n_layers, "attention": attention, "n_head": 3, "n_size": 16}
    net = settle(make_model("head_fusion", params), (31, 13))
    width = (32, 48, 64, 80)[n_layers - 1]
    names = {name.split(".")[0] for name in net.state_dict()}
    assert {n for n in names if n.startswith("conv")} == {
        "conv1a",
        "conv1b",
        *(f"conv{i}" for i in range(2, 2 + n_layers)),
    }
    rows, columns = (6, 15) if n_layers == 1 else (3, 7)
    x = torch.randn(2, 31, 13)
    with torch.no_grad():
        assert net.positions(x).shape == (2, rows * columns, width)
        close(net.for_inference()(x), net(x))


def test_the_keys_of_older_checkpoints_stay():
    keys = list(make_model("head_fusion", {}).state_dict())
    bn = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    expected = ["conv1a.weight", "conv1b.weight", *(f"bn1.{k}" for k in bn)]
    for i in (2, 3, 4, 5):
        expected += [f"conv{i}.weight", *(f"bn{i}.{k}" for k in bn)]
    for layer in ("key", "query", "value", "classify"):
        expected += [f"{layer}.weight", f"{layer}.bias"]
    assert keys == expected


# Paper 2


def test_multi_scale_convolution_is_equation_2_at_every_step():
    torch.manual_seed(0)
    block = MultiScaleConv(5, 3, (3, 4, 5))
    x = torch.randn(2, 9, 5)
    with torch.no_grad():
        y = block(x)
        assert y.shape == (2, 9, 9)
        for k, s in enumerate((3, 4, 5)):
            weight, bias = block.convs[k].weight, block.convs[k].bias  # (3, 5, s)
            for t in range(9):
                total = bias.repeat(2, 1)
                for j in range(s):
                    at = t + j - (s - 1) // 2
                    if 0 <= at < 9:
                        total = total + x[:, at] @ weight[:, :, j].T
                close(y[:, 3 * k : 3 * k + 3, t], F.relu(total))


def test_statistical_pooling_is_numpy_s():
    rng = np.random.default_rng(0)
    x = rng.normal(3.0, 2.0, (4, 7, 20)).astype(np.float32)
    lengths = [20, 1, 5, 13]
    valid = torch.arange(20) < torch.tensor(lengths).unsqueeze(1)
    whole = statistical_pooling(torch.from_numpy(x)).numpy()
    part = statistical_pooling(torch.from_numpy(x), valid).numpy()
    for i, n in enumerate(lengths):
        for pooled, y in ((whole[i], x[i]), (part[i], x[i, :, :n])):
            np.testing.assert_allclose(pooled[0], y.max(axis=1), rtol=1e-6)
            np.testing.assert_allclose(pooled[1], y.mean(axis=1), rtol=1e-5)
            np.testing.assert_allclose(pooled[2], y.std(axis=1), rtol=1e-5, atol=2e-5)
    only = statistical_pooling(torch.from_numpy(x), valid, ("std", "max"))
    np.testing.assert_array_equal(only.numpy(), part[:, [2, 0]])


def test_standard_deviation_of_a_constant_has_a_finite_gradient():
    x = torch.full((1, 2, 8), 3.0)
    x[0, 1] += torch.arange(8.0)
    x.requires_grad_()
    statistical_pooling(x, statistics=("std",)).sum().backward()
    assert x.grad is not None
    assert (x.grad[0, 0] == 0).all()
    assert x.grad.isfinite().all()
    assert (x.grad[0, 1] != 0).all()


def test_an_utterance_embedding_is_appended():
    torch.manual_seed(0)
    net = make_model("mscnn_spu", {**MSCNN, "n_embedding": 5}).eval()
    x, e = torch.randn(3, 12, 6), torch.randn(3, 5)
    assert net.reduce.in_features == 3 * 3 * 16 + 5
    with torch.no_grad():
        assert not torch.allclose(net(x, embedding=e), net(x, embedding=e + 1.0))
        both = torch.cat([net.pool_audio(x).flatten(1), e], dim=1)
        close(net(x, embedding=e), net.classify(F.relu(net.reduce(both))))
    with pytest.raises(ValueError, match="embedding"):
        net(x)


# Paper 3


def test_rank_one_second_order_pooling_is_equation_10():
    torch.manual_seed(0)
    x = torch.randn(42, 10, dtype=torch.float64)  # (HW, C)
    a, b = torch.randn(2, 10, 1, dtype=torch.float64)
    w = a @ b.T
    full = torch.trace(x.T @ x @ w.T)  # (4)
    torch.testing.assert_close(full, ((x @ a) * (x @ b)).sum())  # (10)


def test_attention_pooling_is_equation_10_with_a_softmax_over_positions():
    torch.manual_seed(0)
    pool = AttentionPool(10, 4)
    maps = torch.randn(3, 10, 5, 7)
    with torch.no_grad():
        for i in range(3):
            x = maps[i].flatten(1).T  # (HW, C)
            b = torch.softmax(x @ pool.bottom_up.weight[0, :, 0, 0], dim=0)
            for k in range(4):
                a = x @ pool.top_down.weight[k, :, 0, 0] + pool.top_down.bias[k]
                close(pool(maps)[i, k], (a * b).sum())
        close(pool.weights(maps).sum(dim=2), torch.ones(3, 1))


def test_bilinear_pooling_is_the_normalised_second_moment():
    torch.manual_seed(0)
    pool = BilinearPool(6, 4)
    maps = torch.randn(2, 6, 4, 5)
    with torch.no_grad():
        for i in range(2):
            x = maps[i].flatten(1).T
            y = (x.T @ x).flatten()
            y = y.sign() * y.abs().sqrt()
            close(pool(maps)[i], pool.classify(y / y.norm()), atol=1e-4)
    dead = torch.zeros(1, 6, 4, 5, requires_grad=True)
    pool(dead).sum().backward()
    assert dead.grad is not None
    assert dead.grad.isfinite().all()


@pytest.mark.parametrize("pooling", ["gap", "bilinear", "attention"])
@pytest.mark.parametrize("shapes", [[[10, 2], [2, 8]], [[3, 1], [1, 4], [5, 5]]])
def test_the_folded_attention_pooling_is_the_same(pooling, shapes):
    torch.manual_seed(0)
    params = {"pooling": pooling, "shapes": shapes, "channels_per_shape": 4}
    net = settle(make_model("attention_pooling", params), (21, 26))
    x = torch.randn(2, 21, 26)
    with torch.no_grad():
        assert net.maps(x).shape == (2, 80, 6, 5)
        close(net.for_inference()(x), net(x), atol=1e-4 if pooling == "bilinear" else 1e-5)


def test_the_filter_shape_study_is_one_layer_and_a_linear_map():
    params = {"pooling": "gap", "n_layers": 0, "shapes": [[4, 2]], "channels_per_shape": 16}
    torch.manual_seed(0)
    net = make_model("attention_pooling", params).eval()
    x = torch.randn(2, 9, 11)
    image = F.pad(x.transpose(1, 2).unsqueeze(1), (0, 1, 1, 2))
    with torch.no_grad():
        first = F.relu(net.bn1(F.conv2d(image, net.conv1[0].weight)))
        assert first.shape == (2, 16, 11, 9)
        close(net(x), net.pool.classify(first.mean(dim=(2, 3))))


# Paper 4


@pytest.mark.parametrize(("length", "d"), [(1, 4), (12, 128), (500, 16)])
def test_positional_encoding_is_the_formula(length, d):
    expected = np.zeros((length, d))
    for pos in range(length):
        for i in range(d // 2):
            expected[pos, 2 * i] = math.sin(pos / 10000 ** (2 * i / d))
            expected[pos, 2 * i + 1] = math.cos(pos / 10000 ** (2 * i / d))
    np.testing.assert_allclose(positional_encoding(length, d).numpy(), expected, atol=1e-4)


def test_two_seconds_are_twelve_positions():
    net = make_model("ilt_cat", {"architecture": "cat"}).eval()
    x = torch.randn(1, 198, 40)
    with torch.no_grad():
        assert net.cnn(x).shape == (1, 12, 128)
        assert net.lstm(x).shape == (1, 49, 128)


def test_ilt_fuses_as_equations_12_to_16():
    a, b = torch.randn(2, 3, 16)
    plus, _ = make("ilt-plus")
    close(plus.fuse(a, b), (a + b) / 2)
    concat, _ = make("ilt-concat")
    close(concat.fuse(a, b), torch.cat([a, b], dim=1))
    trainable, _ = make("ilt-trainable")
    close(trainable.fuse(a, b), (a + b) / 2)  # before it is trained
    with torch.no_grad():
        trainable.fusion_logits.copy_(torch.tensor([0.9, 0.9 - math.log(0.65 / 0.35)]).flip(0))
        weights = trainable.fusion_weights()
        close(weights.sum(), torch.tensor(1.0))
        close(weights, torch.tensor([0.35, 0.65]))
        close(trainable.fuse(a, b), 0.35 * a + 0.65 * b)


def test_attention_of_the_transformer_and_of_the_lstm_sums_to_one():
    net, _ = make("ilt-trainable")
    x, memory = torch.randn(3, 5, 16), torch.randn(3, 9, 16)
    with torch.no_grad():
        weights = net.transformer.attention.weights(x, memory)
        assert weights.shape == (3, 4, 5, 9)
        close(weights.sum(dim=3), torch.ones(3, 4, 5))
        beta = net.aggregate.weights(memory)
        close(beta.sum(dim=1), torch.ones(3, 1))
        close(net.aggregate(memory), torch.einsum("btk,btd->bd", beta, memory))


def test_multi_head_attention_is_pytorch_s():
    net, _ = make("cnn-transformer")
    ours = net.transformer.attention
    theirs = torch.nn.MultiheadAttention(16, 4, batch_first=True).eval()
    with torch.no_grad():
        parts = (ours.query, ours.key, ours.value)
        theirs.in_proj_weight.copy_(torch.cat([p.weight for p in parts]))
        theirs.in_proj_bias.copy_(torch.cat([p.bias for p in parts]))
        theirs.out_proj.load_state_dict(ours.out.state_dict())
        q, m = torch.randn(2, 5, 16), torch.randn(2, 7, 16)
        close(ours(q, m), theirs(q, m, m)[0])


def test_cat_is_the_sum_of_its_two_directions():
    both, shape = make("cat-both")
    settle(both, shape)
    x = torch.randn(3, *shape)
    parts = []
    for key in ("cat-cnn-to-lstm", "cat-lstm-to-cnn"):
        one, _ = make(key)
        mine = one.state_dict()
        one.load_state_dict({k: v for k, v in both.state_dict().items() if k in mine})
        parts.append(one.eval())
    with torch.no_grad():
        one, two = (net.pool(x) for net in parts)
        close(both.pool(x), one + two)
        assert not torch.allclose(one, two, atol=1e-2)
        # The queries come from the first, keys and values from the second.
        close(one, both.cnn_to_lstm(both.cnn(x), both.lstm(x)))
        close(two, both.lstm_to_cnn(both.lstm(x), both.cnn(x)))


@pytest.mark.parametrize("architecture", ["cnn-transformer", "lstm-transformer", "cat"])
def test_positional_encoding_makes_a_difference(architecture):
    x = torch.randn(2, 16, 10)
    logits = []
    for on in (False, True):
        torch.manual_seed(0)
        params = {**ILT, "architecture": architecture, "positional_encoding": on}
        with torch.no_grad():
            logits.append(make_model("ilt_cat", params).eval()(x))
    assert not torch.allclose(*logits, atol=1e-3)


def test_a_transformer_without_positional_encoding_does_not_see_the_order():
    net, _ = make("cnn-transformer")
    net.eval()
    x = torch.randn(2, 9, 16)
    with torch.no_grad():
        close(net.transformer(x, x), net.transformer(x.flip(1), x.flip(1)))
        net.transformer.positional_encoding = True
        y = net.transformer(x, x)
        assert not torch.allclose(y, net.transformer(x.flip(1), x.flip(1)), atol=1e-3)


# Paper 5


def test_poolings_of_context_attention_are_their_equations():
    torch.manual_seed(0)
    h = torch.randn(3, 9, 32)
    with torch.no_grad():
        pools = {k: make(f"context-{k}")[0].pool for k in ("mean", "zhou", "yang", "bilstm")}
        close(pools["mean"](h, None, None), h.mean(dim=1))
        m = h @ pools["zhou"].w.weight[0]  # (1)
        alpha = m.exp() / m.exp().sum(dim=1, keepdim=True)
        close(pools["zhou"](h, None, None), torch.einsum("bt,btc->bc", alpha, h))
        yang = pools["yang"]
        alpha = torch.softmax(torch.tanh(yang.fc(h)) @ yang.w.weight[0], dim=1)
        close(yang(h, None, None), torch.einsum("bt,btc->bc", alpha, h))
        proposal = pools["bilstm"]
        alpha = torch.sigmoid(proposal.bilstm.lstm(h)[0] @ proposal.w.weight[0])
        close(proposal(h, None, None), torch.einsum("bt,btc->bc", alpha, h) / 9)


@pytest.mark.parametrize("pooling", ["mean", "zhou", "yang"])
@pytest.mark.parametrize("lengths", [None, [12, 1, 7]])
def test_attention_over_frames_sums_to_one(pooling, lengths):
    net, _ = make(f"context-{pooling}")
    h = torch.randn(3, 12, 32)
    n = None if lengths is None else torch.tensor(lengths)
    valid = None if n is None else torch.arange(12) < n.unsqueeze(1)
    with torch.no_grad():
        weights = net.pool.weights(h, n, valid)
    assert weights.shape == (3, 12, 1)
    close(weights.sum(dim=1), torch.ones(3, 1))
    if valid is not None:
        assert (weights.squeeze(2)[~valid] == 0).all()


def test_the_bilstm_is_equations_5_to_9_in_both_directions():
    torch.manual_seed(0)
    block = BiLstm(3, 4)
    x = torch.randn(2, 6, 3)
    halves = []
    with torch.no_grad():
        for weights, steps in zip(
            block.lstm.all_weights, (range(6), range(5, -1, -1)), strict=True
        ):
            w, u, b, d = weights
            h, c = torch.zeros(2, 2, 4)
            out = [h] * 6
            for t in steps:
                i, f, g, o = (x[:, t] @ w.T + h @ u.T + b + d).split(4, dim=1)
                c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
                h = torch.sigmoid(o) * torch.tanh(c)
                out[t] = h
            halves.append(torch.stack(out, dim=1))
        close(block(x), torch.cat(halves, dim=2))


# Padding


@pytest.mark.parametrize("key", MASKED)
def test_padding_changes_nothing(key):
    net, (frames, width) = make(key)
    net.eval()
    lengths = torch.tensor([frames, 1, 5, frames - 1])
    torch.manual_seed(1)
    x = torch.randn(4, frames, width)
    padding = torch.arange(frames) >= lengths.unsqueeze(1)
    noisy = torch.where(padding.unsqueeze(2), 100.0 * torch.randn_like(x), x)
    with torch.no_grad():
        alone = torch.cat([net(x[i : i + 1, :n]) for i, n in enumerate(lengths)])
        torch.testing.assert_close(net(noisy, lengths), alone, rtol=0, atol=1e-6)
        longer = F.pad(noisy, (0, 0, 0, 9), value=-50.0)
        torch.testing.assert_close(net(longer, lengths), alone, rtol=0, atol=1e-6)
        full = torch.full((4,), frames)
        torch.testing.assert_close(net(x, full), net(x), rtol=0, atol=1e-6)
        assert not torch.allclose(net(noisy), alone, atol=1e-3)


@pytest.mark.parametrize("key", MASKED)
def test_no_gradient_flows_into_padding(key):
    net, (frames, width) = make(key)
    net.eval()
    lengths = torch.tensor([frames, 1, 5])
    padding = torch.arange(frames) >= lengths.unsqueeze(1)
    gradients = []
    for scale in (0.0, 100.0):
        torch.manual_seed(1)
        x = torch.randn(3, frames, width)
        x = torch.where(padding.unsqueeze(2), scale * torch.ones_like(x), x).requires_grad_()
        net.zero_grad()
        F.cross_entropy(net(x, lengths), torch.tensor([0, 1, 2])).backward()
        assert x.grad is not None
        assert (x.grad[padding] == 0).all()
        assert (x.grad[~padding].abs().sum(dim=1) > 0).any()
        gradients.append([p.grad.clone() for p in net.parameters() if p.grad is not None])
        assert all(g.isfinite().all() for g in gradients[-1])
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-6)


# Cost


def bilstm_size(n_in, n):
    return 2 * 4 * n * (n_in + n + 2)


def conv_size(channels):
    return sum(
        9 * a * b + 2 * b for a, b in zip((16, *channels[:-1]), channels, strict=True)
    )  # batch normalisation instead of a bias


FIRST = 8 * 20 + 8 * 16 + 2 * 16
FOUR = conv_size((32, 48, 64, 80))
ENCODER = 4 * (128 * 128 + 128) + 2 * (2 * 128) + (128 * 256 + 256) + (256 * 128 + 128)
CNN = 9 * (1 * 16 + 16 * 32 + 32 * 64 + 64 * 128) + 2 * (16 + 32 + 64 + 128)
STRIDED = 40 * 64 * 8 + 64 + bilstm_size(64, 64)
BODY = 32 * 256 + 256 + 2 * (256 * 256 + 256) + bilstm_size(256, 128)


@pytest.mark.parametrize(
    ("name", "params", "size"),
    [
        ("head_fusion", {}, FIRST + FOUR + 3 * (80 * 256 + 256) + 64 * 4 + 4),
        ("head_fusion", {"attention": False}, FIRST + FOUR + 80 * 4 + 4),
        (
            "head_fusion",
            {"n_layers": 2, "n_head": 1, "n_size": 16},
            FIRST + conv_size((32, 48)) + 3 * (48 * 16 + 16) + 16 * 4 + 4,
        ),
        ("mscnn_spu", {}, 128 * (96 * 12 + 3) + 1152 * 256 + 256 + 256 * 4 + 4),
        (
            "mscnn_spu",
            {"pooling": "max", "n_embedding": 512},
            128 * (96 * 12 + 3) + (384 + 512) * 256 + 256 + 256 * 4 + 4,
        ),
        ("attention_pooling", {}, FIRST + FOUR + 80 * 4 + 4 + 80),
        ("attention_pooling", {"pooling": "bilinear"}, FIRST + FOUR + 6400 * 4 + 4),
        ("attention_pooling", {"pooling": "gap"}, FIRST + FOUR + 80 * 4 + 4),
        ("ilt_cat", {}, CNN + bilstm_size(128, 64) + ENCODER + 128 + 2 + 128 * 4 + 4),
        (
            "ilt_cat",
            {"fusion": "concat"},
            CNN + bilstm_size(128, 64) + ENCODER + 128 + 256 * 4 + 4,
        ),
        ("ilt_cat", {"architecture": "cat"}, CNN + STRIDED + 2 * ENCODER + 128 * 4 + 4),
        ("ilt_cat", {"architecture": "cnn+lstm"}, CNN + STRIDED + 128 * 4 + 4),
        ("context_attention", {"pooling": "mean"}, BODY + 256 * 4 + 4),
        ("context_attention", {"pooling": "zhou"}, BODY + 256 + 256 * 4 + 4),
        ("context_attention", {"pooling": "yang"}, BODY + 256 * 256 + 512 + 256 * 4 + 4),
        ("context_attention", {}, BODY + bilstm_size(256, 128) + 256 + 256 * 4 + 4),
    ],
)
def test_sizes_are_those_of_the_formulas(name, params, size):
    assert count_parameters(make_model(name, params)) == size


def test_multiply_adds_are_counted_by_hand():
    context = make_model("context_attention", {})
    lstm = 2 * 4 * 128 * (256 + 128)
    frame = 32 * 256 + 2 * 256 * 256 + 2 * lstm + 256
    for batch in (1, 3):
        assert multiply_adds(context, torch.zeros(batch, 20, 32)) == 20 * frame + 256 * 4
    assert context.training
    # Five frames of ten: the dense layers run over all, the packed LSTMs over the valid ones.
    part = multiply_adds(context, (torch.zeros(2, 10, 32), torch.tensor([10, 5])))
    assert part == 10 * (frame - 2 * lstm) + (15 * 2 * lstm) // 2 + 256 * 4

    mscnn = make_model("mscnn_spu", {})
    assert multiply_adds(mscnn, torch.zeros(2, 50, 96)) == (
        50 * 96 * 128 * 12 + 1152 * 256 + 256 * 4
    )

    # Attention: the projections, Q K^T, A V and the output, then the feed-forward layer.
    transformer = make_model("ilt_cat", {"architecture": "cnn-transformer"}).transformer
    x = torch.zeros(1, 12, 128)
    attention = 4 * 12 * 128 * 128 + 2 * 12 * 12 * 128
    assert multiply_adds(transformer, (x, x)) == attention + 2 * 12 * 128 * 256


def test_the_cost_of_a_spectrogram_network_is_that_of_its_convolutions():
    net = make_model("attention_pooling", {})
    bins, frames = 40, 20
    full = bins * frames
    convs = 8 * 36 + 9 * (16 * 32) + 9 * (32 * 48) / 4 + 9 * (48 * 64 + 64 * 80) / 16
    assert multiply_adds(net, torch.zeros(1, frames, bins)) == full * convs + full / 16 * 80 * 5


# Learning and export


@pytest.mark.parametrize("key", VARIANTS)
def test_it_can_learn_twenty_windows_by_heart(key):
    net, shape = make(key)
    torch.manual_seed(1)
    x, y = torch.randn(20, *shape), torch.arange(20) % 4
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    correct = []
    for step in range(1, 301):
        net.train()
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
        if step % 20 == 0:
            net.eval()
            with torch.no_grad():
                correct.append(int((net(x).argmax(dim=1) == y).sum()))
            if correct[-1] == 20:
                break
    assert correct[-1] == 20, correct
    for name, p in net.named_parameters():
        assert p.grad is not None, name
        assert p.grad.isfinite().all(), name


# Their graphs are parts of others.
PARTS = {"cat-cnn-to-lstm", "cat-lstm-to-cnn", "ilt-plus"}


@pytest.mark.slow
@pytest.mark.parametrize("key", [key for key in VARIANTS if key not in PARTS])
def test_onnx_runtime_agrees_at_any_batch_and_length(key):
    pytest.importorskip("onnxscript")
    import onnxruntime

    net, (frames, width) = make(key)
    settle(net, (frames, width))
    fold = getattr(net, "for_inference", lambda: net)().eval()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        program = torch.onnx.export(
            fold,
            (torch.zeros(2, frames, width),),
            dynamo=True,
            verbose=False,
            opset_version=18,
            input_names=["features"],
            output_names=["logits"],
            dynamic_shapes=(
                {
                    0: torch.export.Dim("batch", min=1, max=4096),
                    1: torch.export.Dim("frames", min=8, max=4096),
                },
            ),
        )
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    assert [d if isinstance(d, str) else None for d in session.get_inputs()[0].shape] == [
        "batch",
        "frames",
        None,
    ]
    for batch in (1, 3):
        for length in (frames, frames + 7):
            x = torch.randn(batch, length, width)
            with torch.no_grad():
                expected = net(x).numpy()
            (logits,) = session.run(None, {"features": x.numpy()})
            np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)
