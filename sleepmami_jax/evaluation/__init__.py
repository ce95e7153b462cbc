"""How good it is: every metric once, with the field's definition and a baseline beside it."""
