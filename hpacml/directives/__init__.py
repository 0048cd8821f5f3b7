"""The directive language: text to dataclasses."""
