"""Checks of e08: who is copied, who is trained, on which images, and what may be said of the result."""

# ruff: noqa: PT018  (one assertion, one message, one thing that is wrong)

import contextlib
import math
from types import SimpleNamespace

import numpy as np
import pytest

from minigen import Tensor, grad
from minigen.nn import BatchNorm, Dense, Dropout, Module, Sequential

SIDE, D, K = 4, 16, 3


def numbers(value):
    return np.array(value.detach().numpy() if isinstance(value, Tensor) else value, np.float64)


def shape_of(value):
    return tuple(getattr(value, "shape", ()))


def near(a, b, rtol=1e-4):
    a, b = numbers(a), numbers(b)
    return a.shape == b.shape and np.allclose(a, b, rtol=rtol, atol=rtol * (1e-6 + np.abs(b).max(initial=0)))


@contextlib.contextmanager
def told(what, cause):
    """An exception of the learner's code is told with its likely cause"""
    try:
        yield
    except (AssertionError, NotImplementedError):
        raise
    except Exception as error:
        says = f"{what} raised {type(error).__name__} ({str(error)[:160]}): {cause}"
        raise AssertionError(says).with_traceback(error.__traceback__) from None


def images(rng, n):
    return rng.random((n, SIDE, SIDE), dtype=np.float32)


def pretrained(lesson, rng):
    """An autoencoder with random weights and biases, none of them zero"""
    model = lesson.Autoencoder(lesson.Config(pixels=D, hidden=(8,), code=K), rng=rng)
    for p in model.parameters():
        p.data = rng.normal(0, 0.5, p.shape).astype(np.float32)
    return model


def classifier(lesson, rng):
    """A small classifier whose head is not zero, or no gradient would reach the encoder"""
    return with_head(lesson.blank(lesson.Config(pixels=D, hidden=(8,), code=K), rng), rng)


def with_head(model, rng):
    for p in model.head.parameters():
        p.data = rng.normal(0, 0.5, p.shape).astype(np.float32)
    return model


def bytes_of(module):
    return {name: array.tobytes() for name, array in module.state_dict().items()}


def blobs(lesson, rng, n=60):
    """Images of three kinds that are easy to tell apart: a bright row for each label"""
    labels = rng.permutation(np.arange(n) % 3)
    x = 0.1 * images(rng, n)
    x[np.arange(n), labels] += 0.8
    return lesson.Labelled(x, labels)


# hold_out


@pytest.mark.hole("hold_out", kind="invariant")
def test_hold_out_cuts_in_two(lesson, rng):
    for n, size in ((50, 10), (7, 1), (9, 0), (30, 29)):
        rest, held = lesson.hold_out(n, size, rng)
        rest, held = np.asarray(rest), np.asarray(held)
        assert held.shape == (size,) and rest.shape == (n - size,), (
            f"hold_out({n}, {size}) gives {rest.shape} and {held.shape}; expected ({n - size},) others first, then "
            f"({size},) held out"
        )
        assert rest.dtype.kind in "iu" or rest.size == 0, f"places are integers; found {rest.dtype}"
        both = np.intersect1d(rest, held)
        assert not both.size, (
            f"{both.size} images are in both parts: an image that is trained on can judge nothing, cut ONE permutation"
        )
        assert np.array_equal(np.sort(np.concatenate([rest, held])), np.arange(n)), (
            f"together the two parts are not 0 ... {n - 1}, each once"
        )


@pytest.mark.hole("hold_out", kind="step")
def test_hold_out_is_drawn(lesson, rng):
    seed = int(rng.integers(2**31))
    one, same, other = (lesson.hold_out(200, 50, np.random.default_rng(s)) for s in (seed, seed, seed + 1))
    assert np.array_equal(one[1], same[1]) and np.array_equal(one[0], same[0]), (
        "the same seed holds out other images: draw from the rng that was given, and from nothing else"
    )
    assert set(one[1].tolist()) != set(other[1].tolist()), (
        "another seed holds out the same images (the first or the last ones, or an rng of your own): data sets are "
        "often sorted, draw them at random"
    )


# label_subset


