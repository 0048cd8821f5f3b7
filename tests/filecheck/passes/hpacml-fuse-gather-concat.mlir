// RUN: hpacml-opt %s -p hpacml-fuse-gather-concat --split-input-file | filecheck %s

// Packs of one tensor become one sweep; other operations end it, and so do other tensors.

func.func @gather(%a: memref<?xf32>, %b: memref<?x3xf32>, %c: memref<?xf64>, %x: memref<?x5xf32>, %y: memref<?x5xf32>,
                  %c0: index, %c1: index, %c4: index) {
  hpacml.pack %a into %x at %c0 features [1] : memref<?xf32>, memref<?x5xf32>
  hpacml.pack %b into %x at %c1 features [1] : memref<?x3xf32>, memref<?x5xf32>
  hpacml.pack %c into %x at %c4 features [1] : memref<?xf64>, memref<?x5xf32>
  hpacml.pack %a into %y at %c0 features [1] : memref<?xf32>, memref<?x5xf32>
  "test.op"() : () -> ()
  hpacml.pack %b into %y at %c1 features [1] : memref<?x3xf32>, memref<?x5xf32>
  func.return
}

// CHECK-LABEL: func.func @gather(%a: memref<?xf32>, %b: memref<?x3xf32>, %c: memref<?xf64>, %x: memref<?x5xf32>, %y: memref<?x5xf32>, %c0: index, %c1: index, %c4: index) {
// CHECK-NEXT:    hpacml.fused_gather %a, %b, %c into %x at %c0, %c1, %c4 features [1] : memref<?xf32>, memref<?x3xf32>, memref<?xf64> -> memref<?x5xf32>
// CHECK-NEXT:    hpacml.fused_gather %a into %y at %c0 features [1] : memref<?xf32> -> memref<?x5xf32>
// CHECK-NEXT:    "test.op"() : () -> ()
// CHECK-NEXT:    hpacml.fused_gather %b into %y at %c1 features [1] : memref<?x3xf32> -> memref<?x5xf32>
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

// -----

// Unpacks alike; a pack is no unpack.

func.func @scatter(%a: memref<?xf32>, %b: memref<?x3xf32>, %x: memref<?x4xf32>, %c0: index, %c1: index) {
  hpacml.unpack %a from %x at %c0 features [1] : memref<?xf32>, memref<?x4xf32>
  hpacml.unpack %b from %x at %c1 features [1] : memref<?x3xf32>, memref<?x4xf32>
  hpacml.pack %a into %x at %c0 features [1] : memref<?xf32>, memref<?x4xf32>
  func.return
}

// CHECK-LABEL: func.func @scatter(%a: memref<?xf32>, %b: memref<?x3xf32>, %x: memref<?x4xf32>, %c0: index, %c1: index) {
// CHECK-NEXT:    hpacml.fused_scatter %a, %b from %x at %c0, %c1 features [1] : memref<?xf32>, memref<?x3xf32> -> memref<?x4xf32>
// CHECK-NEXT:    hpacml.fused_gather %a into %x at %c0 features [1] : memref<?xf32> -> memref<?x4xf32>
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

// -----

// Packed memory of known shape is the tensor itself: nothing is copied.

func.func @packed(%t: memref<8x3xf32, strided<[3, 1], offset: 6>>) {
  %c0 = arith.constant 0 : index
  %x = memref.alloc() {hpacml.may_alias} : memref<8x3xf32>
  hpacml.pack %t into %x at %c0 features [1] : memref<8x3xf32, strided<[3, 1], offset: 6>>, memref<8x3xf32>
  "test.op"(%x) : (memref<8x3xf32>) -> ()
  memref.dealloc %x : memref<8x3xf32>
  func.return
}

// CHECK-LABEL: func.func @packed(%t: memref<8x3xf32, strided<[3, 1], offset: 6>>) {
// CHECK-NEXT:    %c0 = arith.constant 0 : index
// CHECK-NEXT:    %t_1 = memref.reinterpret_cast %t to offset: [6], sizes: [8, 3], strides: [3, 1] : memref<8x3xf32, strided<[3, 1], offset: 6>> to memref<8x3xf32, strided<[3, 1], offset: 6>>
// CHECK:         "test.op"(%t_1) : (memref<8x3xf32, strided<[3, 1], offset: 6>>) -> ()
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

// -----

// ... written too, and with the features as several dimensions, or in front of a sweep of which the memory is packed.

