"""hedgegrid: a hedge-mode grid bot for USDT-margined perpetual futures.

Invariant: importing the package does nothing but name its version; `hedgegrid.app` wires the parts.
"""

__version__ = "0.3.0"
