// passes: hpacml-bufferize
// says: dsl.py:4:3: f(t[0 : 9]) writes a tensor, which only a region gives anew: scatter into memory

hpacml.functor @f : [i] = ([i])

func.func @k(%t: tensor<9xf32>, %x: memref<9xf32>) {
  %a = hpacml.map from @f(%t[0 : 9]) : tensor<9xf32> -> !hpacml.mapping<9xf32> loc("dsl.py":4:3)
  hpacml.scatter %x into %a : memref<9xf32>, !hpacml.mapping<9xf32>
  func.return
}
