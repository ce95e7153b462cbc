"""What is damaged or left over is named."""

import os

from data_pipeline.prepare.verify import verify
from tests.support.nights import write_recordings
from tests.support.preparing import prepared


def test_verify_names_what_is_wrong(tmp_path):
    out = tmp_path / "out"
    prepared(write_recordings(tmp_path / "in", [1, 2, 3, 4]), out)
    (out / "n1.array_record").unlink()
    content = (out / "n2.array_record").read_bytes()
    (out / "n2.array_record").write_bytes(content[:200_000] + b"\0\1\2\3" + content[200_004:])
    (out / "stray.array_record").write_bytes((out / "n3.array_record").read_bytes())
    os.replace(out / "stray.array_record", out / "n4.array_record")  # another night's shard under this name
    (out / "extra.array_record").write_bytes(b"")
    (out / "n9.array_record.half").write_bytes(b"")
    problems = "\n".join(verify(out))
    for expected in (
        "n1.array_record is missing",
        "n2.array_record is damaged",
        "n4.array_record",
        "extra.array_record is not in the manifest",
        "n9.array_record.half was left",
    ):
        assert expected in problems
    assert "n3.array_record" not in problems
    assert "no such manifest" in verify(tmp_path / "in")[0]


def test_verify_finds_a_shard_that_is_whole_but_not_the_manifests(tmp_path):
    out = tmp_path / "out"
    prepared(write_recordings(tmp_path / "in", [1]), out)
    (tmp_path / "in" / "n1.edf").write_text("seed 4")  # as long as seed 1, other samples
    prepared(tmp_path / "in", tmp_path / "other")
    (out / "n1.array_record").write_bytes((tmp_path / "other" / "n1.array_record").read_bytes())
    assert any("SHA-256" in problem for problem in verify(out))
