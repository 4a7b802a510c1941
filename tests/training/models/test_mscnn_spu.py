"""Paper 2: sound, words and both: equations, rows of its tables, padding, missing words, export."""

from __future__ import annotations

import logging
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_stream.errors import ConfigError

torch = pytest.importorskip("torch")

from torch.nn import functional as F

from training.models.cost import count_parameters, multiply_adds
from training.models.mscnn_spu import MscnnSpu, MscnnSpuConfig, attend, attention_weights

FRAMES, WORDS = 12, 7
N_FEATURES, N_TEXT, N_EMBEDDING = 6, 8, 5
SMALL = {"n_features": N_FEATURES, "n_text": N_TEXT, "n_filters": 8, "n_hidden": 32}
X = {"n_embedding": N_EMBEDDING}
BOTH = {"modality": "both"}
PLAIN = {**BOTH, "attention": False}

# The rows of Table 1 (those with an ASR transcript are the same networks) and of Table 2, where
# each row leaves out what the row above does and one part more.
ROWS = {
    "Audio-CNN": {},
    "Audio-CNN-xvector": X,
    "Text-CNN": {"modality": "text"},
    "MSCNN-SPU": {**PLAIN, **X},
    "MSCNN-SPU-ATT": {**BOTH, **X},
    "w/o X-vectors": PLAIN,
    "w/o Text-SPU": {**PLAIN, "text_pooling": "max"},
    "w/o Text-SWEM": {**PLAIN, "text_pooling": "max", "swem": False},
    "w/o Audio-SPU": {**PLAIN, "text_pooling": "max", "swem": False, "pooling": "max"},
}
# Each part left out on its own, next to the attention.
VARIANTS = {
    **ROWS,
    "ATT, w/o X-vectors": BOTH,
    "ATT, w/o Text-SPU": {**BOTH, "text_pooling": "max"},
    "ATT, w/o Text-SWEM": {**BOTH, "swem": False},
    "ATT, w/o Audio-SPU": {**BOTH, "pooling": "max"},
}
WITH_AUDIO = [k for k, v in VARIANTS.items() if v.get("modality") != "text"]
WITH_TEXT = [k for k, v in VARIANTS.items() if "modality" in v]


def build(**params):
    torch.manual_seed(0)
    return MscnnSpu(MscnnSpuConfig(**{**SMALL, **params}))


def make(key):
    return build(**VARIANTS[key]).eval()


def example(batch, seed=1):
    torch.manual_seed(seed)
    return {
        "features": torch.randn(batch, FRAMES, N_FEATURES),
        "embedding": torch.randn(batch, N_EMBEDDING),
        "tokens": torch.randn(batch, WORDS, N_TEXT),
    }


def same(a, b, atol=1e-6):
    torch.testing.assert_close(a, b, rtol=0, atol=atol)


def padding_of(lengths, n_steps):
    return (torch.arange(n_steps) >= lengths.unsqueeze(1)).unsqueeze(2)


# Configurations


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"modality": "video"}, "modality = 'video'; choose from audio, text, both"),
        ({"pooling": "mean"}, "pooling = 'mean'; choose from spu, max"),
        ({"text_pooling": "std"}, "text_pooling = 'std'; choose from spu, max"),
        ({"scales": ()}, "scales"),
        ({"scales": (3, 0)}, "scales"),
        ({"n_text": 0}, "n_text=0"),
        ({"n_filters": 0}, "n_filters=0"),
        ({"n_embedding": -1}, "n_embedding=-1"),
        ({"n_classes": 1}, "n_classes = 1"),
        ({"dropout": 1.0}, "dropout = 1.0"),
        ({"modality_dropout": -0.1}, "modality_dropout = -0.1"),
        ({"modality_dropout": 1.0}, "modality_dropout = 1.0"),
    ],
)
def test_what_cannot_work_is_told(params, told):
    with pytest.raises(ConfigError, match=told):
        MscnnSpuConfig(**params)


@pytest.mark.parametrize(
    ("key", "missing"),
    [
        ("Audio-CNN", "features"),
        ("Audio-CNN-xvector", "embedding"),
        ("Text-CNN", "tokens"),
        ("MSCNN-SPU-ATT", "features"),
        ("MSCNN-SPU-ATT", "embedding"),
        ("MSCNN-SPU-ATT", "tokens"),
    ],
)
def test_a_missing_input_is_told(key, missing):
    inputs = example(2)
    inputs.pop(missing)
    with pytest.raises(ValueError, match=f"pass `{missing}`"):
        make(key)(**inputs)


