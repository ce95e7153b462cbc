"""Many nights scored at once: found, scored by processes that resume, and told in one table and one page."""
