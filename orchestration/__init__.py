"""Many runs on many machines, and the `steelyard` command: starts engines as child processes, and never is one."""
