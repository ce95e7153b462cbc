"""One run: its phases, its step, and the loop around it."""
