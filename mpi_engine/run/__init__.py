"""WHEN things happen: the loop over blocks, the watcher, and the run directory."""
