// says: dsl.py:1:1: 

hpacml.functor @f : [i] = ([i + 99999999999999999999]) loc("dsl.py":1:1)
