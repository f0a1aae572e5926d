"""Programs to copy from: ``python -m wscore.examples.NAME``; each imports what it shows."""
