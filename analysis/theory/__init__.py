"""What the papers predict, from the experiment alone."""
