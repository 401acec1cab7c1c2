"""Other people's backtests trading the same grid, each in an environment of its own; nothing here imports hedgegrid."""
