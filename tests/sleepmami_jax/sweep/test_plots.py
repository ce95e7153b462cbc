"""Results as plots."""

from __future__ import annotations

import itertools

from sleepmami_jax.sweep.plan import Plot
from sleepmami_jax.sweep.plots import write_plots
from sleepmami_jax.sweep.result import Result


def test_words_and_legend_of_a_plot_can_be_read(tmp_path, monkeypatch):
    from matplotlib import pyplot

    nets = ["a net with a long name", "another net with a long name", *(f"net number {i}" for i in range(9))]
    results = {
        f"{net}-{boat}": Result({"net": net, "boat": boat}, {"fish": float(i), "crabs_f1": i % 3}, 1.0)
        for i, (net, boat) in enumerate(itertools.product(nets, ("rowed", "sailed")))
    }
    drawn = []
    monkeypatch.setattr(pyplot, "close", drawn.append)
    write_plots((Plot("net", ("fish", "crabs_f1"), "boat", "Nets of long names"),), results, tmp_path)
    (figure,) = drawn
    figure.canvas.draw()  # places are those of the last drawing, which had more dots an inch
    (first, second), (legend,) = figure.axes, figure.legends
    words = first.get_yticklabels()
    assert [word.get_text() for word in words] == nets and second.get_xlabel() == "crabs F1"
    shown = [*words, first.patch, second.patch, legend, *figure.texts]
    boxes = [part.get_window_extent() for part in shown]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 for box in boxes)
