"""Everything that the course says exists in Korean as well, and reaches the learner who asks for it."""

import re
import subprocess
import sys
from collections import Counter

import pytest
from markdown_it import MarkdownIt

from minigen.cli import VERBS, main
from minigen.course import korean
from minigen.course.korean_templates import templates
from minigen.course.language import choose, chosen, spoken, take
from minigen.course.manifest import course
from minigen.course.mistakes import load_bank
from minigen.course.phrases import Phrases, particles
from minigen.errors import CourseError

LESSONS = course().lessons
# Lessons whose Korean is being written: take a name out when `python -m minigen.course.korean` calls it complete.
NOT_YET: set[str] = set()
READY = [one for one in LESSONS if one.name not in NOT_YET]
IDS = [one.short for one in READY]
HANGUL = re.compile("[가-힣]")
WORD = r"(?!(?:for|in|if|else|elif|and|or|not|is|return|yield|from|with|as|del|raise)\b)[a-z]{2,}"
PROSE = re.compile(rf"\b{WORD} {WORD} {WORD}\b")


@pytest.fixture(autouse=True)
def english_again(monkeypatch):
    monkeypatch.delenv("MINIGEN_LANG", raising=False)
    yield
    choose(None)


def sentences(table):
    """(where, Korean) of every string in a table."""
    for section, found in table.items():
        if isinstance(found, str):
            yield section, found
            continue
        for key, value in found.items():
            for at, one in enumerate(value if isinstance(value, list) else [value]):
                yield f"[{section}] {key} {at}", one


def code(text):
    """The code lines of a lesson's text, block by block."""
    blocks, fenced, before = [], False, ""
    for line in text.splitlines():
        if line.startswith("```"):
            fenced = not fenced
            blocks += [[]] if fenced else []
        elif fenced or (line.startswith("    ") and not before.lstrip().startswith(("-", "*", "1."))):
            if not fenced and not before.startswith("    "):
                blocks.append([])
            blocks[-1].append(line.strip())
        before = line or before if fenced else line
    return blocks


def commands(text):
    """What a reader is told to type, without comments."""
    lines = [line for block in code(text) for line in block] + re.findall(r"`([^`\n]+)`", text)
    typed = [re.split(r"#|\s{2,}", line.lstrip("$ "))[0].strip() for line in lines]
    return Counter(line for line in typed if re.match(r"(minigen|python3?) [a-z-]", line))


@pytest.mark.parametrize("lesson", READY, ids=IDS)
def test_every_title_todo_hint_and_message_is_there(lesson):
    table = korean.read_table(korean.table_of(lesson))
    assert korean.complaints(korean.english(lesson), table) == []
    for where, text in sentences(table):
        assert HANGUL.search(text) or not PROSE.search(text), f"{where} is not Korean: {text}"


@pytest.mark.parametrize("lesson", READY, ids=IDS)
def test_the_text_says_the_same_with_the_same_code_and_pictures(lesson):
    path = lesson.text.parent / "ko" / lesson.text.name
    english, text = lesson.text.read_text(encoding="utf-8"), path.read_text(encoding="utf-8")
    assert len(HANGUL.findall(text)) > 0.2 * len(english)
    assert commands(text) == commands(english)
    assert len(code(text)) == len(code(english)), "blocks of code"
    marks = [
        re.findall(r"^#+(?= )", one, re.M)
        for one in (re.sub(r"```.*?```", "", t, flags=re.S) for t in (text, english))
    ]
    assert marks[0] == marks[1], "headings"
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    assert [one.removeprefix("../") for one in pictures] == re.findall(r"!\[[^\]]*\]\(([^)]+)\)", english)
    assert all((path.parent / one).exists() for one in pictures)


@pytest.mark.parametrize("lesson", READY, ids=IDS)
def test_bold_type_ends_where_it_should(lesson):
    """A reader of Markdown takes no `**` for the end after a bracket or a quote and before a particle: `(x)**은`."""
    text = (lesson.text.parent / "ko" / lesson.text.name).read_text(encoding="utf-8")
    inline = [token for token in MarkdownIt().enable("table").parse(text) if token.type == "inline"]
    left = [part.content for one in inline for part in one.children or () if part.type == "text"]
    assert [one for one in left if "**" in one] == []