@pytest.mark.hole("label_subset", kind="invariant")
def test_subset_is_balanced(lesson, rng):
    labels = rng.permutation(np.repeat(np.arange(10), rng.integers(12, 80, 10)))
    for n in (10, 30, 120):
        with told(f"label_subset of {n}", "rng.choice of n / K places among those of each class"):
            places = np.asarray(lesson.label_subset(labels, n, rng))
        assert places.shape == (n,), f"label_subset for n = {n} gives shape {places.shape}; expected ({n},)"
        assert places.dtype.kind in "iu", f"label_subset gives {places.dtype}: places of images, not labels"
        assert places.min() >= 0 and places.max() < len(labels), (
            "label_subset gives places outside the labels"
        )
        assert len(np.unique(places)) == n, (
            f"of {n} places only {len(np.unique(places))} are different: an image counts once (replace=False)"
        )
        counts = np.bincount(labels[places], minlength=10)
        assert (counts == n // 10).all(), (
            f"the classes appear {counts.tolist()} times; expected {n // 10} of each: the subset is not balanced"
        )
    three = np.repeat([2, 5, 9], 20)  # other labels than 0 ... K - 1
    with told("label_subset of labels 2, 5, 9", "the classes are those that occur: np.unique(labels)"):
        counts = np.bincount(three[np.asarray(lesson.label_subset(three, 6, rng))], minlength=10)
    assert counts[[2, 5, 9]].tolist() == [2, 2, 2], (
        "with the classes 2, 5 and 9 alone, six labels are two of each: the classes are np.unique(labels)"
    )


@pytest.mark.hole("label_subset", kind="step")
def test_subset_is_drawn(lesson, rng):
    labels = np.repeat(np.arange(10), 40)
    seed = int(rng.integers(2**31))
    one, same, other = (
        lesson.label_subset(labels, 50, np.random.default_rng(s)) for s in (seed, seed, seed + 1)
    )
    assert np.array_equal(one, same), (
        "the same seed gives other labels: draw from the rng that was given; else no two methods can share their labels"
    )
    assert set(one.tolist()) != set(other.tolist()), (
        "another seed gives the same images: several seeds would measure the same labels again"
    )
    assert (np.diff(labels[one]) != 0).sum() > 9, (
        "the places come class by class: shuffle them, or batches cut in order hold one digit only"
    )
    first = [sorted(np.asarray(lesson.label_subset(labels, 10, rng)).tolist())[0] for _ in range(60)]
    assert len(set(first)) > 10, (
        "some places are hardly ever drawn: every image of a class has the same chance"
    )


# Classifier.__call__


@pytest.mark.hole("Classifier.__call__", kind="shape")
def test_logits_shape(lesson, rng):
    model = classifier(lesson, rng)
    for n in (1, 5):
        x = images(rng, n)
        for one in (x, x.reshape(n, D), Tensor(x)):
            with told(f"the classifier of images {one.shape}", "the encoder takes rows: flatten(x)"):
                z = model(one)
            assert shape_of(z) == (n, 10), (
                f"{n} images give logits of shape {shape_of(z)}; expected ({n}, 10)"
            )


@pytest.mark.hole("Classifier.__call__", kind="value")
def test_logits(lesson, rng):
    model, x, codes = classifier(lesson, rng), images(rng, 5), np.ones(1)
    while codes.min() > -0.5:  # codes below zero: a ReLU too many shows
        for p in model.parameters():
            p.data = rng.normal(0, 0.7, p.shape).astype(np.float32)
        codes = numbers(model.encoder(x.reshape(5, D)))
    z = model(x)
    wanted = numbers(model.head(model.encoder(x.reshape(5, D))))
    soft = np.exp(wanted - wanted.max(1, keepdims=True))
    likely = {
        "a softmax was applied: the loss takes logits and has a softmax of its own": soft / soft.sum(1, keepdims=True),
        "the logarithm of the softmax was taken: the loss does that": np.log(soft / soft.sum(1, keepdims=True)),
        "a ReLU cuts the logits: a class may have a negative one": np.maximum(wanted, 0),
        "the code went through a ReLU on its way to the head":
            numbers(model.head(Tensor(np.maximum(numbers(model.encoder(x.reshape(5, D))), 0).astype(np.float32)))),
        "the pixels are read column by column":
            numbers(model.head(model.encoder(x.transpose(0, 2, 1).reshape(5, D)))),
    }  # fmt: skip
    if not near(z, wanted):
        pytest.fail(
            next((s for s, v in likely.items() if near(z, v)), "the logits are not head(encoder(rows))")
        )


