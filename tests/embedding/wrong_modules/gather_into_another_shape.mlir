// says: dsl.py:5:3: 

hpacml.functor @f : [i] = ([i])

func.func @k(%t: memref<9xf32>, %x: memref<8xf32>) {
  %a = hpacml.map to @f(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  hpacml.gather %a into %x : !hpacml.mapping<9xf32>, memref<8xf32> loc("dsl.py":5:3)
  func.return
}
