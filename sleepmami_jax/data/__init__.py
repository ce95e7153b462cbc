"""From prepared nights to arrays: what training, evaluation and scoring feed the model."""
