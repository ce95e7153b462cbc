"""Recordings in, shards out.

`run` is the whole: which nights there are (`data_pipeline.cohorts`), who is held out (`splits`), which are done already
(`journal`). It gives the others to processes of this machine (`workers`) or of a cluster (`cluster`), each of which
makes one night into a shard (`night`), and tells a person what came of it (`summary`). `verify` reads all of it again.
"""
