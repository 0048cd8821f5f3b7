// A tensor scattered through two maps: the second one's elements are written last, so the two are not one sweep.

// RUN: hpacml-opt %s -p hpacml-resolve-slices,hpacml-fuse-gather-concat | filecheck %s

hpacml.functor @point : [i] = ([i])

func.func @twice(%y: memref<9xf32>, %t: memref<20xf32>) {
  %a = hpacml.map from @point(%t[0 : 9]) : memref<20xf32> -> !hpacml.mapping<9xf32>
  %b = hpacml.map from @point(%t[1 : 10]) : memref<20xf32> -> !hpacml.mapping<9xf32>
  hpacml.scatter %y into %a : memref<9xf32>, !hpacml.mapping<9xf32>
  hpacml.scatter %y into %b : memref<9xf32>, !hpacml.mapping<9xf32>
  func.return
}

// CHECK:      hpacml.fused_scatter %t_1 from %y
// CHECK-NEXT: hpacml.fused_scatter %t_2 from %y
