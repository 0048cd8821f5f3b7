// The memory that the threads of a block share is no array of a region: a kernel has its own.

// RUN: not hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-gpu 2>&1 | filecheck %s

hpacml.functor @point : [i] = ([i])

func.func @gathered(%u: memref<?xf64, 3>, %x: memref<?xf64>, %n: index) {
  %a = hpacml.map to @point(%u[0 : %n]) : memref<?xf64, 3> -> !hpacml.mapping<?xf64>
  hpacml.gather %a into %x : !hpacml.mapping<?xf64>, memref<?xf64>
  func.return
}

// CHECK: an array of type memref<?xf64, strided<[1]>, 3 : i64> cannot be passed to a kernel
