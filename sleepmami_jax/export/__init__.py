"""The forms in which a trained model leaves us."""
