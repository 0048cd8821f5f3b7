"""The compiler for others: functions of modules that compilers have made, and libraries for C and Fortran."""
