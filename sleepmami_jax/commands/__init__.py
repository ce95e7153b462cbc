"""The commands of `sleepmami`."""
