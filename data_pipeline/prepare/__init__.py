"""Recordings in, shards out: one run, one night of it, its journal, its workers."""