func.func @packed_written(%t: memref<8x6xf32>, %u: memref<5x4xf32, strided<[1, 5]>>) {
  %c0 = arith.constant 0 : index
  %x = memref.alloc() {hpacml.may_alias} : memref<8x2x3xf32>
  %y = memref.alloc() {hpacml.may_alias} : memref<4x5xf32>
  "test.op"(%x, %y) : (memref<8x2x3xf32>, memref<4x5xf32>) -> ()
  hpacml.unpack %t from %x at %c0 features [1, 2] : memref<8x6xf32>, memref<8x2x3xf32>
  hpacml.unpack %u from %y at %c0 features [0] : memref<5x4xf32, strided<[1, 5]>>, memref<4x5xf32>
  memref.dealloc %x : memref<8x2x3xf32>
  memref.dealloc %y : memref<4x5xf32>
  func.return
}

// CHECK-LABEL: func.func @packed_written(%t: memref<8x6xf32>, %u: memref<5x4xf32, strided<[1, 5]>>) {
// CHECK-NEXT:    %c0 = arith.constant 0 : index
// CHECK-NEXT:    %t_1 = memref.reinterpret_cast %t to offset: [0], sizes: [8, 2, 3], strides: [6, 3, 1] : memref<8x6xf32> to memref<8x2x3xf32, strided<[6, 3, 1]>>
// CHECK:         %u_1 = memref.reinterpret_cast %u to offset: [0], sizes: [4, 5], strides: [5, 1] : memref<5x4xf32, strided<[1, 5]>> to memref<4x5xf32, strided<[5, 1]>>
// CHECK:         "test.op"(%t_1, %u_1) : (memref<8x2x3xf32, strided<[6, 3, 1]>>, memref<4x5xf32, strided<[5, 1]>>) -> ()
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

// -----

// Whether memory is packed may be known at run time only. Then a copy is made where it is needed.

func.func @perhaps(%t: memref<?x3xf32, strided<[?, 1], offset: ?>>, %n: index) {
  %c0 = arith.constant 0 : index
  %x = memref.alloc(%n) {hpacml.may_alias} : memref<?x3xf32>
  hpacml.pack %t into %x at %c0 features [1] : memref<?x3xf32, strided<[?, 1], offset: ?>>, memref<?x3xf32>
  "test.op"(%x) : (memref<?x3xf32>) -> ()
  memref.dealloc %x : memref<?x3xf32>
  func.return
}

// CHECK-LABEL: func.func @perhaps(%t: memref<?x3xf32, strided<[?, 1], offset: ?>>, %n: index) {
// CHECK-NEXT:    %c0 = arith.constant 0 : index
// CHECK:         %t_1 = memref.reinterpret_cast %t to offset: [%{{.*}}], sizes: [%n, 3], strides: [3, 1] : memref<?x3xf32, strided<[?, 1], offset: ?>> to memref<?x3xf32, strided<[3, 1], offset: ?>>
// CHECK:         [[PACKED:%\d+]] = arith.cmpi eq, %{{.*}}, %{{.*}} : index
// CHECK:         [[SIZE:%\d+]] = arith.select [[PACKED]], %{{.*}}, %n : index
// CHECK-NEXT:    %x = memref.alloc([[SIZE]]) : memref<?x3xf32>
// CHECK-NEXT:    %x_1 = scf.if [[PACKED]] -> (memref<?x3xf32, strided<[3, 1], offset: ?>>) {
// CHECK-NEXT:      scf.yield %t_1 : memref<?x3xf32, strided<[3, 1], offset: ?>>
// CHECK-NEXT:    } else {
// CHECK-NEXT:      hpacml.fused_gather %t into %x at %c0 features [1] : memref<?x3xf32, strided<[?, 1], offset: ?>> -> memref<?x3xf32>
// CHECK-NEXT:      [[COPY:%\d+]] = "memref.cast"(%x) : (memref<?x3xf32>) -> memref<?x3xf32, strided<[3, 1], offset: ?>>
// CHECK-NEXT:      scf.yield [[COPY]] : memref<?x3xf32, strided<[3, 1], offset: ?>>
// CHECK-NEXT:    }
// CHECK-NEXT:    "test.op"(%x_1) : (memref<?x3xf32, strided<[3, 1], offset: ?>>) -> ()
// CHECK-NEXT:    memref.dealloc %x : memref<?x3xf32>
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

// -----

func.func @perhaps_written(%t: memref<?x3xf32, strided<[?, 1], offset: ?>>, %n: index) {
  %c0 = arith.constant 0 : index
  %x = memref.alloc(%n) {hpacml.may_alias} : memref<?x3xf32>
  "test.op"(%x) : (memref<?x3xf32>) -> ()
  hpacml.unpack %t from %x at %c0 features [1] : memref<?x3xf32, strided<[?, 1], offset: ?>>, memref<?x3xf32>
  memref.dealloc %x : memref<?x3xf32>
  func.return
}

