// The same IR in every process, whatever the hash seed: the cache of compiled code is keyed by it.

// RUN: env PYTHONHASHSEED=1 hpacml-opt %s -p hpacml-resolve-slices > %t.1
// RUN: env PYTHONHASHSEED=2 hpacml-opt %s -p hpacml-resolve-slices > %t.2
// RUN: env PYTHONHASHSEED=3 hpacml-opt %s -p hpacml-resolve-slices > %t.3
// RUN: env PYTHONHASHSEED=4 hpacml-opt %s -p hpacml-resolve-slices > %t.4
// RUN: diff %t.1 %t.2
// RUN: diff %t.1 %t.3
// RUN: diff %t.1 %t.4

hpacml.functor @mixed : [i, 0:4] = ([i], [i], [i], [0])

func.func @mixed_map(%a: memref<?xf32>, %h: memref<?xf16>, %g: memref<?xbf16>, %u: memref<?xi8>, %n: index) {
  %m = hpacml.map to @mixed(%h[0 : %n], %g[0 : %n : 2], %u[2 : 3], %a[0]) : memref<?xf16>, memref<?xbf16>, memref<?xi8>, memref<?xf32> -> !hpacml.mapping<?x4xf32>
  %x = hpacml.tensor fresh %m : !hpacml.mapping<?x4xf32> -> memref<?x4xf32>
  hpacml.gather %m into %x : !hpacml.mapping<?x4xf32>, memref<?x4xf32>
  func.return
}
