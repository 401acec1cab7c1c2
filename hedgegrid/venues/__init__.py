"""Exchanges behind the ports: each subpackage speaks one venue's language and translates it, whole, at the edge."""
