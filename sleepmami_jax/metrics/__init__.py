"""How alike two scorings are: every measure once, for a report, an evaluation and the choice of a threshold."""