def test_the_command_line_is_complete():
    table = korean.read_table(korean.PHRASES)
    left = [one for one in korean.complaints(korean.phrases(), table) if not one.startswith("left over")]
    assert left == []  # a verb that is gone may keep its translation for a while
    for where, text in sentences(table):
        assert HANGUL.search(text) or not PROSE.search(text), f"{where} is not Korean: {text}"


def test_a_new_sentence_anywhere_in_the_sources_is_missed(tmp_path, monkeypatch):
    for name in ("cli/new.py", "ops/new.py", "course/law.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(
            f'"""Shown as help, {name}."""\ndescribe(__doc__)\nprint(f"{name} says {{x}} of {{y}}")'
        )
    monkeypatch.setattr(korean, "PACKAGE", tmp_path)
    found = korean.complaints(korean.phrases(), korean.read_table(korean.PHRASES))
    for name in ("cli/new.py", "ops/new.py"):
        assert f"missing: [phrases] '{name} says {{0}} of {{1}}'" in found
        assert f"missing: [phrases] 'Shown as help, {name}.'" in found
    assert not [one for one in found if "law" in one], "its authors' tools speak English"


def test_the_pages_around_the_lessons_name_what_there_is():
    where = course()
    page = (where.root / "exercises" / "ko" / "README.md").read_text(encoding="utf-8")
    rows = [line for line in korean.syllabus(where).splitlines() if not any(name in line for name in NOT_YET)]
    assert set(rows) <= set(page.splitlines()), "run `python -m minigen.course.korean --add`"
    readme = (where.root / "README.ko.md").read_text(encoding="utf-8")
    assert "README.ko.md" in (where.root / "README.md").read_text(encoding="utf-8")
    assert "README.md" in readme
    assert {word.split()[1] for word in commands(readme) if word.startswith("minigen ")} - {"--lang"} <= set(
        VERBS
    )
    for lesson in READY:
        name, minutes = lesson.name, lesson.minutes
        row = rf"\| {lesson.short} \|.*`exercises/{name}.py` \| `solutions/{name}.py` \| {minutes} \|"
        assert re.search(row, readme), f"README.ko.md has no row of {name} with {minutes} minutes"
    for name in re.findall(r"\]\((?!http)([^)#]+)\)", readme):
        assert (where.root / name).exists(), f"README.ko.md links to {name}"


TRIED = [one for one in READY if one.short in ("e01", "e03", "e13")]


@pytest.mark.parametrize("lesson", TRIED, ids=[one.short for one in TRIED])
def test_a_planted_mistake_is_explained_in_korean(lesson, tmp_path, capsys, monkeypatch):
    mistake = load_bank(lesson).mistakes[0]
    path = tmp_path / lesson.exercise.name
    path.write_text(mistake.apply(lesson), encoding="utf-8")
    monkeypatch.setattr("minigen.course.conversation.limit_memory", lambda megabytes: None)
    assert main(["check", f"{lesson.short}:{mistake.hole}", "--file", str(path), "--lang", "ko"]) == 1
    told = capsys.readouterr().out
    assert mistake.says not in told, "the message is still English"
    first = told[told.index("✗") :].splitlines()[1]
    assert len(HANGUL.findall(first)) > 10, first


def test_templates_are_found_wherever_a_message_takes_its_way(tmp_path):
    path = tmp_path / "test_toy.py"
    path.write_text(
        '''"""No message, this one."""
LIKELY = {"x": "the sign is flipped"}
@pytest.mark.hole("not this one", kind="nor this one here")
def test(lesson):
    """Nor this one, of course."""
    says = "is it the sum? it is the mean"
    says += f"; {a:.3f} of {{b}} and {'the last row' if c else 'row'} are wrong"
    assert "words in a comparison" in says, f"double gave {y!r}, expected {2 * x}: " + says
    raise_if(f"{name} is much too {size}")
    text.split("split and never said")
'''
    )
    assert templates(path) == [
        "the sign is flipped",
        "is it the sum? it is the mean",
        "{0}; {1} of {{b}} and {2} are wrong",
        "the last row",
        "double gave {0}, expected {1}: {2}",
        "{0} is much too {1}",
    ]


