"""With `--lang ko` every verb's lines are Korean; what programs read is the same bytes in both languages."""

import ast
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from minigen import data
from minigen.cli import VERBS, doctor, main, mine
from minigen.cli.explore import WORDS, page
from minigen.cli.models import MODELS, load_module
from minigen.course import grading
from minigen.course.console import width_of
from minigen.course.formats import FORMATS
from minigen.course.language import choose, spoken, term
from minigen.data.verify import DAMAGED, FINE, MISSING
from minigen.training.evaluation import prepared
from minigen.training.progress import Lines, figures, label
from solutions import claims_report, claims_tables, e07_autoencoder, e16_claims
from tests.test_compare import SMALL, Table, planted
from tests.test_course_check import SOLVED, wrong
from tests.test_korean import HANGUL, PROSE

# What Korean text leaves as it is: names of models, data sets, libraries, columns of `doctor`, and what one types.
NAMES = re.findall(
    r"\w+",
    "mnist small fashion minigen data get digits Python python numpy blas matplotlib rich pytest terminal cupy course "
    "writable CuPy pip install openblas scipy PixelRNN PixelCNN prob nat toy hw results grades zip autograder log max "
    "png npz ubyte images labels train epochs preset",
)
NAMES = {*NAMES, *MODELS, *e16_claims.QUERIES, *FORMATS}


@pytest.fixture(autouse=True)
def english_again(monkeypatch):
    monkeypatch.delenv("MINIGEN_LANG", raising=False)
    yield
    choose(None)


def english(text, *known):
    """English words in a text, but for names, paths, options, what is quoted, and what one types."""
    left = re.sub(
        r"`[^`]*`|'[^']*'|\S*/\S*|--?[a-z][\w-]*|\b[A-Z_]{3,}\b|\w*\d\w*|\w+\([^)]*\)", " ", text, flags=re.A
    )
    return set(re.findall(r"[A-Za-z]{3,}", left)) - NAMES - set(known)


@pytest.fixture
def few(monkeypatch):
    whole = data.load()
    parts = [data.Split(p.images[:n], p.labels[:n]) for p, n in ((whole.train, 300), (whole.test, 60))]
    monkeypatch.setattr(data, "load", lambda *_, **__: data.Dataset(whole.name, *parts))
    monkeypatch.setattr(e07_autoencoder, "finish", lambda *_: ({"squared_error": {"PCA-32": 9.0}}, []))


# What is printed