@pytest.mark.parametrize("params", [BOTH, {**PLAIN, "n_embedding": 512}])
def test_sizes_are_those_of_the_formulas(params):
    config = MscnnSpuConfig(**params)
    convs = 128 * (96 * 12 + 3) + 128 * (300 * 12 + 3)
    words = 1152 + 600 + (1152 if config.attention else 0)
    pooled = 1152 + config.n_embedding + words
    want = convs + words + (pooled * 256 + 256) + (256 * 4 + 4)
    assert count_parameters(MscnnSpu(config)) == want


# Equations


@pytest.mark.parametrize(
    ("modality", "idle"),
    [
        ("audio", {"n_text": 3, "text_pooling": "max", "swem": False, "attention": False}),
        ("audio", {"modality_dropout": 0.9}),
        ("text", {"n_features": 3, "pooling": "max", "attention": False, **X}),
        ("text", {"modality_dropout": 0.9}),
    ],
)
def test_what_belongs_to_an_absent_branch_counts_for_nothing(modality, idle):
    inputs = example(3) | {"text_lengths": torch.tensor([3, 0, WORDS])}
    plain, other = (
        build(modality=modality, dropout=0.0),
        build(modality=modality, dropout=0.0, **idle),
    )
    with torch.no_grad():
        assert torch.equal(plain.train()(**inputs), other.train()(**inputs))


@pytest.mark.parametrize("key", ["Audio-CNN", "Audio-CNN-xvector"])
def test_sound_alone_has_the_weights_of_the_sound_and_no_others(key):
    assert {name.split(".")[0] for name in make(key).state_dict()} == {
        "audio",
        "reduce",
        "classify",
    }


def tiny(**params):
    """A network whose feature maps are its inputs, with the negative ones cut off."""
    sizes = {"n_features": 2, "n_text": 2, "n_filters": 2, "scales": (1,)}
    net = build(**BOTH, **sizes, **params).eval()
    with torch.no_grad():
        for branch in (net.audio, net.text):
            branch.convs[0].weight.copy_(torch.eye(2).unsqueeze(2))
            branch.convs[0].bias.zero_()
    return net


def test_two_frames_and_two_words_by_hand():
    inputs = {
        "features": torch.tensor([[[1.0, 0.0], [3.0, 2.0], [9.0, 9.0]]]),
        "lengths": torch.tensor([2]),
        "embedding": torch.tensor([[7.0]]),
        "tokens": torch.tensor([[[1.0, -1.0], [0.0, 3.0], [9.0, 9.0]]]),
        "text_lengths": torch.tensor([2]),
    }
    audio = [3.0, 2.0, 2.0, 1.0, 1.0, 1.0]
    # The maps of the words are (1, 0) and (0, 3).
    words = [1.0, 3.0, 0.5, 1.5, 0.5, 1.5]
    swem = [1.0, 3.0, 0.5, 1.0]
    # Scores: 3 and 6 by the maximum (3, 2), 2 and 3 by the mean (2, 1), 1 and 3 by the deviation.
    second = [1.0 / (1.0 + math.exp(-gap)) for gap in (3.0, 1.0, 2.0)]
    attended = [v for w in second for v in (1.0 - w, 3.0 * w)]
    with torch.no_grad():
        net = tiny(n_embedding=1)
        same(net.pool(**inputs), torch.tensor([[*audio, 7.0, *words, *swem, *attended]]))
        net = tiny(pooling="max")
        want = torch.tensor([[3.0, 2.0, *words, *swem, *attended[:2]]])
        same(net.pool(**inputs), want)
        net = tiny(text_pooling="max", swem=False, attention=False)
        same(net.pool(**inputs), torch.tensor([[*audio, 1.0, 3.0]]))