def test_a_sentence_is_found_by_its_longest_template_and_its_gaps_are_sentences_too():
    say = Phrases(
        {
            "{0} is wrong: {1}": "{0}이(가) 틀림: {1}",
            "{0} is wrong: {1} times the right one": "{0}: 올바른 값의 {1}배",
            "at index {0}": "위치 {0}",
            "expected one of {0}": "{0} 가운데 하나여야 함",
            "the sign is flipped": "부호가 반대",
            "the padded image at {0}": "{0}에서 본 이미지",
            "{{b}} needs {0}, then {1}": "{{b}} 먼저 {1}, 그리고 {0}",
            "{0} has no hole {1}{2}; its holes: {3}": "{0}에는 {1}(이)라는 구멍이 없음{2}: {3}",
            "{0} is not here (get {1})": "{0} 없음({1} 하세요)",
            "and {0} plural{1}": "{1:.0}{0} 복수",
            "it is off, {0}: {1}": "{0}, 다름: {1}",
            "at {0}: yours {1}": "위치 {0}: {1}",
            "not translated yet": "",
        }
    )
    assert say("x is wrong: 3 times the right one") == "x: 올바른 값의 3배"
    assert say("  y is wrong: the sign is flipped\n") == "  y가 틀림: 부호가 반대\n"
    assert (
        say("the padded image at f(2) is wrong: the sign is flipped")
        == "f(2)에서 본 이미지가 틀림: 부호가 반대"
    )
    assert say("at index 3: the sign is flipped (at index 4)") == "위치 3: 부호가 반대 (위치 4)"
    assert say("expected one of [1, 2]") == "[1, 2] 가운데 하나여야 함"
    assert say("{b} needs 1, then 2") == "{b} 먼저 2, 그리고 1"
    assert say("e01 has no hole 'a'; its holes: b") == "e01에는 'a'라는 구멍이 없음: b"
    assert (
        say("e01 has no hole f(x) (at index 2); its holes: b") == "e01에는 f(x)라는 구멍이 없음 (위치 2): b"
    )
    assert say("x is not here (get y), z is not here (get z)") == "x 없음(y 하세요), z 없음(z 하세요)"
    assert say("it is off, at 2: yours 3: the sign is flipped") == "위치 2: 3, 다름: 부호가 반대"
    assert say("and 3 plurals") == "3 복수"
    call = "op(x: (2, 3) float32, axes=(0, 1)): "
    assert say(f"{call}x is wrong: the sign is flipped") == f"{call}x가 틀림: 부호가 반대"
    assert say(f"{call}what nobody knows") == f"{call}what nobody knows"
    for text in ("not translated yet", "", "  ", "(2, 3)", "nobody knows: this, or that"):
        assert say(text) == text


def test_particles_follow_the_sound_before_them():
    pairs = {
        "3은(는) 4은(는) 0.5이(가)": "3은 4는 0.5가",
        "`x`은(는) W을(를) N과(와) L(으)로": "`x`는 W를 N과 L로",
        "(2, 3)이(가) 7(으)로 10(으)로": "(2, 3)이 7로 10으로",
        "기울기(이)라 값(이)라": "기울기라 값이라",
        "(2, 3)이어야 2이어야 float64이어야": "(2, 3)이어야 2여야 float64여야",
        "평균(f(x)를 봅니다)이(가) 함수(1)은(는)": "평균(f(x)를 봅니다)이 함수(1)는",
        "sigmoid은(는)": "sigmoid은(는)",
    }
    for both, chosen_one in pairs.items():
        assert particles(both) == chosen_one


