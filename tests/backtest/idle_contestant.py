"""A contestant for the tests of the bench: it trades nothing, and says how many events it saw; MODE misbehaves."""

import os

from tools.bench.peers.measuring import Case, Fills, main


class Idle:
    """It counts events as entries; in MODE=unsteady it counts differently each time."""

    name = "idle"
    packages: tuple[str, ...] = ("numpy",)
    notes: tuple[str, ...] = ("it does nothing",)

    def __init__(self, case: Case) -> None:
        if os.environ.get("MODE") == "broken":
            raise RuntimeError("no grid today")
        self.case = case
        self.runs = 0

    def prepare(self) -> None:
        """Nothing needs laying out."""

    def run(self) -> Fills:
        """Count."""
        self.runs += os.environ.get("MODE") == "unsteady"
        return Fills(entries=self.case.events + self.runs, take_profits=0, stops=0)


if __name__ == "__main__":
    main(Idle)
