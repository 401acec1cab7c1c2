"""The worlds a bot can live in: an exchange in the process, live prices with simulated fills, or a real exchange."""
