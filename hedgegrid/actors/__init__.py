"""The actors: each receives, calls the core, and sends. What is decided is decided in ``hedgegrid.core``."""
