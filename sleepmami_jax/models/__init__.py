"""The two encoders and what they are made of; they know nothing of tasks, objectives or scoring."""
