// says: dsl.py:4:2: the array 'i' is used as indices, but has elements of f32: indices are integers

hpacml.functor @f : [i] = ([i])

func.func @k(%t: memref<9xf32>, %i: memref<3xf32>) {
  %a = hpacml.map to @f(%t[*%i[0 : 3]]) : memref<9xf32>, memref<3xf32> -> !hpacml.mapping<3xf32> loc("dsl.py":4:2)
  func.return
}
