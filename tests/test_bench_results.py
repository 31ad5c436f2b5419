"""The benchmark keeps what it measured: whole files after every case, runs that are interrupted and gone on with."""

from __future__ import annotations

import json

import pytest

from benchmarks import __main__ as command
from benchmarks import rounds
from benchmarks.cases import Work
from benchmarks.results_file import Results, ResumeError

SETTINGS = {"machine": {"cpu": "x", "date": "today"}, "what": "time", "rounds": 3}


def record_of(name, threads, ms=2.0, errors=()):
    """What run_case would give, without running anything"""
    floor = rounds.floor(Work(), {"flops": 1e9, "bytes": 1e9})
    row = {"median_ms": ms, "versions": {"numpy": "2"}}
    known = {"case": name, "threads": threads, "errors": list(errors), "floor": floor, "ratios": {}}
    return known | {"peers": {"minigen": row}}


class Bench:
    """In place of run_case: notes what it was asked for, and stops at one case as Ctrl-C would"""

    def __init__(self, stop_at=None, fail_at=None):
        self.asked, self.stop_at, self.fail_at = [], stop_at, fail_at

    def __call__(self, name, peers, *, threads, rounds, seconds, tiny):
        if (name, threads) == self.stop_at:
            raise KeyboardInterrupt
        self.asked.append((name, threads))
        return record_of(name, threads, errors=["it differs"] if (name, threads) == self.fail_at else ())


def run(monkeypatch, path, bench, *more):
    """The command on three cases, one and two threads, with `bench` in place of the measuring"""
    monkeypatch.setattr(command, "run_case", bench)
    options = ["--peers", "minigen", "--cases", "op_overhead,dense_fb,conv_fb", "--threads", "2,1"]
    return command.main([*options, "--json", str(path), *more])


def cases_in(path):
    return [(r["case"], r["threads"]) for r in json.loads(path.read_text())["records"]]


def test_interrupted_run_keeps_its_cases_and_goes_on(tmp_path, monkeypatch, capsys):
    path = tmp_path / "deep" / "out.json"
    assert run(monkeypatch, path, Bench(stop_at=("dense_fb", 1))) == 130
    done = [("op_overhead", 2), ("dense_fb", 2), ("conv_fb", 2), ("op_overhead", 1)]
    assert cases_in(path) == done
    shown = capsys.readouterr()
    assert "4 of 6 cases are done" in shown.err
    assert "dense_fb" in shown.out, "the table of what is done"
    second = Bench()
    assert run(monkeypatch, path, second, "--resume") == 0
    assert second.asked == [("dense_fb", 1), ("conv_fb", 1)], "only what was missing"
    assert cases_in(path) == [*done, ("dense_fb", 1), ("conv_fb", 1)]


def test_interrupted_before_the_first_case_leaves_the_old_file(tmp_path, monkeypatch, capsys):
    path = tmp_path / "out.json"
    run(monkeypatch, path, Bench())
    assert run(monkeypatch, path, Bench(stop_at=("op_overhead", 2))) == 130
    assert len(cases_in(path)) == 6
    assert run(monkeypatch, tmp_path / "new.json", Bench(stop_at=("op_overhead", 2))) == 130
    assert not (tmp_path / "new.json").exists()


def test_without_resume_everything_is_measured_again(tmp_path, monkeypatch, capsys):
    path = tmp_path / "out.json"
    assert run(monkeypatch, path, Bench(stop_at=("dense_fb", 2))) == 130
    again = Bench()
    assert run(monkeypatch, path, again) == 0
    assert len(again.asked) == 6


def test_resume_repeats_what_failed(tmp_path, monkeypatch, capsys):
    path = tmp_path / "out.json"
    assert run(monkeypatch, path, Bench(fail_at=("dense_fb", 1))) == 1
    again = Bench()
    assert run(monkeypatch, path, again, "--resume") == 0
    assert again.asked == [("dense_fb", 1)]
    assert sorted(cases_in(path)) == sorted(set(cases_in(path))), "no case twice"


def test_table_is_in_the_order_that_was_asked_for(tmp_path, monkeypatch, capsys):
    path = tmp_path / "out.json"
    run(monkeypatch, path, Bench(fail_at=("op_overhead", 2)))
    capsys.readouterr()
    run(monkeypatch, path, Bench(), "--resume")
    lines = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[1:7] == ["op_overhead", "dense_fb", "conv_fb"] * 2


def test_file_is_whole_after_every_case(tmp_path):
    path = tmp_path / "out.json"
    results = Results(path, SETTINGS)
    for i in range(3):
        results.add(record_of("op_overhead", i + 1))
        assert len(json.loads(path.read_text())["records"]) == i + 1
        assert [p.name for p in tmp_path.iterdir()] == ["out.json"], "nothing is left beside it"


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "out.json"
    results = Results(path, SETTINGS)
    results.add(record_of("op_overhead", 1))
    with pytest.raises(TypeError):
        results.add(record_of("dense_fb", 1) | {"broken": object()})
    assert cases_in(path) == [("op_overhead", 1)]


def test_resume_refuses_other_settings(tmp_path):
    path = tmp_path / "out.json"
    Results(path, SETTINGS).add(record_of("op_overhead", 1))
    later = SETTINGS | {"machine": {"cpu": "x", "date": "tomorrow"}}
    assert Results(path, later, resume=True).has("op_overhead", 1), "another day is no other machine"
    for other in ({"rounds": 5}, {"machine": {"cpu": "y", "date": "today"}}, {"what": "memory"}):
        with pytest.raises(ResumeError, match=next(iter(other))):
            Results(path, SETTINGS | other, resume=True)


def test_command_says_why_it_does_not_resume(tmp_path, monkeypatch, capsys):
    path = tmp_path / "out.json"
    run(monkeypatch, path, Bench())
    assert run(monkeypatch, path, Bench(), "--resume", "--rounds", "2") == 2
    assert "its rounds is 9, of this run 2" in capsys.readouterr().err


def test_two_versions_of_a_library_are_both_named(tmp_path):
    results = Results(tmp_path / "out.json", SETTINGS)
    results.add(record_of("op_overhead", 1))
    other = record_of("dense_fb", 1)
    other["peers"]["minigen"]["versions"] = {"numpy": "3"}
    results.add(other)
    results.add(record_of("conv_fb", 1))
    assert results.versions == {"numpy": "2 and 3"}
