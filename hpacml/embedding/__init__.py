"""The compiler for other compilers: functions of modules that they have made."""
