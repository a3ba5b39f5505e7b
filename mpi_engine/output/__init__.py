"""RECORD: what a run leaves behind, in files that are whole or are not there."""
