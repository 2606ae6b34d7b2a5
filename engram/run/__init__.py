"""What runs: the processes of a fleet, and all of them in one."""