@pytest.mark.parametrize("verb", [*VERBS, "data get", "data list", "data verify"])
def test_the_help_of_every_verb(verb, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*verb.split(), "--help", "--lang", "ko"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("사용법: minigen")
    assert not re.search(r"^(usage|options|positional arguments):", told, re.M)
    told = told.partition("\n\n")[2]
    if verb != "gradcheck":  # whose example is laid out by hand
        assert max(map(width_of, told.splitlines())) < 80, "a Korean letter takes two columns"
    told = re.sub(r"`[^`]*`|minigen \w+ \S+", "", told)
    assert not PROSE.search(told), PROSE.search(told)[0]
    assert HANGUL.search(told)


@pytest.mark.parametrize(
    "words", [["doctor"], ["data", "list"], ["data", "verify"], ["data", "get", "mnist-small"]]
)
def test_what_there_is(words, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("MINIGEN_DATA", str(tmp_path))
    main([*words, "--lang", "ko"])
    told = capsys.readouterr().out
    assert not english(told), told
    assert HANGUL.search(told)


def test_a_training_from_its_first_line_to_its_last(few, tmp_path, capsys):
    words = ["train", "autoencoder", "--preset", "tiny", "--epochs", "2", "--out", str(tmp_path / "run")]
    assert main([*words, "--lang", "ko"]) == 0
    told = capsys.readouterr()
    for line in (told.out + told.err).splitlines():
        assert not english(line), line
    assert "이미지당 테스트 제곱 오차: autoencoder" in told.out
    assert re.search(r"^에포크 2/2  훈련 손실 \S+  테스트 제곱 오차 \S+  \S+초$", told.err, re.M)
    for more in (["--resume"], ["--resume", "--epochs", "1"], ["--resume", "--preset", "linear"]):
        main([*words[:2], *more, *words[-2:], "--lang", "ko"])
        told = capsys.readouterr()
        assert not english(told.out + told.err), told
    assert main(["explore", str(tmp_path / "run"), "--lang", "ko"]) == 0
    assert not english(capsys.readouterr().out)
    assert '<html lang="ko">' in (tmp_path / "run" / "explore.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("model", MODELS)
def test_every_figure_of_a_training_has_a_name(model):
    module = load_module(model)
    config = replace(module.PRESETS["small"], **SMALL[model])
    trained = module.MODEL(config, rng=np.random.default_rng(0))
    rng = np.random.default_rng(1)
    keys = [
        f"test_{key}"
        for key in trained.evaluate(prepared(trained, data.scale(data.load().test.images[:2]), rng), rng)
    ]
    keys += [f"train_{name}_loss" if name else "train_loss" for name in trained.optimizers()]
    choose("ko")
    for key in keys:
        assert HANGUL.search(spoken(label(key))), f"[words] of ko.toml has no {label(key)!r}"
    assert figures({"seconds": 2.0, keys[0]: None}, spoken)[0] == "2.0초"


class Stage:
    """A rehearsal in which nothing is played: `used` are the targets that the model calls."""

    def __init__(self, used):
        self.used = used

    def run(self, scene, own_scene):
        pass


def test_who_is_at_work(monkeypatch):
    monkeypatch.setattr(mine, "resolve", lambda target: (None, None, target))
    lesson = SimpleNamespace(short="e03")
    own, others = (
        [mine.Part(lesson, f"Layer{i}.call", f"{kind}:{i}", Path("e03_dense.py")) for i in range(9)]
        for kind in ("own", "other")
    )
    module, said = SimpleNamespace(MODEL=None), []
    choose("ko")
    for used in (own, own[:2], []):
        for rest in (others, others[:1], []):
            for verbose in (True, False):
                troupe = mine.Troupe(own, rest)
                troupe.rehearsal = Stage({one.target for one in used})
                troupe.rehearse(module, None, None, said.append, verbose)
    for line in said:
        assert not english(spoken(line), "call"), spoken(line)
    assert len([line for line in said if "and 4 more from" in line]) == 3
    assert "in place but not used by this model: 7 (e03 7)" in said


def test_the_lines_of_a_long_training(capsys):
    choose("ko")
    lines = Lines(__import__("sys").stderr, patience=-1.0, say=spoken)
    lines.begin(epochs=80, steps=800, done=0)
    lines.step(1, {"generator_loss": 0.5})
    lines.epoch({"epoch": 2, "step": 20, "train_loss": None, "seconds": 1.0})
    told = capsys.readouterr().err
    assert not english(told), told
    assert told.splitlines()[0] == "10걸음씩 80에포크 남음, 2에포크마다 한 줄"


def test_the_comparison(tmp_path):
    class Bench(Table):
        def baseline(self, data):
            return {"distance": 109.0, "classes": 10.0, "sharpness": 1.96}

    planted(tmp_path, True)
    plan = {"seconds": 5.0, "seeds": 5, "minutes": 12, "samples": 500}
    found = claims_report.report(tmp_path, Bench(), None, plan)
    found["models"]["pixelrnn"] |= {"naive_passes": 784.0, "naive_seconds": 2.8, "seconds": 20.0}
    plain = claims_tables.text(found), claims_tables.markdown(found)
    choose("ko")
    for told, own in zip((claims_tables.text(found), claims_tables.markdown(found)), plain, strict=True):
        left = english(told, "samples")
        assert not left
        assert len(told.splitlines()) > 0.9 * len(own.splitlines())
    table = claims_tables.text(found).partition("본 이미지")[2].partition("\n\n")[0].splitlines()
    assert len({width_of(line) for line in table[1:]}) == 1, "the columns are not aligned"
    claims_report.write(found, tmp_path)
    korean = (tmp_path / "report.json").read_bytes()
    choose("en")
    claims_report.write(found, tmp_path)
    assert (tmp_path / "report.json").read_bytes() == korean


class Visible(HTMLParser):
    """The words of a page that a person may read or hear, and what its script has to say."""

    def __init__(self):
        super().__init__()
        self.words, self.inside = [], ""

    def handle_starttag(self, tag, attrs):
        self.inside = tag
        self.words += [value for key, value in attrs if key == "aria-label"]

    def handle_data(self, text):
        if self.inside not in ("script", "style"):
            self.words.append(text)


def test_the_page_of_codes(rng):
    choose("ko")
    layers = [{"kind": "dense", "W": "", "b": ""}]
    for n in (1, 2, 5):
        seen = Visible()
        text = page("vae", layers, rng.normal(size=(9, n)), np.arange(9), (2, 2))
        seen.feed(text)
        assert not english(" ".join(seen.words))
        assert "__" not in re.sub(r'id="model">.*?</script>', "", text, flags=re.S)
    for word in WORDS.values():
        assert HANGUL.search(term("page", word)), word
        assert re.findall(r"#\d", term("page", word)) == re.findall(r"#\d", word)
    script = Path(page.__code__.co_filename).with_name("explore.html").read_text(encoding="utf-8")
    assert set(re.findall(r'said\("(\w+)"', script)) == set(WORDS)


def constants(module, key):
    """Every string that a module's source puts under a key of a dict, or hands over by that name."""
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            for name, value in zip(node.keys, node.values, strict=True):
                if isinstance(name, ast.Constant) and name.value == key and isinstance(value, ast.Constant):
                    yield value.value


def test_single_words_have_a_kind():
    choose("ko")
    claim, ends = e16_claims.Claim("", "", "", ""), ((1, 2), (-2, -1), (-1, 1))
    kinds = {
        "status": {*grading.STATUS.values(), *constants(grading, "status")},
        "data": {FINE, MISSING, DAMAGED, "embedded", "found"},
        "finding": {doctor.GOOD, doctor.OPTIONAL, doctor.BROKEN},
        "verdict": {e16_claims.judge(claim, e16_claims.Interval(0, *each)) for each in ends},
    }
    assert len(kinds["status"]) == 8
    assert len(kinds["verdict"]) == 3
    for kind, words in kinds.items():
        for word in words:
            assert HANGUL.search(term(kind, word)), f"[words] of ko.toml has no '{kind}: {word}'"
    for status in kinds["status"]:
        assert re.fullmatch(rf"{term('status', status)} 3", term("status", f"3 {status}"))
    choose("en")
    assert term("status", "3 passed") == "3 passed"


def test_what_is_unknown_stays_as_it_is():
    choose("ko")
    assert term("status", "unheard of") == "unheard of"


# What programs read


WRONG_RULE = """from minigen import op

@op
def f(x):
    return x * 2

@f.vjp
def _(g, y, x):
    return lambda: g
"""
SUBMISSIONS = {"ada": SOLVED, "bo": wrong("return 3 * x"), "cy": SOLVED + "\ndef f(:\n", "di": None}


@pytest.fixture
def handed_in(toy):
    for name, text in SUBMISSIONS.items():
        (toy.root / "hw" / name).mkdir(parents=True)
        (toy.root / "hw" / name / ("e01_toy.py" if text else "essay.txt")).write_text(
            text or "the dog ate it"
        )
    (toy.root / "hw" / "notes.txt").write_text("none")
    table = toy.root / "exercises" / "ko" / "e01_toy.toml"
    table.parent.mkdir()
    table.write_text(
        '[messages]\n"double is not twice its input: is the factor 2?" = "입력의 두 배가 아닙니다"\n'
    )
    return toy


def test_grades_are_the_same_bytes_and_their_lines_korean(handed_in, capsys):
    written = {}
    for language in ("en", "ko"):
        words = ["grade", "hw", "--lessons", "e01", "--seed", "1", "--out", language, "--jobs", "2"]
        assert main([*words, "--format", "gradescope,junit,csv", "--lang", language]) == 0
        told = capsys.readouterr().out
        files = sorted(path for path in Path(language).rglob("*") if path.is_file())
        assert len(files) == 7
        text = {path.relative_to(language): path.read_text(encoding="utf-8") for path in files}
        text[Path("results.jsonl")] = "\n".join(sorted(text[Path("results.jsonl")].splitlines()))
        times = r'("(?:seconds|execution_time)": |time=\')[\d.]+|(?<=,)\d+\.\d+(?=,)'
        written[language] = {path: re.sub(times, r"\1#", one) for path, one in text.items()}
    assert written["en"] == written["ko"]
    assert not english(told, *SUBMISSIONS, "notes", "txt", "double", "both", "invalid", "syntax"), told
    for line in ("[4/4]", "실패", "거절", "입력의 두 배가 아닙니다", "가장 적게 끝낸", "쓴 파일: "):
        assert line in told, told


def test_a_stopped_grading_and_an_archive_speak_korean(handed_in, capsys):
    assert main(["pack", "e01", "--lang", "ko"]) == 0
    assert main(["pack", "e01", "--lang", "ko"]) == 2
    assert main(["grade", "hw", "--format", "xls", "--lang", "ko"]) == 2
    assert main(["grade", "nowhere", "--lang", "ko"]) == 2
    told = capsys.readouterr()
    assert not english(told.out + told.err, "nowhere"), told


def test_json_is_the_same_bytes(toy, capsys):
    toy.lesson("e01").exercise.write_text(wrong("return 3 * x"))
    Path("mine.py").write_text(WRONG_RULE)
    commands = [
        (["doctor", "--json"], 0),
        (["data", "list", "--json"], 0),
        (["data", "verify", "--json"], 0),
        (["data", "get", "mnist-small", "--json"], 0),
        (["gradcheck", "mine.py", "--seed", "1", "--json"], 1),
        (["check", "e01", "--seed", "1", "--json"], 1),
    ]
    for words, code in commands:
        told = {}
        for language in ("en", "ko"):
            assert main([*words, "--lang", language]) == code, words
            told[language] = re.sub(r'"seconds": [\d.]+', '"seconds": 0', capsys.readouterr().out)
        assert told["en"] == told["ko"], words
        assert json.loads(told["ko"])


def test_a_runs_own_files_are_the_same_bytes(few, capsys, tmp_path):
    files = {}
    for language in ("en", "ko"):
        words = ["train", "autoencoder", "--preset", "tiny", "--epochs", "1", "--json"]
        assert main([*words, "--out", str(tmp_path / language), "--lang", language]) == 0
        found = [json.dumps(json.loads(capsys.readouterr().out))]
        found += [(tmp_path / language / name).read_text() for name in ("metrics.jsonl", "config.json")]
        masks = rf'"seconds": [\d.]+|{re.escape(str(tmp_path / language))}'
        files[language] = [re.sub(masks, "#", text) for text in found]
    assert files["en"] == files["ko"]
