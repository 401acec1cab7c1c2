"""The second execution of the one decision core: the hot path compiled, over data in memory."""
