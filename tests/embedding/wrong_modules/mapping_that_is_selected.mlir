// passes: hpacml-expand-ml
// says: dsl.py:6:3: arith.select takes a mapping, which only operations of hpacml do

hpacml.functor @f : [i] = ([i])

func.func @k(%t: memref<9xf32>, %u: memref<9xf32>, %c: i1, %x: memref<9xf32>) {
  %a = hpacml.map to @f(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  %b = hpacml.map to @f(%u[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  %s = arith.select %c, %a, %b : !hpacml.mapping<9xf32> loc("dsl.py":6:3)
  hpacml.gather %s into %x : !hpacml.mapping<9xf32>, memref<9xf32>
  func.return
}
