"""What a model takes: FLOPs, memory, collectives, and the step compiled for chips that are not here."""
