"""A bot that is about to be killed: it appends and commits for ever, and says which rows are durable."""

import asyncio
import sys
from pathlib import Path

from tests.journal.life import Life, opened


async def main(path: Path, seed: int, *, threaded: bool) -> None:
    """Go on from where the journal stands."""
    journal = opened(path, threaded=threaded)
    life = Life(seed, epoch=journal.epoch)
    life.trade_id = max(journal.fill_cursors().values(), default=0)
    for number, message in enumerate(life.run(1_000_000)):
        journal.append(message)
        if number % 3 == 0:
            await journal.commit()
            sys.stdout.write(f"{journal.counts()['rows']}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), threaded=sys.argv[3] == "thread"))
