"""An exchange in the process: markets to walk (tapes), matching, its own account.

Invariant: nothing here reads a clock or an ambient source of randomness; a market is a file or a seed, and the same one
gives the same steps on every machine.
"""
