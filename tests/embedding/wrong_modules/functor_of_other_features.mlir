// says: dsl.py:1:1: 

hpacml.functor @f : [i, 0:3] = ([i - 1], [i + 1]) loc("dsl.py":1:1)
