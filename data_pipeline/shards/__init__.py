"""Prepared nights on disk: records, the manifest, and how samples are scaled."""
