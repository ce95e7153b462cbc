"""Whether what a model says of a night is to be believed: looks at its signals, and at what it said of them."""
