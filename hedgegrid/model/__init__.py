"""Frozen values that the whole house speaks of: instruments, markets, orders, fills, positions, grids."""
