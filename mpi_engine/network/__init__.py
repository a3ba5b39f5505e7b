"""WHO is connected to whom, and where they live: partition, random streams, connectivity, the spike exchange."""