def test_attention_is_equations_4_and_5_word_by_word():
    torch.manual_seed(0)
    contexts, maps = torch.randn(3, 3, 16), torch.randn(3, 16, WORDS)
    lengths = [WORDS, 1, 4]
    valid = torch.arange(WORDS) < torch.tensor(lengths).unsqueeze(1)
    attended, weights = attend(contexts, maps, valid), attention_weights(contexts, maps, valid)
    for b, n in enumerate(lengths):
        for g in range(3):
            s = np.exp([float(contexts[b, g] @ maps[b, :, k]) for k in range(n)])
            s /= s.sum()
            np.testing.assert_allclose(weights[b, g, :n].numpy(), s, rtol=1e-4, atol=1e-6)
            want = sum(s[k] * maps[b, :, k].numpy() for k in range(n))
            np.testing.assert_allclose(attended[b, g].numpy(), want, rtol=1e-4, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=5),
    scale=st.sampled_from([0.0, 1.0, 1e3, 1e6]),
    seed=st.integers(0, 99),
)
def test_weights_sum_to_one_over_valid_words_and_are_zero_elsewhere(lengths, scale, seed):
    torch.manual_seed(seed)
    n = torch.tensor(lengths)
    contexts, maps = scale * torch.randn(len(n), 3, 16), torch.randn(len(n), 16, 9)
    weights = attention_weights(contexts, maps, torch.arange(9) < n.unsqueeze(1))
    assert weights.shape == (len(n), 3, 9)
    assert (weights >= 0).all()
    same(weights.sum(dim=2), (n > 0).float().unsqueeze(1).expand(-1, 3))
    assert (weights[padding_of(n, 9).transpose(1, 2).expand_as(weights)] == 0).all()


def test_attention_stays_in_full_precision_where_the_rest_does_not():
    torch.manual_seed(0)
    contexts, maps = 3.0 * torch.rand(2, 3, 384), torch.rand(2, 384, WORDS)
    valid = torch.ones(2, WORDS, dtype=torch.bool)
    want = attend(contexts, maps, valid)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (contexts @ maps).dtype == torch.bfloat16
        assert torch.equal(attend(contexts, maps, valid), want)


def test_multiply_adds_are_counted_by_hand():
    inputs = example(2)
    channels = 3 * 8
    convs = FRAMES * N_FEATURES * 8 * 12 + WORDS * N_TEXT * 8 * 12
    pooled = 3 * channels + N_EMBEDDING + 3 * channels + 2 * N_TEXT + 3 * channels
    attention = 2 * 3 * channels * WORDS
    net = make("MSCNN-SPU-ATT")
    assert multiply_adds(net, inputs.pop("features"), **inputs) == (
        convs + attention + pooled * 32 + 32 * 4
    )


# Padding


@pytest.mark.parametrize("key", WITH_TEXT)
def test_padding_words_changes_nothing(key):
    net, inputs = make(key), example(4)
    n = torch.tensor([WORDS, 1, 4, WORDS - 1])
    tokens = inputs.pop("tokens")
    padding = padding_of(n, WORDS)
    with torch.no_grad():
        alone = torch.cat(
            [
                net(**{k: v[i : i + 1] for k, v in inputs.items()}, tokens=tokens[i : i + 1, :k])
                for i, k in enumerate(n.tolist())
            ]
        )
        for garbage in (0.0, 1e6, -1e6, math.nan):
            noisy = tokens.masked_fill(padding, garbage)
            same(net(**inputs, tokens=noisy, text_lengths=n), alone)
            for more in (1, 25):
                longer = F.pad(noisy, (0, 0, 0, more), value=garbage)
                same(net(**inputs, tokens=longer, text_lengths=n), alone)
        full = torch.full((4,), WORDS)
        same(net(**inputs, tokens=tokens, text_lengths=full), net(**inputs, tokens=tokens))
        assert not torch.allclose(net(**inputs, tokens=tokens), alone, atol=1e-3)


@pytest.mark.parametrize("key", WITH_AUDIO)
def test_padding_frames_changes_nothing(key):
    net, inputs = make(key), example(4)
    n = torch.tensor([FRAMES, 1, 5, FRAMES - 1])
    x = inputs.pop("features")
    with torch.no_grad():
        alone = torch.cat(
            [
                net(x[i : i + 1, :k], **{name: v[i : i + 1] for name, v in inputs.items()})
                for i, k in enumerate(n.tolist())
            ]
        )
        for garbage in (0.0, 1e6, -1e6):
            noisy = x.masked_fill(padding_of(n, FRAMES), garbage)
            same(net(noisy, n, **inputs), alone)
            same(net(F.pad(noisy, (0, 0, 0, 30), value=garbage), n, **inputs), alone)
        assert not torch.allclose(net(x, **inputs), alone, atol=1e-3)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_batch_and_single_agree_whatever_the_lengths(data):
    net = make("MSCNN-SPU-ATT")
    with torch.no_grad():
        net.no_text.normal_()
    batch = data.draw(st.integers(1, 5))
    inputs = example(batch, data.draw(st.integers(0, 99)))
    size = {"min_size": batch, "max_size": batch}
    n = torch.tensor(data.draw(st.lists(st.integers(1, FRAMES), **size)))
    m = torch.tensor(data.draw(st.lists(st.integers(0, WORDS), **size)))
    garbage = data.draw(st.sampled_from([0.0, 1e6, -1e6]))
    inputs["features"].masked_fill_(padding_of(n, FRAMES), garbage)
    inputs["tokens"].masked_fill_(padding_of(m, WORDS), garbage)
    inputs |= {"lengths": n, "text_lengths": m}
    with torch.no_grad():
        together = net(**inputs)
        for i in range(batch):
            one = {k: v[i : i + 1] for k, v in inputs.items()}
            one["features"] = one["features"][:, : n[i]]
            one["tokens"] = one["tokens"][:, : max(1, int(m[i]))]
            same(together[i : i + 1], net(**one))


