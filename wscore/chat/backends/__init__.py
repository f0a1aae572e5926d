"""Stores of the chat's logs: `base` has the contract, the other modules satisfy it."""
