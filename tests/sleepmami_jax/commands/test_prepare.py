"""What `prepare` says at the end, and what it makes an error of."""

import pytest

from sleepmami_jax.cli import make_parser
from tests.support.recordings import write_edf


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    write_edf(tmp_path / "in" / "a.edf", {"C4-M1": (128, "uV")})
    return tmp_path / "in"


def run(folder, out, *words):
    args = make_parser().parse_args(["prepare", str(folder), "--out", str(out), "--workers", "1", *words])
    return args.run(args)


def test_what_is_not_used_is_named_and_strictly_an_error(folder, tmp_path, capsys):
    assert run(folder, tmp_path / "clean", "--strict") == 0
    (folder / "a.dat").write_bytes(b"\xff")
    (folder / "a.csv").write_text("when,what\n0,N2\n")
    (folder / "demographics.csv").write_text("night_id,sex\na,F\nb,M\n")
    capsys.readouterr()
    assert run(folder, tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "    a: Scoring that is not used, a.csv: " in said
    assert "not used  1 files: a.dat" in said
    assert "remarks   demographics.csv: 1 of 2 rows match no recording" in said
    assert run(folder, tmp_path / "strict", "--strict") == 1
    said = capsys.readouterr()
    assert "scoring: 1" in said.out and "3 to be seen to" in said.err
