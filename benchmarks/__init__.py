"""How fast and how small: workloads, the same networks in other simulators, the machine's floor, and the history."""
