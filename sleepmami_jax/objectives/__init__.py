"""What pretraining minimises, over the global batch; called inside `shard_map`."""
