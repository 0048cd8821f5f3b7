// What only the values tell: both ends of the range are the same, so it is empty.

// RUN: not hpacml-opt %s -p hpacml-resolve-slices 2>&1 | filecheck %s

hpacml.functor @pair : [i, 0:2] = ([i], [i])

func.func @refused(%t: memref<10xf32>, %n: index) {
  %out = hpacml.map from @pair(%t[%n : %n], %t[0 : 5]) : memref<10xf32>, memref<10xf32> -> !hpacml.mapping<?x2xf32>
  %y = hpacml.tensor %out : !hpacml.mapping<?x2xf32> -> memref<?x2xf32>
  hpacml.scatter %y into %out : memref<?x2xf32>, !hpacml.mapping<?x2xf32>
  func.return
}

// CHECK: the symbol 'i' runs over 0 values in dimension 0 of 't' but over 5 in dimension 0 of 't'
