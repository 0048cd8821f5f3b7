"""Networks as data: their layers and sizes, without weights and without Torch."""
