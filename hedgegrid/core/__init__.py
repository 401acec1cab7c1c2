"""Pure decisions: no I/O, no clock, no randomness, no logging, no asyncio.

Two kinds of module live here. The *hot path* (fixed, regime, grid, policy, funding, exits, diff, ledger, matching,
risk, pipeline) is a subset of Python that runs interpreted in ``run`` and compiled in ``backtest``, bit-equal. The
rest (order_state, client_id, permission, health, reconcile) is plain Python over frozen values.
"""
