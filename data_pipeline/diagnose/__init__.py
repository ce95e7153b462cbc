"""Whether a recording will work, and for what."""