// CHECK-LABEL: func.func @perhaps_written(%t: memref<?x3xf32, strided<[?, 1], offset: ?>>, %n: index) {
// CHECK-NEXT:    %c0 = arith.constant 0 : index
// CHECK:         %t_1 = memref.reinterpret_cast %t to offset: [%{{.*}}], sizes: [%n, 3], strides: [3, 1] : memref<?x3xf32, strided<[?, 1], offset: ?>> to memref<?x3xf32, strided<[3, 1], offset: ?>>
// CHECK:         [[PACKED:%\d+]] = arith.cmpi eq, %{{.*}}, %{{.*}} : index
// CHECK:         [[SIZE:%\d+]] = arith.select [[PACKED]], %{{.*}}, %n : index
// CHECK-NEXT:    %x = memref.alloc([[SIZE]]) : memref<?x3xf32>
// CHECK-NEXT:    %x_1 = scf.if [[PACKED]] -> (memref<?x3xf32, strided<[3, 1], offset: ?>>) {
// CHECK-NEXT:      scf.yield %t_1 : memref<?x3xf32, strided<[3, 1], offset: ?>>
// CHECK-NEXT:    } else {
// CHECK-NEXT:      [[COPY:%\d+]] = "memref.cast"(%x) : (memref<?x3xf32>) -> memref<?x3xf32, strided<[3, 1], offset: ?>>
// CHECK-NEXT:      scf.yield [[COPY]] : memref<?x3xf32, strided<[3, 1], offset: ?>>
// CHECK-NEXT:    }
// CHECK-NEXT:    "test.op"(%x_1) : (memref<?x3xf32, strided<[3, 1], offset: ?>>) -> ()
// CHECK-NEXT:    scf.if [[PACKED]] {
// CHECK-NEXT:    } else {
// CHECK-NEXT:      hpacml.fused_scatter %t from %x at %c0 features [1] : memref<?x3xf32, strided<[?, 1], offset: ?>> -> memref<?x3xf32>
// CHECK-NEXT:    }
// CHECK-NEXT:    memref.dealloc %x : memref<?x3xf32>
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

// -----

// No use of the application's memory: gaps, another element type, another order, two views, memory that must be
// fresh, both read and written.

func.func @copies(%gaps: memref<8x3xf32, strided<[4, 1]>>, %f64: memref<8x3xf64>, %t: memref<8x3xf32>, %col: memref<8xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %a = memref.alloc() {hpacml.may_alias} : memref<8x3xf32>
  hpacml.pack %gaps into %a at %c0 features [1] : memref<8x3xf32, strided<[4, 1]>>, memref<8x3xf32>
  %b = memref.alloc() {hpacml.may_alias} : memref<8x3xf32>
  hpacml.pack %f64 into %b at %c0 features [1] : memref<8x3xf64>, memref<8x3xf32>
  %c = memref.alloc() {hpacml.may_alias} : memref<3x8xf32>
  hpacml.pack %t into %c at %c0 features [0] : memref<8x3xf32>, memref<3x8xf32>
  %d = memref.alloc() {hpacml.may_alias} : memref<8x2xf32>
  hpacml.pack %col into %d at %c0 features [1] : memref<8xf32>, memref<8x2xf32>
  hpacml.pack %col into %d at %c1 features [1] : memref<8xf32>, memref<8x2xf32>
  %e = memref.alloc() : memref<8x3xf32>
  hpacml.pack %t into %e at %c0 features [1] : memref<8x3xf32>, memref<8x3xf32>
  %f = memref.alloc() {hpacml.may_alias} : memref<8x3xf32>
  hpacml.pack %t into %f at %c0 features [1] : memref<8x3xf32>, memref<8x3xf32>
  hpacml.unpack %t from %f at %c0 features [1] : memref<8x3xf32>, memref<8x3xf32>
  "test.op"(%a, %b, %c, %d, %e, %f) : (memref<8x3xf32>, memref<8x3xf32>, memref<3x8xf32>, memref<8x2xf32>, memref<8x3xf32>, memref<8x3xf32>) -> ()
  memref.dealloc %a : memref<8x3xf32>
  memref.dealloc %b : memref<8x3xf32>
  memref.dealloc %c : memref<3x8xf32>
  memref.dealloc %d : memref<8x2xf32>
  memref.dealloc %e : memref<8x3xf32>
  memref.dealloc %f : memref<8x3xf32>
  func.return
}

