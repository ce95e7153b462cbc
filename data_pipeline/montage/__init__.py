"""Which signal fills which canonical channel: what the labels say, and what a laboratory says itself."""
