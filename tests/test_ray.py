"""Preparation on a Ray cluster of two nodes: the same bytes as here, and a dead process or node loses no night."""

import pytest

from data_pipeline.prepare import prepare
from tests.loaders import dies_twice_at_two, stays_on_the_doomed_node, stops_for_want_of_space
from tests.nights import files, load_random_night, write_recordings

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]' (340 MB)")


@pytest.fixture(scope="module")
def cluster():
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    yield cluster
    cluster.shutdown()


def test_a_cluster_gives_the_same_bytes(tmp_path, cluster):
    folder = write_recordings(tmp_path / "in", [1, 2, 3, "bad", "bug"])
    prepare([folder], tmp_path / "cluster", ray=cluster.address, load=load_random_night)
    prepare([folder], tmp_path / "here", load=load_random_night)
    assert files(tmp_path / "cluster") == files(tmp_path / "here")


def test_a_night_whose_process_dies_is_tried_elsewhere_then_reported(tmp_path, cluster):
    folder = write_recordings(tmp_path / "in", [1, 2, 3])
    summary = prepare([folder], tmp_path / "out", ray=cluster.address, load=dies_twice_at_two)
    assert [night.night_id for night in summary.nights] == ["n1", "n2"]
    assert [(r.night_id, "died 3 times" in r.reason) for r in summary.rejected] == [("n3", True)]


def test_output_that_cannot_be_written_stops_the_cluster(tmp_path, cluster):
    folder = write_recordings(tmp_path / "in", [1, 2])
    with pytest.raises(OSError, match="cannot be written"):
        prepare([folder], tmp_path / "out", ray=cluster.address, load=stops_for_want_of_space)


def test_a_node_that_dies_gives_its_night_to_another(tmp_path, cluster):
    folder = write_recordings(tmp_path / "in", range(1, 6))
    doomed = cluster.add_node(num_cpus=1)
    (folder / "doomed").write_text(doomed.node_id)
    killed = []

    def progress(done, total, night_id):
        if not killed:
            killed.append(night_id)
            cluster.remove_node(doomed, allow_graceful=False)

    summary = prepare(
        [folder], tmp_path / "out", ray=cluster.address, load=stays_on_the_doomed_node, progress=progress
    )
    assert killed and len(summary.nights) == 5 and not summary.rejected
    prepare([folder], tmp_path / "here", load=load_random_night)
    assert files(tmp_path / "out") == files(tmp_path / "here")
