"""The commands of `sleepmami`, a file each: what `--help` says of it, `arguments(parser)`, and `run(args)`, which gives
the exit status. What a command needs is imported when it runs, so that they can be listed at once.
"""

RESEARCH_USE = "Research use only: not a medical device, not for diagnosis or treatment."