@pytest.mark.hole("Classifier.__call__", kind="gradient")
def test_gradient_reaches_the_encoder(lesson, rng):
    model, x = classifier(lesson, rng), images(rng, 5)
    z = model(x)
    assert isinstance(z, Tensor) and z.requires_grad, (
        "the logits are cut off from the graph: no gradient can flow"
    )
    up = rng.normal(size=z.shape).astype(np.float32)
    found = grad((z * up).sum(), model.parameters(), allow_unused=True)
    right = grad((model.head(model.encoder(x.reshape(5, D))) * up).sum(), model.parameters())
    for (name, _), g, r in zip(model.named_parameters(), found, right, strict=True):
        assert g is not None, (
            f"no gradient reaches {name}: the encoder is to be trained too, unless it is frozen from outside (no "
            "detach, no no_grad here)"
        )
        assert near(g, r, 1e-3), f"the gradient of {name} is wrong"


# Classifier.train and freeze


class Normalised(Module):
    """An encoder whose behaviour differs between training and use"""

    def __init__(self, rng):
        self.parts = Sequential(Dense(D, K, rng=rng), BatchNorm(K), Dropout(0.5, rng=rng))

    def __call__(self, x):
        return self.parts(x)


@pytest.mark.hole("Classifier.train", kind="invariant")
def test_frozen_encoder_stays_in_use(lesson, rng):
    for frozen in (False, True):
        model = lesson.Classifier(Normalised(rng), K, rng=rng)
        model.frozen = frozen
        for mode in (True, False, True):
            back = model.train(mode)
            assert back is model, "train() gives the classifier itself: return self"
            assert model.training is mode and model.head.training is mode, (
                f"after train({mode}) the classifier or its head is in the wrong mode: super().train(mode)"
            )
            found = {part.training for part in model.encoder.modules()}
            if frozen:
                assert found == {False}, (
                    "train() put the FROZEN encoder, or parts of it, in training mode: its batch normalisation would "
                    "follow the new batches; eval() it after super().train(mode)"
                )
            else:
                assert found == {mode}, (
                    f"after train({mode}) the encoder, which is not frozen, is in mode {found}: only a frozen one stays"
                )
        model.eval()
        assert not any(part.training for part in model.modules()), (
            "eval() must still work: it calls train(False)"
        )
    model = lesson.Classifier(Normalised(rng), K, rng=rng)
    model.train()
    assert model.training is True, "train() without arguments means train(True)"


@pytest.mark.hole("freeze", kind="invariant")
def test_freeze(lesson, rng):
    encoder = Normalised(rng)
    names, before = list(encoder.state_dict()), bytes_of(encoder)
    tensors = encoder.parameters()
    lesson.freeze(encoder)
    left = [name for name, _ in encoder.named_parameters()]
    assert not left, f"after freeze, {left} still require gradients: requires_grad = False for each parameter"
    assert list(encoder.state_dict()) == names, (
        "freeze changed what is in state_dict: the tensors stay where they are"
    )
    assert bytes_of(encoder) == before, "freeze changed values: it only says that they stay"
    assert not any(p.requires_grad for p in tensors), (
        "the parameters were replaced by others: set requires_grad of the ones there are"
    )
    awake = [type(part).__name__ for part in encoder.modules() if part.training]
    assert not awake, (
        f"after freeze, {awake} are in training mode: batch normalisation would still change; eval()"
    )
    x = images(rng, 4).reshape(4, D)
    assert not getattr(encoder(x), "requires_grad", False), "a frozen encoder records a graph"
    second = Normalised(rng)
    lesson.freeze(second)
    assert not second.parameters() and not any(part.training for part in second.modules()), (
        "a second encoder was not frozen: freeze does its work at every call, whatever it has frozen before"
    )


# transfer


@pytest.mark.hole("transfer", kind="value")
def test_transfer_is_equal_to_the_byte(lesson, rng):
    source, target = pretrained(lesson, rng), classifier(lesson, rng)
    head, decoder, wanted = bytes_of(target.head), bytes_of(source.decoder), bytes_of(source.encoder)
    old = bytes_of(target.encoder)
    with told("transfer", "the two encoders have the same names and shapes: state_dict, load_state_dict"):
        lesson.transfer(source, target)
    found = bytes_of(target.encoder)
    assert bytes_of(source.encoder) == wanted, (
        "the autoencoder's encoder was changed: its weights go INTO the classifier, not the other way"
    )
    differ = [name for name in wanted if found.get(name) != wanted[name]]
    assert found != old, "nothing was transferred: the classifier's encoder is as before"
    assert not differ, (
        f"{differ} were not transferred: expected every weight and bias, equal to the last byte"
    )
    assert bytes_of(target.head) == head, "the head was changed: only the encoder is transferred"
    assert bytes_of(source.decoder) == decoder, "the decoder was changed: it is used for nothing here"
    assert all(p.requires_grad for p in target.encoder.parameters()) and len(target.parameters()) == 6, (
        "after transfer parameters are missing: they are to be trained; freezing is another matter"
    )
    x = images(rng, 6)
    assert near(target.encoder(x.reshape(6, D)), source.encode(x), 1e-6), (
        "the classifier's encoder gives other codes"
    )


@pytest.mark.hole("transfer", kind="invariant")
def test_transfer_copies(lesson, rng):
    source, target = pretrained(lesson, rng), classifier(lesson, rng)
    lesson.transfer(source, target)
    before = bytes_of(source)
    shared = {id(p) for p in source.parameters()} & {id(p) for p in target.parameters()}
    assert not shared and target.encoder is not source.encoder, (
        "the classifier SHARES its weights with the autoencoder: training it would spoil the autoencoder for the next "
        "seed; copy the values"
    )
    for p in target.parameters():
        p.data[...] = 7.0  # in place: a shared buffer would show
    assert bytes_of(source) == before, (
        "changing the classifier's weights in place changes the autoencoder's: the arrays are shared, copy them"
    )
    other = classifier(lesson, rng)
    lesson.transfer(source, other)
    assert bytes_of(other.encoder) == bytes_of(source.encoder), "a second transfer gives other values"


@pytest.mark.hole("transfer", kind="gradient")
def test_no_gradient_reaches_the_decoder(lesson, rng):
    source, target = pretrained(lesson, rng), classifier(lesson, rng)
    lesson.transfer(source, target)
    loss = (target(images(rng, 5)) ** 2).sum()
    for name, part in (("decoder", source.decoder), ("autoencoder's own encoder", source.encoder)):
        reached = [
            g for g in grad(loss, part.parameters(), allow_unused=True, retain_graph=True) if g is not None
        ]
        assert not reached, f"the classifier's loss reaches the {name}: it must be no part of the classifier"
    found = grad(loss, target.parameters(), allow_unused=True)
    assert all(g is not None for g in found), "the classifier's loss does not reach all of its own parameters"


# start


@pytest.mark.hole("start", kind="value")
def test_three_starts(lesson, rng):
    source, seed = pretrained(lesson, rng), int(rng.integers(2**31))
    before = bytes_of(source)
    made = {kind: lesson.start(kind, source, np.random.default_rng(seed)) for kind in lesson.KINDS}
    own = bytes_of(lesson.blank(source.config, np.random.default_rng(seed)))
    for kind, model in made.items():
        assert isinstance(model, lesson.Classifier), (
            f"start({kind!r}) gives {type(model).__name__}; expected a Classifier"
        )
        same = bytes_of(model.encoder) == bytes_of(source.encoder)
        if kind == "random":
            assert not same, (
                "the control starts with the autoencoder's weights: random means nothing is transferred"
            )
            assert bytes_of(model) == own, "random: expected the classifier as blank(config, rng) makes it"
        else:
            assert same, f"{kind}: the encoder is not the autoencoder's"
        frozen = not model.encoder.parameters()
        assert frozen == (kind == "frozen"), (
            f"{kind}: the encoder {'is frozen' if frozen else 'can be trained'}; expected it "
            f"{'frozen' if kind == 'frozen' else 'to be trained'}"
        )
        assert model.frozen is (kind == "frozen"), (
            f"{kind}: classifier.frozen is {model.frozen}: train() needs to know"
        )
        assert len(model.head.parameters()) == 2, f"{kind}: the head must be trained"
        assert {n: b for n, b in bytes_of(model).items() if n.startswith("head")} == {
            n: b for n, b in own.items() if n.startswith("head")
        }, f"{kind}: for the same seed the head must start as that of the other kinds, or luck is compared"
    assert bytes_of(source) == before and len(source.parameters()) == 8, (
        "start changed the autoencoder (froze it?): freeze the classifier's encoder, a copy"
    )


@pytest.mark.hole("start", kind="invariant")
def test_strange_kinds_are_refused(lesson, rng):
    for kind in ("finetuned", "", "Frozen"):
        try:
            lesson.start(kind, pretrained(lesson, rng), rng)
        except (ValueError, NotImplementedError) as error:
            if isinstance(error, NotImplementedError):
                raise
            continue
        except Exception as error:
            pytest.fail(f"start({kind!r}) raised {type(error).__name__}; expected ValueError")
        pytest.fail(f"start({kind!r}) gave a classifier: a kind that is misspelt must be refused, ValueError")


# fine_tune