@pytest.mark.parametrize("key", WITH_TEXT)
def test_no_gradient_flows_into_padding(key):
    net = make(key)
    n, m = torch.tensor([FRAMES, 1, 5, 3]), torch.tensor([WORDS, 0, 1, 4])
    gradients = []
    for garbage in (0.0, 1e6):
        inputs = example(4)
        x = inputs["features"].masked_fill(padding_of(n, FRAMES), garbage).requires_grad_()
        t = inputs["tokens"].masked_fill(padding_of(m, WORDS), garbage).requires_grad_()
        net.zero_grad()
        logits = net(x, n, inputs["embedding"], t, m)
        F.cross_entropy(logits, torch.tensor([0, 1, 2, 3])).backward()
        for leaf, lengths in ((x, n), (t, m)):
            if leaf is x and net.config.modality == "text":
                continue
            padding = padding_of(lengths, leaf.shape[1]).squeeze(2)
            assert (leaf.grad[padding] == 0).all()
            for i in range(4):
                assert lengths[i] == 0 or (leaf.grad[i] != 0).any()
        gradients.append([p.grad.clone() for p in net.parameters()])
        assert all(g.isfinite().all() for g in gradients[-1])
    for one, two in zip(*gradients, strict=True):
        same(one, two)


# No words


@pytest.mark.parametrize("key", WITH_TEXT)
def test_an_utterance_without_words_gets_the_stand_in(key):
    net, inputs = make(key), example(3)
    with torch.no_grad():
        assert (net.no_text == 0).all()
        net.no_text.normal_()
        some = torch.tensor([3, 0, WORDS])
        pooled = net.pool(**inputs, text_lengths=some)
        part = pooled[:, -len(net.no_text) :]
        assert torch.equal(part[1], net.no_text)
        for i in (0, 2):
            assert not torch.isclose(part[i], net.no_text).any()
        # The sound is heard as it is with words.
        assert torch.equal(pooled[:, : -len(net.no_text)], net.pool(**inputs)[:, : -len(part[1])])
        # Whatever lies in the padding, and however many steps of it there are.
        nothing = torch.zeros(3, dtype=torch.long)
        want = net(**inputs, text_lengths=nothing)
        inputs["tokens"] = torch.full((3, 1, N_TEXT), 1e6)
        same(net(**inputs, text_lengths=nothing), want)
        assert want.isfinite().all()


def test_attention_over_no_words_is_zero_forward_and_backward():
    contexts = torch.randn(2, 3, 4, requires_grad=True)
    maps = torch.randn(2, 4, 5, requires_grad=True)
    valid = torch.zeros(2, 5, dtype=torch.bool)
    with torch.autograd.set_detect_anomaly(True):  # no NaN on the way either
        out = attend(contexts, maps, valid)
        assert (out == 0).all()
        out.sum().backward()
    assert contexts.grad is not None
    assert maps.grad is not None
    assert (contexts.grad == 0).all()
    assert (maps.grad == 0).all()


def test_only_utterances_without_words_train_the_stand_in():
    net, inputs = make("MSCNN-SPU-ATT"), example(3)
    y = torch.tensor([0, 1, 2])
    for lengths, moved in (([2, 7, 1], False), ([2, 0, 1], True)):
        net.zero_grad()
        F.cross_entropy(net(**inputs, text_lengths=torch.tensor(lengths)), y).backward()
        assert bool((net.no_text.grad != 0).any()) is moved


def test_modality_dropout_takes_words_away_in_training_only():
    net, inputs = build(**BOTH, modality_dropout=0.25), example(1)
    inputs = {k: v.expand(2000, *v.shape[1:]) for k, v in inputs.items()}
    torch.manual_seed(0)
    with torch.no_grad():
        net.no_text.fill_(-7.0)
        part = net.train().pool(**inputs)[:, -len(net.no_text) :]
        lost = (part == -7.0).all(dim=1)
        assert 0.21 < lost.float().mean() < 0.29
        kept = net.eval().pool(**inputs)[:, -len(net.no_text) :]
        assert not (kept == -7.0).any()
        same(part[~lost], kept[~lost])
    never = build(**BOTH)
    with torch.no_grad():
        assert torch.equal(never.train().pool(**inputs), never.eval().pool(**inputs))


