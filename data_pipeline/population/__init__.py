"""Whose nights a folder holds, and whether two folders are alike."""