// CHECK-LABEL: func.func @copies(%gaps: memref<8x3xf32, strided<[4, 1]>>, %f64: memref<8x3xf64>, %t: memref<8x3xf32>, %col: memref<8xf32>) {
// CHECK-NEXT:    %c0 = arith.constant 0 : index
// CHECK-NEXT:    %c1 = arith.constant 1 : index
// CHECK-NEXT:    %a = memref.alloc() {hpacml.may_alias} : memref<8x3xf32>
// CHECK-NEXT:    hpacml.fused_gather %gaps into %a at %c0 features [1] : memref<8x3xf32, strided<[4, 1]>> -> memref<8x3xf32>
// CHECK-NEXT:    %b = memref.alloc() {hpacml.may_alias} : memref<8x3xf32>
// CHECK-NEXT:    hpacml.fused_gather %f64 into %b at %c0 features [1] : memref<8x3xf64> -> memref<8x3xf32>
// CHECK-NEXT:    %c = memref.alloc() {hpacml.may_alias} : memref<3x8xf32>
// CHECK-NEXT:    hpacml.fused_gather %t into %c at %c0 features [0] : memref<8x3xf32> -> memref<3x8xf32>
// CHECK-NEXT:    %d = memref.alloc() {hpacml.may_alias} : memref<8x2xf32>
// CHECK-NEXT:    hpacml.fused_gather %col, %col into %d at %c0, %c1 features [1] : memref<8xf32>, memref<8xf32> -> memref<8x2xf32>
// CHECK-NEXT:    %e = memref.alloc() : memref<8x3xf32>
// CHECK-NEXT:    hpacml.fused_gather %t into %e at %c0 features [1] : memref<8x3xf32> -> memref<8x3xf32>
// CHECK-NEXT:    %f = memref.alloc() {hpacml.may_alias} : memref<8x3xf32>
// CHECK-NEXT:    hpacml.fused_gather %t into %f at %c0 features [1] : memref<8x3xf32> -> memref<8x3xf32>
// CHECK-NEXT:    hpacml.fused_scatter %t from %f at %c0 features [1] : memref<8x3xf32> -> memref<8x3xf32>
// CHECK-NEXT:    "test.op"(%a, %b, %c, %d, %e, %f) : (memref<8x3xf32>, memref<8x3xf32>, memref<3x8xf32>, memref<8x2xf32>, memref<8x3xf32>, memref<8x3xf32>) -> ()
// CHECK-NEXT:    memref.dealloc %a : memref<8x3xf32>
// CHECK-NEXT:    memref.dealloc %b : memref<8x3xf32>
// CHECK-NEXT:    memref.dealloc %c : memref<3x8xf32>
// CHECK-NEXT:    memref.dealloc %d : memref<8x2xf32>
// CHECK-NEXT:    memref.dealloc %e : memref<8x3xf32>
// CHECK-NEXT:    memref.dealloc %f : memref<8x3xf32>
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

// -----

// Allocations of others stay as they are.

func.func @nothing(%n: index) {
  %x = memref.alloc(%n) : memref<?x3xf32>
  "test.op"(%x) : (memref<?x3xf32>) -> ()
  memref.dealloc %x : memref<?x3xf32>
  func.return
}

// CHECK-LABEL: func.func @nothing(%n: index) {
// CHECK-NEXT:    %x = memref.alloc(%n) : memref<?x3xf32>
// CHECK-NEXT:    "test.op"(%x) : (memref<?x3xf32>) -> ()
// CHECK-NEXT:    memref.dealloc %x : memref<?x3xf32>
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

// -----

// What adds is one sweep, and none with what overwrites; memory that is added to is not the tensor.

func.func @adds(%a: memref<?xf32>, %b: memref<?x3xf32>, %x: memref<?x4xf32>, %t: memref<8x3xf32>, %c0: index, %c1: index) {
  hpacml.unpack add %a from %x at %c0 features [1] : memref<?xf32>, memref<?x4xf32>
  hpacml.unpack add %b from %x at %c1 features [1] : memref<?x3xf32>, memref<?x4xf32>
  hpacml.unpack %b from %x at %c1 features [1] : memref<?x3xf32>, memref<?x4xf32>
  %y = memref.alloc() {hpacml.may_alias} : memref<8x3xf32>
  "test.op"(%y) : (memref<8x3xf32>) -> ()
  hpacml.unpack add %t from %y at %c0 features [1] : memref<8x3xf32>, memref<8x3xf32>
  memref.dealloc %y : memref<8x3xf32>
  func.return
}

// CHECK-LABEL: func.func @adds(
// CHECK-NEXT:    hpacml.fused_scatter add %a, %b from %x at %c0, %c1 features [1] : memref<?xf32>, memref<?x3xf32> -> memref<?x4xf32>
// CHECK-NEXT:    hpacml.fused_scatter %b from %x at %c1 features [1] : memref<?x3xf32> -> memref<?x4xf32>
// CHECK-NEXT:    %y = memref.alloc() {hpacml.may_alias} : memref<8x3xf32>
// CHECK-NEXT:    "test.op"(%y) : (memref<8x3xf32>) -> ()
// CHECK-NEXT:    hpacml.fused_scatter add %t from %y at %c0 features [1] : memref<8x3xf32> -> memref<8x3xf32>
// CHECK-NEXT:    memref.dealloc %y : memref<8x3xf32>
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }
