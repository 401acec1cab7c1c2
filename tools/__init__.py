"""Development tools that check, build and measure the project; its wheel leaves them out."""
