// A range whose ends are one value is known to be empty, though the type of the map does not say so.

// RUN: hpacml-opt %s -p hpacml-resolve-slices | filecheck %s

hpacml.functor @point : [i] = ([i])
func.func @empty(%t: memref<10xf32>, %n: index) {
  %io = hpacml.map to @point(%t[%n : %n]) : memref<10xf32> -> !hpacml.mapping<?xf32>
  %x = hpacml.tensor %io : !hpacml.mapping<?xf32> -> memref<?xf32>
  hpacml.gather %io into %x : !hpacml.mapping<?xf32>, memref<?xf32>
  func.return
}

// CHECK-LABEL: func.func @empty
// CHECK:         %x = memref.alloc(%{{.*}}) {hpacml.may_alias} : memref<?xf32>
