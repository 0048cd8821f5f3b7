// Views through indices join the sweep of the others, and are never taken for the tensor itself.

// RUN: hpacml-opt %s -p hpacml-fuse-gather-concat --split-input-file | filecheck %s
// RUN: hpacml-opt %s -p hpacml-resolve-slices,hpacml-fuse-gather-concat --split-input-file | filecheck %s --check-prefix MAPS

func.func @mixed(%rows: memref<?x3x?xf32, strided<[0, 1, 3]>>, %idx: memref<?x3xi32, strided<[1, 0]>>, %d: memref<?xf64>, %x: memref<?x4xf32>, %c0: index, %c3: index) {
  %v = hpacml.indirect %rows[%idx] : memref<?x3x?xf32, strided<[0, 1, 3]>>[memref<?x3xi32, strided<[1, 0]>>] -> !hpacml.indirect<?x3xf32>
  hpacml.pack %v into %x at %c0 features [1] : !hpacml.indirect<?x3xf32>, memref<?x4xf32>
  hpacml.pack %d into %x at %c3 features [1] : memref<?xf64>, memref<?x4xf32>
  "test.op"() : () -> ()
  hpacml.unpack %d from %x at %c3 features [1] : memref<?xf64>, memref<?x4xf32>
  hpacml.unpack %v from %x at %c0 features [1] : !hpacml.indirect<?x3xf32>, memref<?x4xf32>
  func.return
}

// CHECK-LABEL: func.func @mixed(
// CHECK-NEXT:    %v = hpacml.indirect %rows[%idx]
// CHECK-NEXT:    hpacml.fused_gather %v, %d into %x at %c0, %c3 features [1] : !hpacml.indirect<?x3xf32>, memref<?xf64> -> memref<?x4xf32>
// CHECK-NEXT:    "test.op"() : () -> ()
// CHECK-NEXT:    hpacml.fused_scatter %d, %v from %x at %c3, %c0 features [1] : memref<?xf64>, !hpacml.indirect<?x3xf32> -> memref<?x4xf32>
// CHECK-NEXT:    func.return

// -----

func.func @alone(%rows: memref<4x8xf32, strided<[0, 1]>>, %idx: memref<4xi32>) {
  %c0 = arith.constant 0 : index
  %v = hpacml.indirect %rows[%idx] : memref<4x8xf32, strided<[0, 1]>>[memref<4xi32>] -> !hpacml.indirect<4xf32>
  %x = memref.alloc() {hpacml.may_alias} : memref<4xf32>
  hpacml.pack %v into %x at %c0 features [] : !hpacml.indirect<4xf32>, memref<4xf32>
  "test.op"(%x) : (memref<4xf32>) -> ()
  memref.dealloc %x : memref<4xf32>
  func.return
}

// CHECK-LABEL: func.func @alone(
// CHECK:         [[X:%.*]] = memref.alloc() {{.*}}: memref<4xf32>
// CHECK-NEXT:    hpacml.fused_gather %v into [[X]] at %c0 features [] : !hpacml.indirect<4xf32> -> memref<4xf32>
// CHECK-NEXT:    "test.op"([[X]])
// CHECK-NEXT:    memref.dealloc [[X]]

// -----

// From maps: one sweep reads all slices, and then whether an index was bad; what is written is checked before.

hpacml.functor @three : [i, 0:3] = ([i], [i], [i])

func.func @gather(%x: memref<9xf32>, %y: memref<8xf32>, %a: memref<5xi64>) {
  %m = hpacml.map to @three(%x[*%a[0 : 5]], %y[0 : 5], %x[*%a[0 : 5]]) : memref<9xf32>, memref<5xi64>, memref<8xf32>, memref<9xf32>, memref<5xi64> -> !hpacml.mapping<5x3xf32>
  %t = hpacml.tensor %m : !hpacml.mapping<5x3xf32> -> memref<5x3xf32>
  hpacml.gather %m into %t : !hpacml.mapping<5x3xf32>, memref<5x3xf32>
  func.return
}

// MAPS-LABEL: func.func @gather(
// MAPS:         [[V:%.*]] = hpacml.indirect
// MAPS-NEXT:    [[Y:%.*]] = memref.reinterpret_cast %y
// MAPS:         [[W:%.*]] = hpacml.indirect
// MAPS-NEXT:    hpacml.fused_gather [[V]], [[Y]], [[W]] into %t at %{{\d+}}, %{{\d+}}, %{{\d+}} features [1] : !hpacml.indirect<5xf32>, memref<5xf32, strided<[1]>>, !hpacml.indirect<5xf32> -> memref<5x3xf32>
// MAPS-NEXT:    hpacml_rt.none_bad
// MAPS:         hpacml_rt.check_map
// MAPS-NEXT:    memref.dealloc %t

func.func @scatter(%x: memref<9xf32>, %y: memref<8xf32>, %z: memref<8xf32>, %a: memref<5xi64>) {
  %m = hpacml.map from @three(%x[*%a[0 : 5]], %y[0 : 5], %z[*%a[0 : 5]]) : memref<9xf32>, memref<5xi64>, memref<8xf32>, memref<8xf32>, memref<5xi64> -> !hpacml.mapping<5x3xf32>
  %t = hpacml.tensor %m : !hpacml.mapping<5x3xf32> -> memref<5x3xf32>
  "test.op"(%t) : (memref<5x3xf32>) -> ()
  hpacml.scatter %t into %m : memref<5x3xf32>, !hpacml.mapping<5x3xf32>
  func.return
}

// Marks for each array that is written through indices, none for the other.
// MAPS-LABEL: func.func @scatter(
// MAPS:         "test.op"
// MAPS:         hpacml_rt.in_bounds
// MAPS:         memref.alloc() : memref<9xi8>
// MAPS:         hpacml_rt.distinct
// MAPS:         hpacml_rt.check_map
// MAPS:         memref.alloc() : memref<8xi8>
// MAPS:         hpacml_rt.distinct
// MAPS-NOT:     memref.alloc
// MAPS:         hpacml_rt.check_map
// MAPS:         [[V:%.*]] = hpacml.indirect {{.*}} -> !hpacml.indirect<5xf32>
// MAPS-NEXT:    [[Y:%.*]] = memref.reinterpret_cast %y
// MAPS:         [[W:%.*]] = hpacml.indirect {{.*}} -> !hpacml.indirect<5xf32>
// MAPS-NEXT:    hpacml.fused_scatter [[V]], [[Y]], [[W]] from %t at