def watched(lesson, rng):
    """A linear classifier that remembers what it was shown, and in which mode it was"""

    class Watched(lesson.Classifier):
        def __init__(self):
            super().__init__(Dense(D, K, rng=rng), K, rng=rng)
            self.seen, self.modes = [], []

        def __call__(self, x):
            self.seen.append(np.asarray(x))
            self.modes.append(self.training)
            return super().__call__(x)

    return Watched()


@pytest.mark.hole("fine_tune", kind="step")
def test_batches_and_modes(lesson, rng):
    n = 12
    data = lesson.Labelled(images(rng, n), np.arange(n) % 10)
    model = watched(lesson, rng)
    model.eval()
    lesson.fine_tune(model, data, lesson.Recipe(lr=1e-3, steps=40, batch_size=5), rng)
    assert len(model.seen) == 40, f"40 steps made {len(model.seen)} passes; expected one batch for each step"
    assert all(model.modes), "the classifier was not in training mode during the steps: train() first"
    assert not model.training, "the classifier is left in training mode: eval() at the end"
    sizes = {len(x) for x in model.seen}
    assert sizes == {5}, f"batches have {sorted(sizes)} images; expected batch_size = 5"
    rows = [[int(np.flatnonzero((data.images == one).all((1, 2)))[0]) for one in x] for x in model.seen]
    assert all(len(set(one)) == 5 for one in rows), (
        "an image is twice in one batch: batch_size DIFFERENT images"
    )
    assert len({tuple(sorted(one)) for one in rows}) > 10, "the batches repeat: draw new ones for each step"
    assert len({i for one in rows for i in one}) == n, "some of the labelled images are never used"
    model = watched(lesson, rng)
    with told("fine_tune on 3 images", "with fewer images than batch_size, take all of them"):
        few = lesson.Labelled(data.images[:3], data.labels[:3])
        lesson.fine_tune(model, few, lesson.Recipe(steps=4, batch_size=50), rng)
    assert all(len(x) == 3 for x in model.seen), "with 3 images and batch_size 50 each batch is all 3"


