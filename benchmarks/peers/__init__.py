"""The workloads in other simulators, as their users write them; run in an environment of their own."""
