"""A rehearsal with a real exchange's wire: the bot in testnet mode against the stand-in, over real sockets."""
