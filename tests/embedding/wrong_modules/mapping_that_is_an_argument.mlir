// passes: hpacml-expand-ml
// says: dsl.py:5:3: hpacml.gather takes a mapping that is an argument of a block or function

func.func @k(%a: !hpacml.mapping<9xf32>, %x: memref<9xf32>) {
  hpacml.gather %a into %x : !hpacml.mapping<9xf32>, memref<9xf32> loc("dsl.py":5:3)
  func.return
}
