"""`minigen compare` as it is typed, on models so small that nothing takes time: what it keeps, resumes and "
"concludes."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest

from minigen import checkpoint, data, training
from minigen.cli import main
from minigen.errors import CheckpointError
from solutions import claims_bench, claims_lab, claims_report, claims_tables, e16_claims
from solutions.e10_pixelrnn import PixelRNN
from solutions.e11_pixelcnn import PixelCNN

SMALL = {
    "autoencoder": {"hidden": (8,), "code": 2},
    "pixelrnn": {"h": 2, "head": 2},
    "pixelcnn": {"h": 2, "head": 2, "blocks": 1},
    "vae": {"hidden": (8,), "code": 2},
    "gan": {"channels": (2, 2), "z": 2},
}
QUICK = ["--minutes", "0.001", "--seeds", "2", "--samples", "20"]


def shrink(monkeypatch):
    """Tiny models, one step each, no pixel drawn after the other"""
    lineup = {
        name: (module, replace(config, **SMALL[name.removesuffix("-hot")]))
        for name, (module, config) in claims_lab.LINEUP.items()
    }
    monkeypatch.setattr(claims_lab, "LINEUP", lineup)
    monkeypatch.setattr(claims_lab, "_step_seconds", lambda name, data, seconds: 1.0)
    monkeypatch.setattr(claims_bench, "naive", lambda model: {"naive_passes": 784, "naive_seconds": 1.0})

    def noise(self, n, rng, temperature=1.0):
        return (rng.random((n, 28, 28)) < 0.2).astype(np.float32)

    for kind in (PixelRNN, PixelCNN):
        monkeypatch.setattr(kind, "sample", noise)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    shrink(monkeypatch)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare") / "lab"
    with pytest.MonkeyPatch.context() as monkeypatch:
        shrink(monkeypatch)
        assert main(["compare", *QUICK, "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def done(finished, tmp_path):
    """A finished comparison, to be spoilt"""
    shutil.copytree(finished, tmp_path / "lab")
    return tmp_path / "lab"


def figures(folder):
    """What does not depend on the clock"""
    found = {}
    for path in sorted(folder.glob("*/measured.json")):
        record = json.loads(path.read_text())
        found[path.parent.name] = {k: v for k, v in record.items() if "second" not in k and "ms" not in k}
    return found


def test_everything_is_measured_judged_and_kept(done, tmp_path, capsys):
    assert main(["compare", "--out", str(done)]) == 0
    said = capsys.readouterr().out
    for claim in e16_claims.CLAIMS:
        assert claim.says in said, claim
    assert said.count("undecided") + said.count("confirmed") + said.count("refuted") >= len(e16_claims.CLAIMS)
    assert "equal: training time" in said
    assert "implicit density: sample() only     gan" in said
    report = json.loads((tmp_path / "lab" / "report.json").read_text())
    assert [one["claim"] for one in report["claims"]] == [one.says for one in e16_claims.CLAIMS]
    assert report["seeds"] == [0, 1]
    assert report["interface"]["gan"]["branch"] == "implicit"
    assert report["models"]["vae"]["sign"] == "<="
    assert report["models"]["pixelcnn"]["sign"] == "="
    assert (tmp_path / "lab" / "samples.png").stat().st_size > 1000
    assert "| row | claim |" in (tmp_path / "lab" / "report.md").read_text()


def test_what_is_done_is_not_done_again(done, monkeypatch, capsys):
    before = {path: path.stat().st_mtime_ns for path in done.glob("*-*/*")}
    monkeypatch.setattr(training, "train", None)
    assert main(["compare", "--out", str(done)]) == 0
    assert {path: path.stat().st_mtime_ns for path in done.glob("*-*/*")} == before
    assert "S79" in capsys.readouterr().out


def test_stopped_anywhere_it_goes_on_and_ends_alike(done, tmp_path, monkeypatch, capsys):
    """Once between training and measuring, once in the middle of a measurement's files"""
    folder, real = tmp_path / "cut", claims_bench.Bench.measure
    calls = []

    def stopped(self, name, model, seed):
        calls.append(name)
        if len(calls) in (2, 6):
            raise KeyboardInterrupt
        return real(self, name, model, seed)

    monkeypatch.setattr(claims_bench.Bench, "measure", stopped)
    assert main(["compare", *QUICK, "--out", str(folder)]) == 130
    says = capsys.readouterr().err
    assert f"go on with `minigen compare --out {folder}`" in says
    assert len(says.splitlines()) == 1
    assert main(["compare", "--out", str(folder)]) == 130
    (folder / "vae-0" / "measured.json").unlink()  # as if it had been killed just before
    assert main(["compare", "--out", str(folder)]) == 0
    assert "parts were done already" in capsys.readouterr().out
    assert figures(folder) == figures(done)


