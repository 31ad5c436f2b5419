"""`minigen explore`: the page is whole, it is the trained decoder, and dragging in it shows what Python decodes."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from minigen import Tensor, data, no_grad, training
from minigen.cli import main
from minigen.cli.explore import axes_of, codes_of, decoder_of, forward, page, unpacked
from minigen.cli.models import trained
from minigen.errors import CourseError
from minigen.nn import Dense, LeakyReLU, Sequential, Softplus
from solutions import e07_autoencoder as e07
from solutions import e13_vae as e13

NODE = shutil.which("node")
BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "chrome-headless-shell",
)
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
AE, LINEAR, PLANE = e07.PRESETS["tiny"], e07.PRESETS["linear"], e13.PRESETS["plane"]
RUNS = {
    "autoencoder": e07.Autoencoder(replace(AE, code=8), rng=np.random.default_rng(0)),
    "linear autoencoder": e07.Autoencoder(replace(LINEAR, code=1), rng=np.random.default_rng(0)),
    "vae": e13.VAE(replace(PLANE, hidden=(40, 30), bend="tanh"), rng=np.random.default_rng(0)),
    "gaussian vae": e13.VAE(
        replace(e13.PRESETS["gaussian"], hidden=(30,), code=3), rng=np.random.default_rng(0)
    ),
}


@pytest.fixture(scope="module")
def few():
    whole = data.load()
    parts = [
        data.Split(part.images[:n], part.labels[:n]) for part, n in ((whole.train, 300), (whole.test, 60))
    ]
    return data.Dataset(whole.name, *parts)


@pytest.fixture(scope="module", params=RUNS)
def made(request, few, tmp_path_factory):
    """A run of a kind of model, trained a little, and the page that the command makes of it"""
    folder = tmp_path_factory.mktemp("runs") / "run"
    name = request.param.split()[-1]
    about = {"name": name, "preset": "small", "mine": []}
    training.train(RUNS[request.param], few, epochs=2, batch_size=30, seed=0, run_dir=folder, about=about)
    assert main(["explore", str(folder)]) == 0
    return SimpleNamespace(folder=folder, path=folder / "explore.html", model=trained(folder)[0], name=name)


def model_in(path):
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="model">(.*?)</script>', text, re.S)[1])


def greys(model, z):
    """(c,) -> (pixels,): what Python decodes, as the page's bytes: ink is dark"""
    with no_grad():
        ink = model.decode(Tensor(np.asarray(z, np.float32)[None])).numpy()[0]
    return 255 - np.round(255 * np.clip(ink.astype(np.float64), 0, 1))


def code(embedded, u):
    """The script's arithmetic: places on the axes -> the code"""
    n = embedded["size"]
    return unpacked(embedded["centre"]) + np.asarray(u) @ unpacked(embedded["axes"]).reshape(n, n)


# The page as a text


