"""The C ABI between compiled code and the runtime."""