def test_another_budget_is_refused_in_one_line(done, tmp_path, capsys):
    for wrong, what in (
        (["--seeds", "3"], "--seeds 2, not 3"),
        (["--minutes", "9"], "--minutes 0.001, not 9"),
    ):
        assert main(["compare", *wrong, "--out", str(done)]) == 2
        says = capsys.readouterr().err
        assert what in says
        assert len(says.splitlines()) == 1
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    assert main(["compare", "--out", str(tmp_path / "other")]) == 2
    assert "holds no comparison" in capsys.readouterr().err
    assert main(["compare", "--minutes", "0"]) == 2
    assert "expected minutes above 0" in capsys.readouterr().err


def test_a_plan_for_other_models_is_refused(done, monkeypatch, capsys):
    module, config = claims_lab.LINEUP["vae"]
    monkeypatch.setitem(claims_lab.LINEUP, "vae", (module, replace(config, code=3)))
    assert main(["compare", "--out", str(done)]) == 1
    assert "was made for other models" in capsys.readouterr().err


def test_a_damaged_record_is_named(done, capsys):
    (done / "gan-1" / "measured.json").write_text("{")
    assert main(["compare", "--out", str(done)]) == 1
    says = capsys.readouterr().err
    assert "gan-1/measured.json" in says
    assert "remove it" in says
    assert len(says.splitlines()) == 1


def test_json_alone_on_stdout(done, capsys):
    capsys.readouterr()
    assert main(["compare", "--json", "--out", str(done)]) == 0
    assert len(json.loads(capsys.readouterr().out)["claims"]) == len(e16_claims.CLAIMS)


def test_a_training_that_diverges_is_a_result(tmp_path, monkeypatch):
    module, config = claims_lab.LINEUP["vae-hot"]
    monkeypatch.setitem(claims_lab.LINEUP, "vae-hot", (module, replace(config, lr=1e38)))
    monkeypatch.setattr(claims_lab, "_step_seconds", lambda name, data, seconds: 0.001)
    folder = tmp_path / "lab"
    with np.errstate(all="ignore"):
        assert (
            main(["compare", "--minutes", "0.003", "--seeds", "1", "--samples", "20", "--out", str(folder)])
            == 0
        )
    record = json.loads((folder / "vae-hot-0" / "measured.json").read_text())
    assert "diverged" in record
    assert math.isfinite(record["distance"])


