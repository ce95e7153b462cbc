"""From one night and what the model said about it to stages, events, indices and a report."""
