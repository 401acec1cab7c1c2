"""``python -m tools.standin``."""

from tools.standin.program import main

main()