@pytest.mark.hole("fine_tune", kind="value")
def test_steps_are_those_of_adam(lesson, rng):
    n = 6
    data = lesson.Labelled(images(rng, n), rng.integers(10, size=n))
    model = with_head(lesson.Classifier(Dense(D, K, rng=rng), K, rng=rng), rng)
    start = {name: p.numpy().astype(np.float64) for name, p in model.named_parameters()}
    recipe = lesson.Recipe(
        lr=0.01, steps=3, batch_size=n
    )  # all images in each step: nothing is left to chance

    def steps(scale=1.0, rate=None, mean=True):
        """Adam written out: the gradient of the mean of -log p, by hand"""
        W, b, V, c = (start[k].copy() for k in ("encoder.W", "encoder.b", "head.W", "head.b"))
        x, one = numbers(data.images).reshape(n, D), np.eye(10)[data.labels]
        m, v = [0.0] * 4, [0.0] * 4
        for t in range(3):
            h = x @ W + b
            z = h @ V + c
            p = np.exp(z - z.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            g = (p - one) / (n if mean else 1) * scale
            gs = [x.T @ (g @ V.T), (g @ V.T).sum(0), h.T @ g, g.sum(0)]
            lr = 0.01 * (rate(t) if rate else 0.5 * (1 + math.cos(math.pi * t / 3)))
            for i, (w, one_g) in enumerate(zip((W, b, V, c), gs, strict=True)):
                m[i] = 0.9 * m[i] + 0.1 * one_g
                v[i] = 0.999 * v[i] + 0.001 * one_g**2
                w -= lr * (m[i] / (1 - 0.9 ** (t + 1))) / (np.sqrt(v[i] / (1 - 0.999 ** (t + 1))) + 1e-8)
        return np.concatenate([w.ravel() for w in (W, b, V, c)])

    lesson.fine_tune(model, data, recipe, rng)
    found = np.concatenate([dict(model.named_parameters())[k].numpy().ravel() for k in start])
    before = np.concatenate([w.ravel() for w in start.values()])
    assert not np.array_equal(found, before.astype(np.float32)), "nothing was trained"

    def moved(other):
        return np.abs((found - before) - (other - before)).max() < 1e-4

    likely = {
        "the rate does not fall: it is lr * cosine(steps)(step) at each step": steps(rate=lambda t: 1.0),
        "the rate falls one step too early: the first step is step 0, at the full rate":
            steps(rate=lambda t: 0.5 * (1 + math.cos(math.pi * (t + 1) / 3))),
        "the rate is multiplied up from step to step: lr * factor(step), not optimizer.lr * factor(step)":
            steps(rate=lambda t: float(np.prod([0.5 * (1 + math.cos(math.pi * s / 3)) for s in range(t + 1)]))),
    }  # fmt: skip
    right = moved(steps())
    why = next((says for says, value in likely.items() if moved(value)), None)
    up = ((found - before) * (steps() - before)).sum() < 0
    why = why or ("the loss is made LARGER" if up else "look at the loss, the rate and the step")
    assert right, f"three steps of Adam on six images do not lead where they should: {why}"


@pytest.mark.hole("fine_tune", kind="invariant")
def test_frozen_means_unchanged(lesson, rng):
    data = blobs(lesson, rng)
    model = lesson.Classifier(Normalised(rng), K, rng=rng)
    model.encoder.parts[1].running_mean.data = rng.normal(size=K).astype(np.float32)
    lesson.freeze(model.encoder)
    model.frozen = True
    encoder, head = bytes_of(model.encoder), bytes_of(model.head)
    lesson.fine_tune(model, data, lesson.Recipe(lr=0.1, steps=10, batch_size=20), rng)
    assert bytes_of(model.encoder) == encoder, (
        "the frozen encoder changed (weights, or the running statistics of its batch normalisation): only what is in "
        "classifier.parameters() is stepped, and the mode is set by classifier.train()"
    )
    assert bytes_of(model.head) != head, "the head did not learn"
    source = pretrained(lesson, rng)
    model = lesson.start("fine-tuned", source, rng)
    before, old = bytes_of(source), bytes_of(model)
    kept = (data.images.copy(), data.labels.copy())
    lesson.fine_tune(model, data, lesson.Recipe(lr=0.01, steps=5, batch_size=20), rng)
    assert bytes_of(source) == before, "training the classifier changed the autoencoder"
    same = [name for name, value in bytes_of(model).items() if value == old[name]]
    assert not same, f"{same} did not change: fine-tuning trains everything, encoder and head"
    assert np.array_equal(kept[0], data.images) and np.array_equal(kept[1], data.labels), (
        "the data were changed"
    )


@pytest.mark.hole("fine_tune", kind="invariant")
def test_fine_tune_learns_and_repeats(lesson, rng):
    data, source, seed = blobs(lesson, rng), pretrained(lesson, rng), int(rng.integers(2**31))
    ends = []
    for s in (seed, seed, seed + 1):
        model = lesson.start("fine-tuned", source, np.random.default_rng(0))
        lesson.fine_tune(
            model, data, lesson.Recipe(lr=0.02, steps=60, batch_size=10), np.random.default_rng(s)
        )
        ends.append(bytes_of(model))
    wrong = (numbers(model(data.images)).argmax(1) != data.labels).mean()
    assert wrong < 0.4, f"after 60 steps on an easy task {100 * wrong:.0f} % of the training images are wrong"
    assert ends[0] == ends[1], "the same seed trains another classifier: draw the batches from the rng given"
    assert ends[0] != ends[2], "another seed gives the same batches: draw them from the rng given"


# error_rate


class Told(Module):
    """Logits that are the images themselves, halved in training mode so that it shows"""

    def __init__(self):
        self.sizes, self.modes = [], []

    def __call__(self, x):
        self.sizes.append(len(x))
        self.modes.append(self.training)
        rows = np.asarray(x).reshape(len(x), -1)
        return Tensor(rows[:, ::-1].copy() if self.training else rows)


@pytest.mark.hole("error_rate", kind="value")
def test_error_rate_value(lesson, rng):
    n = 37
    logits, labels = rng.normal(size=(n, 10)).astype(np.float32), rng.integers(10, size=n)
    labels[:20] = logits[:20].argmax(1)  # most of them right
    data = lesson.Labelled(logits, labels)
    share = float((logits.argmax(1) != labels).mean())
    in_training = float((logits[:, ::-1].argmax(1) != labels).mean())
    model = Told()
    model.train()
    found = lesson.error_rate(model, data)
    assert np.ndim(found) == 0, f"error_rate gives an array of shape {np.shape(found)}; expected one number"
    likely = {
        "a share between 0 and 1; expected per cent": share,
        "the per cent that are RIGHT; expected those that are wrong": 100 * (1 - share),
        "the share that is right": 1 - share,
        "the NUMBER of wrong images": share * n,
        "measured in training mode: eval() first": 100 * in_training,
        "the smallest logit was taken for the answer": 100 * float((logits.argmin(1) != labels).mean()),
    }
    if abs(found - 100 * share) > 1e-4:
        why = next(
            (s for s, v in likely.items() if abs(found - v) < 1e-4), "not the per cent of wrong images"
        )
        pytest.fail(f"error_rate is {float(found):.4f}, expected {100 * share:.4f}: {why}")
    for block in (1, 10, 36, 37, 100):
        model = Told()
        got = lesson.error_rate(model, data, block=block)
        assert sum(model.sizes) == n, f"with block={block} {sum(model.sizes)} of {n} images were measured"
        assert abs(got - 100 * share) < 1e-4, (
            f"with block={block} error_rate of {n} images is {got:.4f}, expected {100 * share:.4f}: the last block may "
            "be smaller, and a mean of the blocks' means counts it too much"
        )
        assert max(model.sizes) <= block, (
            f"with block={block} the model was given {max(model.sizes)} images at once"
        )


@pytest.mark.hole("error_rate", kind="invariant")
def test_error_rate_only_measures(lesson, rng):
    model = lesson.Classifier(Normalised(rng), K, rng=rng)
    model.train()
    before = bytes_of(model)
    data = lesson.Labelled(images(rng, 20), rng.integers(10, size=20))
    one, two = lesson.error_rate(model, data), lesson.error_rate(model, data)
    assert bytes_of(model) == before, (
        "measuring changed the model (running statistics of batch normalisation): eval() first"
    )
    assert one == two, "two measurements differ: dropout is still on, eval() first"
    seen = []
    lesson.error_rate(Recorder(classifier(lesson, rng), seen), data)
    assert not any(seen), "measuring records a graph, which costs memory: with no_grad()"


class Recorder(Module):
    """Notes whether its logits were recorded for gradients"""

    def __init__(self, inner, seen):
        self.inner, self.notes = inner, SimpleNamespace(seen=seen)

    def __call__(self, x):
        z = self.inner(x)
        self.notes.seen.append(bool(z.requires_grad))
        return z


# choose_recipe


class Rows(Module):
    """An encoder without parameters: features are the pixels, so that the head alone learns, and surely"""

    def __call__(self, x):
        return x


def always_one(lesson):
    """A classifier that says 1 to everything, until it has been trained"""
    model = lesson.Classifier(Rows(), D, rng=np.random.default_rng(0))
    model.head.b.data = np.where(np.arange(10) == 1, 5.0, 0.0).astype(np.float32)
    return model


@pytest.mark.hole("choose_recipe", kind="step")
def test_recipe_is_chosen_on_validation(lesson, rng):
    train = blobs(lesson, rng, 30)
    good, held = lesson.Recipe(lr=0.3, steps=80, batch_size=10), blobs(lesson, rng, 60)
    lame = lesson.Recipe(lr=1e-6, steps=3, batch_size=10)
    turned = lesson.Labelled(held.images, (held.labels + 1) % 3)  # to learn `train` well is all wrong here
    for place in (0, 1):
        recipes = [lame, lame]
        recipes[place] = good
        made = []

        def make(made=made):
            made.append(always_one(lesson))
            return made[-1]

        found = lesson.choose_recipe(recipes, make, train, held, rng)
        assert isinstance(found, lesson.Recipe), (
            f"choose_recipe gives {type(found).__name__}; expected the Recipe itself"
        )
        assert found == good, (
            f"a recipe that hardly trains was chosen (rate {found.lr}): take the smallest error on validation"
        )
        assert len(made) >= 2 and len({id(m) for m in made}) == len(made), (
            "each recipe needs a classifier of its own: make() for each, or the second goes on where the first ended"
        )
    for place in (0, 1):
        recipes = [good, good]
        recipes[place] = lame  # it says 1 to everything, which is right for a third of `turned`
        found = lesson.choose_recipe(recipes, lambda: always_one(lesson), train, turned, rng)
        assert found == lame, (
            "the recipe was chosen by its error on the TRAINING images: what counts is the validation images"
        )


@pytest.mark.hole("choose_recipe", kind="invariant")
def test_validation_images_are_not_trained_on(lesson, rng):
    train, held = blobs(lesson, rng, 12), blobs(lesson, rng, 9)
    seen = []

    def make():
        model = lesson.start("random", pretrained(lesson, rng), rng)
        inner = model.encoder

        class Spy(Module):
            def __init__(self):
                self.inner = inner

            def __call__(self, x):
                if self.training:
                    seen.extend(np.asarray(getattr(x, "_data", x)).tolist())
                return self.inner(x)

        model.encoder = Spy()
        return model

    lesson.choose_recipe([lesson.Recipe(steps=5, batch_size=12)] * 2, make, train, held, rng)
    rows = {tuple(np.round(one, 5)) for one in held.images.reshape(9, D).tolist()}
    assert not any(tuple(np.round(one, 5)) in rows for one in seen), (
        "validation images were trained on: they can judge nothing any more"
    )
    assert seen, "nothing was trained: fine_tune on train for each recipe"


# mean_and_error


@pytest.mark.hole("mean_and_error", kind="value")
def test_mean_and_error(lesson, rng):
    for n in (3, 5, 10):
        values = rng.normal(20, 3, n)
        found = lesson.mean_and_error(values.tolist())
        assert isinstance(found, tuple | list) and len(found) == 2, "mean_and_error gives two numbers"
        mean, error = found
        assert abs(mean - values.mean()) < 1e-9, f"the mean of {n} values is {mean}, expected {values.mean()}"
        right = values.std(ddof=1) / math.sqrt(n)
        likely = {
            "this is the standard deviation of ONE seed; that of the mean is divided by sqrt(n)": values.std(ddof=1),
            "the variance is divided by n: n - 1 (ddof=1), for the mean was fitted to the same values":
                values.std() / math.sqrt(n),
            "this is the standard deviation with ddof=0, of one seed": values.std(),
            "the standard deviation is divided by n; expected sqrt(n)": values.std(ddof=1) / n,
            "the variance was taken for the standard deviation": values.var(ddof=1) / math.sqrt(n),
            "this is two standard errors; expected one": 2 * right,
            "this is the variance of the mean: take its root": values.var(ddof=1) / n,
        }  # fmt: skip
        if abs(error - right) > 1e-9 * right:
            pytest.fail(next((s for s, v in likely.items() if abs(error - v) < 1e-9 * v), "not s / sqrt(n)")
                        + f"; found {error:.6g}, expected {right:.6g}")  # fmt: skip


@pytest.mark.hole("mean_and_error", kind="invariant")
def test_one_seed_is_refused(lesson, rng):
    for values in ([12.5], []):
        try:
            found = lesson.mean_and_error(values)
        except ValueError:
            continue
        except NotImplementedError:
            raise
        except Exception as error:
            pytest.fail(f"{len(values)} values raised {type(error).__name__}; expected ValueError")
        pytest.fail(
            f"{len(values)} seed gives {found}: from one run nobody can tell how much luck there was; ValueError"
        )


# verdict


@pytest.mark.hole("verdict", kind="value")
def test_verdict_is_paired(lesson, rng):
    luck = rng.normal(0, 5, 8)  # what a seed does to both methods
    a, b = 25 + luck, 23 + luck + rng.normal(0, 0.3, 8)
    for first, second, word in ((a, b, "lower"), (b, a, "higher")):
        found = lesson.verdict(first.tolist(), second.tolist())
        assert isinstance(found, tuple | list) and len(found) == 3, "verdict gives gain, error, word"
        d = first - second
        gain, error = d.mean(), d.std(ddof=1) / math.sqrt(8)
        assert abs(found[0] - gain) < 1e-9, (
            f"the gain is {found[0]:.4f}, expected mean(a - b) = {gain:.4f}"
            + (": a minus b, in this order" if abs(found[0] + gain) < 1e-9 else "")
        )  # fmt: skip
        apart = math.hypot(first.std(ddof=1), second.std(ddof=1)) / math.sqrt(8)
        assert abs(found[1] - error) < 1e-9, (
            f"its standard error is {found[1]:.4f}, expected {error:.4f}"
            + (": that is the error of two independent sets of seeds; these share theirs, take the differences first"
               if abs(found[1] - apart) < 1e-9 else ": mean_and_error of the differences")
        )  # fmt: skip
        assert found[2] == word, (
            f"b's error is {'below' if word == 'lower' else 'above'} a's by {abs(gain / error):.1f} standard errors; "
            f"the verdict is {found[2]!r}, expected {word!r}"
        )


@pytest.mark.hole("verdict", kind="value")
def test_verdict_needs_two_errors(lesson, rng):
    base = np.array([-1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0])  # standard error of the mean 0.378
    error = base.std(ddof=1) / math.sqrt(8)
    for times, word in (
        (0.5, "undecided"),
        (1.7, "undecided"),
        (2.3, "lower"),
        (-1.7, "undecided"),
        (-2.3, "higher"),
    ):
        level = rng.uniform(10, 30)
        a, b = level + base + times * error, np.full(8, level)
        found = lesson.verdict(a, b)[2]
        assert found == word, (
            f"a gain of {times} standard errors is called {found!r}; expected {word!r}: two standard errors are asked "
            "for, in either direction"
        )
