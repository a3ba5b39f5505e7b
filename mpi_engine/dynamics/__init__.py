"""HOW a step goes: neurons, synapses, plasticity, stimulus, recorders, and the block kernel that joins them."""