def test_a_picture_of_runs(done, tmp_path, capsys):
    runs = [str(done / f"{name}-0") for name in ("vae", "gan", "autoencoder", "pixelcnn")]
    out = tmp_path / "models.png"
    assert main(["compare", "--figure-from", *runs, "--figure", str(out)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(out)
    assert out.read_bytes()[:4] == b"\x89PNG"
    assert main(["compare", "--figure-from", str(tmp_path / "nowhere")]) == 1
    assert "no run" in capsys.readouterr().err


# What is concluded, from records that were written by hand


def planted(folder, true):
    """Five seeds in which every claim that can be either is true, or in which every one is false"""
    rng = np.random.default_rng(0)
    side = 1 if true else -1

    def about(value):
        return float(value * np.exp(rng.normal(0, 0.01)))

    for seed in range(5):
        far = {"pixelcnn": 10.0**-side, "gan": 0.01**side, "autoencoder": 10.0**side, "gan-hot": 0.01**side}
        for name in claims_lab.LINEUP:
            kind = name.removesuffix("-hot")
            record = {
                "model": name,
                "seed": seed,
                "parameters": 1,
                "images": 1,
                "seconds": 1.0,
                "classes": 10,
            }
            record |= {"distance": about(far.get(name, 1.0)), "class_kl": 0.0}
            if name == "gan-hot":
                record["distance"] *= 10.0**side
            record |= {"ms_per_image": about(10.0**side if name == "pixelrnn" else 1.0)}
            record |= {"sample_seconds": about(10.0 ** (1 + side) if kind.startswith("pixel") else 1.0)}
            record |= {"sharpness": about(1.5 if (kind == "gan") == true else 0.5)}
            nats = {"vae": 100.0 + 10 * side, "pixelcnn": 100.0, "pixelrnn": 101.0}.get(kind)
            kept = {}
            if nats:
                record |= {"nats": about(nats), "sign": "="}
                kept["nats"] = nats + rng.normal(0, 0.1, 40) + (0 if true else 5 * (name == "pixelrnn"))
            (folder / f"{name}-{seed}").mkdir(parents=True)
            (folder / f"{name}-{seed}" / "measured.json").write_text(json.dumps(record))
            checkpoint.save(folder / f"{name}-{seed}" / "kept.npz", kept, {})
    (folder / "exact.json").write_text(json.dumps(claims_lab.exact()))


class Table:
    """What the verdicts need of a bench"""

    sharpness, noise = 2.0, np.full(40, -300.0)


@pytest.mark.parametrize("true", [True, False])
def test_every_verdict_points_the_right_way(tmp_path, true):
    planted(tmp_path, true)
    plan = {"seeds": 5}
    seeds, records = claims_report.gather(tmp_path, plan)
    assert seeds == [0, 1, 2, 3, 4]
    found = claims_report.quantities(tmp_path, Table(), seeds, records)
    verdicts = {one.key: e16_claims.judge(one, found[one.key]) for one in e16_claims.CLAIMS}
    always = {"parallel": "confirmed", "sums": "confirmed", "silent": "confirmed"}
    # 1/10 of the best model costs it 2.3 nats: the worst one is 10 nats behind it, or 15
    always |= {"metric": "refuted"}
    for key, verdict in verdicts.items():
        wanted = always.get(key, "confirmed" if true else "refuted")
        assert verdict == wanted or key == "seeds", (key, found[key], verdict)


def test_spreads_of_two_models():
    calm, wild = [1.0, 1.01, 0.99, 1.0, 1.02], [1.0, 9.0, 0.1, 12.0, 0.08]
    assert claims_report._spread(wild, calm, 0.95).low > 0
    assert claims_report._spread(calm, wild, 0.95).high < 0
    assert claims_report._spread(wild[:3], calm[:3], 0.95).low == -math.inf, (
        "of so few seeds none is an outlier"
    )


def test_a_mixture_with_noise_is_no_worse_than_its_share(tmp_path):
    """The same three models, all equally good: then nine tenths noise cost log 10, and likelihood notices"""
    for name in ("pixelrnn", "pixelcnn", "vae"):
        (tmp_path / f"{name}-0").mkdir()
        checkpoint.save(tmp_path / f"{name}-0" / "kept.npz", {"nats": np.full(40, 90.0)}, {})
    assert claims_report._noise_test(tmp_path, Table(), 0) == pytest.approx(math.log(10), abs=1e-6)


def test_only_whole_seeds_count(done):
    (done / "vae-1" / "measured.json").unlink()
    seeds, _ = claims_report.gather(done, {"seeds": 2})
    assert seeds == [0]


def test_a_busy_machine_is_told():
    found = {"plan": {"seconds": 10.0}, "models": {"vae": {"seconds": 11.0}, "gan": {}}}
    assert claims_tables.busy_line(found) == ""
    found["models"]["gan"]["seconds"] = 20.0
    assert "took 11.0 to 20.0 s, planned were 10.0 s" in claims_tables.busy_line(found)


# The laboratory


def test_a_budget_is_served_evenly():
    small = data.Dataset(
        "toy", data.Split(np.arange(7 * 784).reshape(7, 28, 28) % 251, np.arange(7)), data.load().test
    )
    served = claims_lab.serve(small, 17, 3).train
    assert len(served.labels) == 17
    assert set(np.bincount(served.labels, minlength=7)) == {2, 3}
    assert (served.labels == claims_lab.serve(small, 17, 3).train.labels).all()


def test_both_pixel_models_have_as_many_weights_at_work(monkeypatch):
    monkeypatch.undo()
    counts = {}
    for name in ("pixelrnn", "pixelcnn"):
        module, config = claims_lab.LINEUP[name]
        model = module.MODEL(config, rng=np.random.default_rng(0))
        total = 0
        for part in model.modules():
            for key, value in vars(part).items():
                if key.startswith("W") and hasattr(value, "shape"):
                    hidden = getattr(part, "visible", None)
                    taps = getattr(part, "taps", None)
                    share = hidden.mean() if hidden is not None else taps.mean() if taps is not None else 1.0
                    total += round(value.size * share)
        counts[name] = total
    assert counts == {"pixelrnn": 6272, "pixelcnn": 6272}


def test_a_step_is_timed(monkeypatch):
    monkeypatch.undo()
    found = claims_lab._step_seconds("vae", data.load(), 0.01)
    assert 0 < found < 60


def test_chains_grow_with_the_image_in_one_model_only(monkeypatch):
    monkeypatch.undo()
    known = claims_lab.exact()["chains"]
    assert len(set(known["pixelcnn"])) == 1
    a, b, c = known["pixelrnn"]
    assert b - a > 7
    assert c - b == 2 * (b - a)


def test_a_damaged_file_is_one_line(tmp_path):
    with pytest.raises(CheckpointError, match="remove it"):
        claims_lab.read(tmp_path / "plan.json")