class Tags(HTMLParser):
    """What is opened and closed, and every attribute that could fetch something."""

    def __init__(self):
        super().__init__()
        self.open, self.fetching, self.names = [], [], []

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.fetching += [
            (tag, key) for key, _ in attrs if key in ("src", "href", "srcset", "action", "data")
        ]
        if tag not in ("meta", "br", "input", "link", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another element"


def test_the_page_is_whole_and_asks_for_nothing(made):
    text = made.path.read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(text)
    assert not tags.open
    assert not tags.fetching
    assert not re.search(
        r"https?:|//[a-z0-9.-]+\.[a-z]{2,}|fetch\(|XMLHttpRequest|import\(|WebSocket|url\(", text
    )
    assert "default-src 'none'" in text, "the browser itself must be told to refuse any request"
    assert "__" not in re.sub(r'id="model">.*?</script>', "", text, flags=re.S), "a mark was not filled in"
    assert '<html lang="en">' in text


def test_the_embedded_weights_are_the_models(made):
    found = [
        unpacked(layer[part]) for layer in model_in(made.path)["layers"] for part in "Wb" if part in layer
    ]
    wanted = [p.numpy().ravel() for p in made.model.decoder.parameters()]
    assert len(found) == len(wanted)
    assert all(a.dtype == np.float32 and np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_the_script_in_numpy_is_the_decoder(made):
    embedded = model_in(made.path)
    for u in np.random.default_rng(5).normal(size=(20, embedded["size"])):
        z = code(embedded, u)
        mine = 255 - np.round(255 * np.clip(forward(embedded["layers"], z[None])[0], 0, 1))
        assert np.abs(mine - greys(made.model, z)).max() <= 1


def test_places_are_the_codes_of_test_images(made, few):
    embedded = model_in(made.path)
    codes = codes_of(made.model, data.load().test.images[:400])
    places = unpacked(embedded["points"]).reshape(400, -1)
    assert embedded["labels"][:60] == [str(label) for label in few.test.labels]
    assert np.allclose(places.std(axis=0), 1, atol=1e-3), (
        "the unit of an axis is the codes' deviation along it"
    )
    assert np.allclose([code(embedded, u) for u in places], codes, atol=1e-3 * np.abs(codes).max())


def test_axes_are_principal_ones_and_dead_numbers_do_no_harm():
    rng = np.random.default_rng(0)
    turned = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    codes = 3 + rng.normal(size=(500, 4)) * [1.0, 5.0, 0.0, 2.0] @ turned
    centre, axes, places = axes_of(codes)
    assert np.allclose(np.linalg.norm(axes, axis=1), [5, 2, 1, 0], rtol=0.15, atol=1e-6)
    assert np.allclose(centre + places @ axes, codes)
    assert np.abs(places[:, 3]).max() == 0
    plane = axes_of(codes[:, :2] * [1, 0])
    assert np.allclose(plane[1], np.diag(np.diag(plane[1]))), "a plane keeps its own two axes"
    few = axes_of(codes[:2])
    assert few[1].shape == (4, 4), "fewer images than numbers in a code still give as many axes"
    assert np.isfinite(few[2]).all()


# The page at work


def seen(path, *events):
    done = subprocess.run(
        [NODE, str(Path(__file__).with_name("explore_page.js")), str(path)],
        input=json.dumps(events),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def at(kind, x, y, **more):
    """An event over the square: x and y from 0 to 1, to the right and down"""
    return {
        "on": "pad",
        "type": kind,
        "clientX": 10 + 300 * x,
        "clientY": 20 + 300 * y,
        "pointerId": 1,
        **more,
    }


@pytest.mark.skipif(NODE is None, reason="needs node, to run the page's script")
def test_dragging_shows_what_python_decodes(made):
    embedded = model_in(made.path)
    n = embedded["size"]
    begin, down, drag, hover, beyond, key = seen(
        made.path,
        at("pointerdown", 0.9, 0.2),
        at("pointermove", 0.3, 0.6, buttons=1),
        at("pointermove", 0.5, 0.5, buttons=0),
        at("pointermove", 3.0, -1.0, buttons=1),
        {"on": "pad", "type": "keydown", "key": "ArrowLeft"},
    )
    for shown in (begin, down, drag, hover, beyond, key):
        assert shown["opaque"]
        assert np.abs(np.array(shown["greys"]) - greys(made.model, code(embedded, shown["u"]))).max() <= 1
    assert begin["u"] == [0] * n
    assert down["u"][:2] == pytest.approx([2.4, 1.8][:n])
    assert drag["u"][:2] == pytest.approx([-1.2, -0.6][:n])
    assert begin["greys"] != down["greys"] != drag["greys"], "dragging changes the picture"
    assert hover == drag, "without a button pressed nothing moves"
    assert beyond["u"][:2] == [3, 3][:n], "beyond the square's edge it stops at the edge"
    assert key["u"][0] == pytest.approx(2.9)
    assert "axis 1 at 2.90" in key["now"]


@pytest.mark.skipif(NODE is None, reason="needs node, to run the page's script")
def test_buttons_go_to_test_images_and_menus_choose_axes(made):
    embedded = model_in(made.path)
    n, labels = embedded["size"], embedded["labels"]
    _, four, centre = seen(made.path, {"on": "4", "type": "click"}, {"on": "centre", "type": "click"})
    place = unpacked(embedded["points"]).reshape(-1, n)[labels.index("4")]
    assert four["u"] == pytest.approx(np.clip(place, -3, 3).tolist(), abs=1e-6)
    assert centre["u"] == [0] * n
    if n > 2:
        *_, down = seen(
            made.path,
            {"on": "across", "type": "change", "value": "2"},
            {"on": "up", "type": "change", "value": "0"},
            at("pointerdown", 0.75, 0.25),
        )
        assert down["u"][:3] == pytest.approx([1.5, 0, 1.5])


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome on the path")
def test_in_a_browser(made, tmp_path):
    act = """<script>
      const box = pad.getBoundingClientRect(), greys = () => Array.from(picture.getContext("2d").getImageData(
        0, 0, model.width, model.height).data).filter((_, i) => i % 4 === 0), before = greys();
      pad.dispatchEvent(new PointerEvent("pointerdown", { clientX: box.left + 0.8 * box.width,
        clientY: box.top + 0.3 * box.height, pointerId: 1 }));
      document.body.textContent = JSON.stringify({ before, after: greys(), u: [...u],
        requests: performance.getEntriesByType("resource").length });
    </script></body>"""
    driven = tmp_path / "driven.html"
    driven.write_text(made.path.read_text(encoding="utf-8").replace("</body>", act), encoding="utf-8")
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]
    done = subprocess.run(
        [*command, "--virtual-time-budget=3000", "--dump-dom", driven.as_uri()],
        capture_output=True,
        text=True,
        timeout=100,
    )
    shown = json.loads(re.search(r'\{"before".*\}', done.stdout.replace("&quot;", '"'))[0])
    wanted = greys(made.model, code(model_in(made.path), shown["u"]))
    assert np.abs(np.array(shown["after"]) - wanted).max() <= 1
    assert shown["before"] != shown["after"]
    assert shown["requests"] == 0


@pytest.mark.skipif(NODE is None, reason="needs node, to run the page's script")
def test_every_layer_the_page_knows(tmp_path):
    rng = np.random.default_rng(3)
    decoder = Sequential(
        Dense(2, 6, rng=rng, bias=False),
        LeakyReLU(0.3),
        Dense(6, 5, rng=rng),
        Softplus(),
        Dense(5, 4, rng=rng),
    )
    model = SimpleNamespace(decoder=decoder, decode=decoder, encode=None, config=SimpleNamespace(code=2))
    layers = decoder_of(model, "toy")
    assert [layer["kind"] for layer in layers] == ["dense", "leaky_relu", "dense", "softplus", "dense"]
    path = tmp_path / "toy.html"
    path.write_text(
        page("a <b> & c", layers, rng.normal(size=(9, 2)), np.arange(9), (2, 2)), encoding="utf-8"
    )
    assert "<h1>a &lt;b&gt; &amp; c</h1>" in path.read_text(encoding="utf-8")
    _, down = seen(path, at("pointerdown", 0.1, 0.2))
    assert np.abs(np.array(down["greys"]) - greys(model, code(model_in(path), down["u"]))).max() <= 1


# Refusals


def test_what_a_page_cannot_hold_is_refused_in_one_line():
    conv = e13.VAE(e13.PRESETS["conv"], rng=np.random.default_rng(0))
    with pytest.raises(
        CourseError, match="decoder of vae has a Reshape; expected an autoencoder or a VAE of Dense"
    ):
        decoder_of(conv, "vae")
    with pytest.raises(CourseError, match="gan has no codes to drag through; expected") as refused:
        decoder_of(SimpleNamespace(sample=None), "gan")
    assert "\n" not in str(refused.value)
    odd = e07.Autoencoder(AE, rng=np.random.default_rng(0))
    odd.decode = lambda z: odd.decoder(z) * 3.0
    with pytest.raises(CourseError, match="does more than its layers"):
        decoder_of(odd, "autoencoder")


def test_a_folder_that_is_no_run_and_a_place_that_cannot_be_written(made, tmp_path, capsys):
    assert main(["explore", str(tmp_path)]) == 1
    assert "no run (it has no config.json)" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["explore", str(made.folder), "--out", str(tmp_path / "file" / "page.html")]) == 1
    error = capsys.readouterr().err
    assert "cannot be written" in error and error.count("\n") == 1  # noqa: PT018
    assert main(["explore", str(made.folder), "--out", str(tmp_path / "new" / "page.html")]) == 0
    assert (tmp_path / "new" / "page.html").read_bytes() == made.path.read_bytes()