def test_with_modality_dropout_it_learns_from_sound_where_words_are_missing():
    def learnt(modality_dropout):
        net = build(**BOTH, modality_dropout=modality_dropout, dropout=0.0)
        inputs, y = example(16), torch.arange(16) % 4
        inputs["tokens"][:, 0, :4] += 4.0 * F.one_hot(y, 4)  # words alone tell the class
        optimizer = torch.optim.Adam(net.parameters(), 1e-2)
        for _ in range(60):
            optimizer.zero_grad()
            F.cross_entropy(net(**inputs), y).backward()
            optimizer.step()
        with torch.no_grad():
            net.eval()
            nothing = torch.zeros(16, dtype=torch.long)
            assert (net(**inputs).argmax(dim=1) == y).all()
            return float(F.cross_entropy(net(**inputs, text_lengths=nothing), y))

    assert learnt(0.5) < 0.1 < learnt(0.0)


# Learning and export


@pytest.mark.parametrize("key", ROWS)
def test_it_can_learn_twenty_utterances_by_heart(key):
    net, inputs = build(**ROWS[key]), example(20)
    y, n = torch.arange(20) % 4, torch.arange(20) % WORDS + 1
    n[0] = 0
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    correct = []
    for step in range(1, 301):
        net.train()
        optimizer.zero_grad()
        F.cross_entropy(net(**inputs, text_lengths=n), y).backward()
        optimizer.step()
        if step % 20 == 0:
            net.eval()
            with torch.no_grad():
                logits = net(**inputs, text_lengths=n)
            assert logits.shape == (20, 4)
            correct.append(int((logits.argmax(dim=1) == y).sum()))
            if correct[-1] == 20:
                break
    assert correct[-1] == 20, correct
    for name, p in net.named_parameters():
        assert p.grad is not None, name
        assert p.grad.isfinite().all(), name


def onnx_session(net, inputs, dynamic):
    pytest.importorskip("onnxscript")
    import onnxruntime

    batch = torch.export.Dim("batch", min=1, max=4096)
    shapes = {name: {0: batch} for name in inputs}
    if dynamic:
        shapes["features"][1] = torch.export.Dim("frames", min=16, max=65536)
        shapes["tokens"][1] = torch.export.Dim("words", min=1, max=4096)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        program = torch.onnx.export(
            net,
            kwargs=inputs,
            dynamo=True,
            verbose=False,
            opset_version=18,
            input_names=list(inputs),
            output_names=["logits"],
            dynamic_shapes=shapes,
        )
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    assert [i.name for i in session.get_inputs()] == list(inputs)
    return session


def spoken(batch, frames, words, config, seed=0):
    torch.manual_seed(seed)
    inputs = {"features": torch.randn(batch, frames, config.n_features)}
    if config.n_embedding:
        inputs["embedding"] = torch.randn(batch, config.n_embedding)
    inputs["tokens"] = 0.4 * torch.randn(batch, words, config.n_text)
    inputs["text_lengths"] = torch.tensor([words // 2, 0, words])[:batch]
    return inputs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("params", "dynamic"),
    [
        (BOTH, False),
        ({**SMALL, **BOTH, **X, "text_pooling": "max", "pooling": "max", "swem": False}, True),
        ({**SMALL, "modality": "text"}, False),
    ],
    ids=["the paper's size", "any length", "text"],
)
def test_onnx_runtime_agrees_on_windows_of_two_seconds(params, dynamic):
    torch.manual_seed(0)
    net = MscnnSpu(MscnnSpuConfig(**params)).eval()
    torch.nn.init.normal_(net.no_text)
    session = onnx_session(net, spoken(2, 198, 32, net.config), dynamic)
    sizes = [(198, 32), (211, 1), (90, 40)] if dynamic else [(198, 32)]
    for frames, words in sizes:
        for batch in (1, 3):
            for seed in (1, 2):
                inputs = spoken(batch, frames, words, net.config, seed)
                with torch.no_grad():
                    want = net(**inputs).numpy()
                (got,) = session.run(None, {k: v.numpy() for k, v in inputs.items()})
                assert got.shape == (batch, 4)
                np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)
