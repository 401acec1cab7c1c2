"""The whole bot in virtual time, under faults, from one seed."""
