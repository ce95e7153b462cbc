"""The same model in PyTorch: a folder that needs nothing of this package, the way there and the way home."""
