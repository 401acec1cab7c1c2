"""A stand-in for Binance USD-M futures on loopback: the real wire, so that no test needs the internet."""