def test_the_language_may_be_asked_for_anywhere(monkeypatch, capsys):
    assert take(["read", "--lang", "ko", "e01"]) == ["read", "e01"]
    assert chosen() == "ko"
    assert take(["--lang=en", "list", "--", "--lang"]) == ["list", "--", "--lang"]
    assert chosen() == "en"
    monkeypatch.setenv("MINIGEN_LANG", "KO")
    take([])
    assert chosen() == "ko"
    for words in (["list", "--lang", "fr"], ["list", "--lang"], ["list", "--lang="]):
        assert main(words) == 2
        err = capsys.readouterr().err
        assert "expected one of en, ko" in err
        assert len(err.splitlines()) == 1
    monkeypatch.setenv("MINIGEN_LANG", "klingon")
    assert main(["list"]) == 2
    assert "MINIGEN_LANG" in capsys.readouterr().err


def test_what_is_missing_or_broken_is_shown_in_english(toy, capsys):
    assert main(["check", "e01", "--lang", "ko"]) == 3
    assert "Toy lesson: sums and a layer" in capsys.readouterr().out
    (toy.root / "exercises" / "ko").mkdir()
    (toy.root / "exercises" / "ko" / "e01_toy.toml").write_text("no = table = at all")
    for words in (["read", "e01"], ["hint", "e01:double"], ["list"], []):
        assert main([*words, "--lang", "ko"]) == 0
    assert "What is twice?" in capsys.readouterr().out


def test_a_lesson_speaks_korean_where_it_can(toy, capsys):
    table = toy.root / "exercises" / "ko" / "e01_toy.toml"
    table.parent.mkdir()
    assert korean.main(["e01"]) == 1
    assert "missing: title" in capsys.readouterr().out
    assert korean.main(["e01", "--add"]) == 1
    text = table.read_text().replace('title = ""', 'title = "장난감"')
    text = text.replace('factor 2?" = ""', 'factor 2?" = "입력의 두 배가 아님: 계수가 2인가요?"')
    table.write_text(text + '"gone {0}" = "없음"\n')
    capsys.readouterr()
    assert korean.main(["e01"]) == 1
    told = capsys.readouterr().out
    assert "left over: [messages] 'gone {0}'" in told
    assert "factor" not in told
    path = toy.lesson("e01").exercise
    path.write_text(
        path.read_text().replace('raise NotImplementedError("double: return twice x")', "return 3 * x")
    )
    assert main(["check", "e01", "--lang", "ko"]) == 1
    told = capsys.readouterr().out
    assert "e01_toy: 장난감" in told
    assert "입력의 두 배가 아님: 계수가 2인가요?" in told
    assert korean.main(["e01", "--add"]) == 1
    assert "두 배가 아님" in table.read_text()
    assert "left over" in table.read_text()


def test_english_costs_nothing():
    script = "import sys, minigen.cli; minigen.cli.main(['--version']); sys.exit('tomllib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True).returncode == 0


def test_an_error_of_the_command_line_is_korean_too(capsys):
    take(["--lang", "ko"])
    assert HANGUL.search(spoken("no verb 'chek': did you mean `minigen check`?"))
    assert main(["chek", "--lang", "ko"]) == 2
    assert HANGUL.search(capsys.readouterr().err)
    with pytest.raises(CourseError, match="no language"):
        choose("fr")


def test_a_wrong_gradient_is_explained_in_korean_as_the_readme_shows(tmp_path, monkeypatch, capsys):
    readme = (course().root / "README.ko.md").read_text(encoding="utf-8")
    shown = readme[readme.index("    $ minigen gradcheck") :].splitlines()[1:7]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mean_rows.py").write_text(
        re.search(r"```python\n(from minigen import op\n.*?)```", readme, re.S)[1]
    )
    assert main(["gradcheck", "mean_rows.py", "--seed", "1", "--lang", "ko"]) == 1

    def words(line):
        return re.sub(r"[0-9][0-9.e+-]*", "#", line.strip())

    assert [words(line) for line in capsys.readouterr().out.splitlines()] == [words(line) for line in shown]
