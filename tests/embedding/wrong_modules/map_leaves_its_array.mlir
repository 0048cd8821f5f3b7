// says: dsl.py:4:2: the entry 'i' of the slice [i] reaches index 9 in dimension 0 of 't', which has 9 elements

hpacml.functor @f : [i] = ([i])

func.func @k(%t: memref<9xf32>) {
  %a = hpacml.map to @f(%t[0 : 10]) : memref<9xf32> -> !hpacml.mapping<10xf32> loc("dsl.py":4:2)
  func.return
}
