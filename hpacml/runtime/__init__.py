"""The runtime of compiled code: how it is entered and what it calls, arrays, models, databases, reports, GPUs."""
