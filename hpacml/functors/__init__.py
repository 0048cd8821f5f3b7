"""The mathematics of tensor functors and tensor maps, without text or IR."""
