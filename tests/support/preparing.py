"""Preparing the recordings of `tests.support.nights`."""

from data_pipeline.prepare.run import prepare
from tests.support.nights import load_random_night


def prepared(folder, out, **options):
    return prepare([folder], out, load=load_random_night, **options)
