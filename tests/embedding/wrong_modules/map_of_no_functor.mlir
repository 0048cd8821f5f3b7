// says: dsl.py:4:2: @g is not an hpacml.functor

hpacml.functor @f : [i] = ([i])

func.func @k(%t: memref<9xf32>) {
  %a = hpacml.map to @g(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32> loc("dsl.py":4:2)
  func.return
}
