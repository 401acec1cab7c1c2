"""What people and dashboards see of a run: metrics, HTTP, logs, the terminal and the summary.

Invariants: consumers only: nothing here decides, sends or waits on an actor, and without it the bot trades the same;
a figure that is not known is absent, never zero, and every published figure has an age.
"""
