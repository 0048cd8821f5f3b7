// says: dsl.py:4:2: the map's type is !hpacml.mapping<8xf32>, but the functor makes it !hpacml.mapping<9xf32>

hpacml.functor @f : [i] = ([i])

func.func @k(%t: memref<9xf32>) {
  %a = hpacml.map to @f(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<8xf32> loc("dsl.py":4:2)
  func.return
}
