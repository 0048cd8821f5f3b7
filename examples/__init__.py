"""Complete programs with directives: collect, train, deploy."""
