"""The experiments that the package itself runs: the demonstration, and the smallest of each kind."""
