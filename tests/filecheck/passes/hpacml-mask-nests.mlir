// RUN: hpacml-opt %s -p hpacml-mask-nests --split-input-file | filecheck %s

// A nest over points is run with the mask where what it writes is apart from what it reads. The condition stands around
// what makes a point, the loops over its features inside of it.

// CHECK-LABEL: func.func @rows
// CHECK-DAG:     "memref.extract_aligned_pointer_as_index"(%u)
// CHECK-DAG:     "memref.extract_aligned_pointer_as_index"(%t)
// CHECK:         [[APART:%.+]] = arith.ori
// CHECK-NEXT:    scf.if [[APART]] {
// CHECK-NEXT:      hpacml.body "rows" @rows_body_masked(%n, %mask, %t, %u
// CHECK-NEXT:      %original = hpacml.tensor fresh %out
// CHECK-NEXT:      hpacml.gather %out into %original
// CHECK-NEXT:      hpacml.merge %original into %y features [1] at %mask
// CHECK-NEXT:    } else {
// CHECK-NEXT:      hpacml.body_where "rows" @rows_body(%n, %t, %u
// CHECK-NEXT:    }
// CHECK:       func.func private @rows_body_masked(%n: index, %mask: memref<?xi8>, %t: memref<?xf32>, %u: memref<?x3xf32>)
// CHECK:         [[ONE:%.+]] = arith.constant 1 : index
// CHECK:         "scf.parallel"([[ONE]], %n, [[ONE]])
// CHECK-NEXT:    ^bb0(%i: index):
// CHECK-NEXT:      [[C1:%.+]] = arith.constant 1 : index
// CHECK-NEXT:      [[P:%.+]] = arith.subi %i, [[C1]] : index
// CHECK-NEXT:      %reasons = memref.load %mask{{\[}}[[P]]]
// CHECK-NEXT:      [[NONE:%.+]] = arith.constant 0 : i8
// CHECK-NEXT:      [[REJECTED:%.+]] = arith.cmpi ne, %reasons, [[NONE]] : i8
// CHECK-NEXT:      scf.if [[REJECTED]] {
// CHECK-NEXT:        scf.for %k
// CHECK-NEXT:          memref.load %t[%i]
// CHECK-NEXT:          memref.store {{%.+}}, %u[%i, %k]
// CHECK-NEXT:        }
// CHECK-NEXT:      }
// CHECK-NEXT:      scf.reduce
builtin.module {
  hpacml.functor @one : [i, 0:1] = ([i])
  hpacml.functor @row : [i, 0:3] = ([i, 0:3])
  func.func @rows(%n: index, %t: memref<?xf32>, %u: memref<?x3xf32>, %mask: memref<?xi8>, %y: memref<?x3xf32>) {
    %in = hpacml.map to @one(%t[1 : %n]) : memref<?xf32> -> !hpacml.mapping<?x1xf32>
    %out = hpacml.map from @row(%u[1 : %n, 0 : 3]) : memref<?x3xf32> -> !hpacml.mapping<?x3xf32>
    hpacml.body_where "rows" @rows_body(%n, %t, %u : index, memref<?xf32>, memref<?x3xf32>) at %mask : memref<?xi8>
      from (%in : !hpacml.mapping<?x1xf32>) to (%out : !hpacml.mapping<?x3xf32>) into (%y : memref<?x3xf32>)
    func.return
  }
  func.func private @rows_body(%n: index, %t: memref<?xf32>, %u: memref<?x3xf32>) {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c3 = arith.constant 3 : index
    "scf.parallel"(%c1, %n, %c1) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
    ^bb0(%i: index):
      scf.for %k = %c0 to %c3 step %c1 {
        %x = memref.load %t[%i] : memref<?xf32>
        memref.store %x, %u[%i, %k] : memref<?x3xf32>
      }
      scf.reduce
    }) : (index, index, index) -> ()
    func.return
  }
}

// -----

// Loops also go over elements of no point, which nothing makes. A point may take what it has made before; there is
// nothing to be apart from.

// CHECK-LABEL: func.func @every_second
// CHECK-NOT:     scf.if
// CHECK:         hpacml.body "half" @half_body_masked(%n, %mask, %a
// CHECK:       func.func private @half_body_masked
// CHECK:         scf.for %i =
// CHECK-NEXT:      [[TWO:%.+]] = arith.constant 2 : index
// CHECK:           [[REST:%.+]] = arith.remsi [[E:%.+]], [[TWO]] : index
// CHECK-NEXT:      [[P:%.+]] = arith.divsi [[E]], [[TWO]] : index
// CHECK:           memref.dim %mask
// CHECK:           arith.andi
// CHECK-NEXT:      [[INSIDE:%.+]] = arith.andi
// CHECK-NEXT:      scf.if [[INSIDE]] {
// CHECK-NEXT:        memref.load %mask{{\[}}[[P]]]
// CHECK:             scf.if
// CHECK:               memref.load %a[%i]
// CHECK:               memref.store {{%.+}}, %a[%i]
builtin.module {
  hpacml.functor @one : [i, 0:1] = ([i])
  func.func @every_second(%n: index, %a: memref<?xf32>, %mask: memref<?xi8>, %y: memref<?x1xf32>) {
    %out = hpacml.map from @one(%a[1 : %n : 2]) : memref<?xf32> -> !hpacml.mapping<?x1xf32>
    hpacml.body_where "half" @half_body(%n, %a : index, memref<?xf32>) at %mask : memref<?xi8>
      from (%out : !hpacml.mapping<?x1xf32>) to (%out : !hpacml.mapping<?x1xf32>) into (%y : memref<?x1xf32>)
    func.return
  }
  func.func private @half_body(%n: index, %a: memref<?xf32>) {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    scf.for %i = %c0 to %n step %c1 {
      %x = memref.load %a[%i] : memref<?xf32>
      %2 = arith.addf %x, %x : f32
      memref.store %2, %a[%i] : memref<?xf32>
    }
    func.return
  }
}

// -----

// What a point takes from others is made in the order of the loops: the code runs on copies.

// CHECK-LABEL: func.func @sums
// CHECK-NOT:     scf.if
// CHECK:         hpacml.body_where "sums" @sums_body
// CHECK-NOT:   masked
builtin.module {
  hpacml.functor @one : [i, 0:1] = ([i])
  func.func @sums(%n: index, %a: memref<?xf32>, %mask: memref<?xi8>, %y: memref<?x1xf32>) {
    %out = hpacml.map from @one(%a[1 : %n]) : memref<?xf32> -> !hpacml.mapping<?x1xf32>
    hpacml.body_where "sums" @sums_body(%n, %a : index, memref<?xf32>) at %mask : memref<?xi8>
      from (%out : !hpacml.mapping<?x1xf32>) to (%out : !hpacml.mapping<?x1xf32>) into (%y : memref<?x1xf32>)
    func.return
  }
  func.func private @sums_body(%n: index, %a: memref<?xf32>) {
    %c1 = arith.constant 1 : index
    scf.for %i = %c1 to %n step %c1 {
      %before = arith.subi %i, %c1 : index
      %x = memref.load %a[%before] : memref<?xf32>
      %z = memref.load %a[%i] : memref<?xf32>
      %sum = arith.addf %x, %z : f32
      memref.store %sum, %a[%i] : memref<?xf32>
    }
    func.return
  }
}

// -----

// As it does where an iteration writes two points,

// CHECK-LABEL: func.func @pairs
// CHECK:         hpacml.body_where "pairs" @pairs_body
// CHECK-NOT:   masked
builtin.module {
  hpacml.functor @one : [i, 0:1] = ([i])
  func.func @pairs(%n: index, %a: memref<?xf32>, %mask: memref<?xi8>, %y: memref<?x1xf32>) {
    %out = hpacml.map from @one(%a[0 : %n]) : memref<?xf32> -> !hpacml.mapping<?x1xf32>
    hpacml.body_where "pairs" @pairs_body(%n, %a : index, memref<?xf32>) at %mask : memref<?xi8>
      from (%out : !hpacml.mapping<?x1xf32>) to (%out : !hpacml.mapping<?x1xf32>) into (%y : memref<?x1xf32>)
    func.return
  }
  func.func private @pairs_body(%n: index, %a: memref<?xf32>) {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %one = arith.constant 1.0 : f32
    "scf.parallel"(%c0, %n, %c2) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
    ^bb0(%i: index):
      %next = arith.addi %i, %c1 : index
      memref.store %one, %a[%i] : memref<?xf32>
      memref.store %one, %a[%next] : memref<?xf32>
      scf.reduce
    }) : (index, index, index) -> ()
    func.return
  }
}

// -----

// where memory is kept from one point to the next,

// CHECK-LABEL: func.func @kept
// CHECK:         hpacml.body_where "kept" @kept_body
// CHECK-NOT:   masked
builtin.module {
  hpacml.functor @one : [i, 0:1] = ([i])
  func.func @kept(%n: index, %a: memref<?xf32>, %mask: memref<?xi8>, %y: memref<?x1xf32>) {
    %out = hpacml.map from @one(%a[0 : %n]) : memref<?xf32> -> !hpacml.mapping<?x1xf32>
    hpacml.body_where "kept" @kept_body(%n, %a : index, memref<?xf32>) at %mask : memref<?xi8>
      from (%out : !hpacml.mapping<?x1xf32>) to (%out : !hpacml.mapping<?x1xf32>) into (%y : memref<?x1xf32>)
    func.return
  }
  func.func private @kept_body(%n: index, %a: memref<?xf32>) {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %sum = memref.alloc() : memref<f32>
    %zero = arith.constant 0.0 : f32
    scf.for %i = %c0 to %n step %c1 {
      %x = memref.load %a[%i] : memref<?xf32>
      %s = memref.load %sum[] : memref<f32>
      %2 = arith.addf %s, %x : f32
      memref.store %2, %sum[] : memref<f32>
      memref.store %2, %a[%i] : memref<?xf32>
    }
    memref.dealloc %sum : memref<f32>
    func.return
  }
}

// -----

// where a nest follows another one, or carries a number along,

// CHECK-LABEL: func.func @twice
// CHECK:         hpacml.body_where "twice" @twice_body
// CHECK:         hpacml.body_where "carried" @carried_body
// CHECK-NOT:   masked
builtin.module {
  hpacml.functor @one : [i, 0:1] = ([i])
  func.func @twice(%n: index, %a: memref<?xf32>, %mask: memref<?xi8>, %y: memref<?x1xf32>) {
    %out = hpacml.map from @one(%a[0 : %n]) : memref<?xf32> -> !hpacml.mapping<?x1xf32>
    hpacml.body_where "twice" @twice_body(%n, %a : index, memref<?xf32>) at %mask : memref<?xi8>
      from (%out : !hpacml.mapping<?x1xf32>) to (%out : !hpacml.mapping<?x1xf32>) into (%y : memref<?x1xf32>)
    hpacml.body_where "carried" @carried_body(%n, %a : index, memref<?xf32>) at %mask : memref<?xi8>
      from (%out : !hpacml.mapping<?x1xf32>) to (%out : !hpacml.mapping<?x1xf32>) into (%y : memref<?x1xf32>)
    func.return
  }
  func.func private @twice_body(%n: index, %a: memref<?xf32>) {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %one = arith.constant 1.0 : f32
    scf.for %i = %c0 to %n step %c1 {
      memref.store %one, %a[%i] : memref<?xf32>
    }
    scf.for %j = %c0 to %n step %c1 {
      memref.store %one, %a[%j] : memref<?xf32>
    }
    func.return
  }
  func.func private @carried_body(%n: index, %a: memref<?xf32>) {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %zero = arith.constant 0.0 : f32
    %sum = scf.for %i = %c0 to %n step %c1 iter_args(%s = %zero) -> (f32) {
      %x = memref.load %a[%i] : memref<?xf32>
      %2 = arith.addf %s, %x : f32
      memref.store %2, %a[%i] : memref<?xf32>
      scf.yield %2 : f32
    }
    func.return
  }
}

// -----

// where an element beside the features of a point is written, and where indices are in an array.

// CHECK-LABEL: func.func @beside
// CHECK:         hpacml.body_where "beside" @beside_body
// CHECK-LABEL: func.func @indirect
// CHECK:         hpacml.body_where "indirect" @indirect_body
// CHECK-NOT:   masked
builtin.module {
  hpacml.functor @one : [i, 0:1] = ([i])
  hpacml.functor @pair : [i, 0:2] = ([i, 0:2])
  func.func @beside(%n: index, %u: memref<?x3xf32>, %mask: memref<?xi8>, %y: memref<?x2xf32>) {
    %out = hpacml.map from @pair(%u[0 : %n, 0 : 3]) : memref<?x3xf32> -> !hpacml.mapping<?x2xf32>
    hpacml.body_where "beside" @beside_body(%n, %u : index, memref<?x3xf32>) at %mask : memref<?xi8>
      from (%out : !hpacml.mapping<?x2xf32>) to (%out : !hpacml.mapping<?x2xf32>) into (%y : memref<?x2xf32>)
    func.return
  }
  func.func private @beside_body(%n: index, %u: memref<?x3xf32>) {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %one = arith.constant 1.0 : f32
    scf.for %i = %c0 to %n step %c1 {
      memref.store %one, %u[%i, %c2] : memref<?x3xf32>
    }
    func.return
  }
  func.func @indirect(%n: index, %a: memref<?xf32>, %idx: memref<?xi32>, %mask: memref<?xi8>, %y: memref<?x1xf32>) {
    %out = hpacml.map from @one(%a[*%idx[0 : %n]]) : memref<?xf32>, memref<?xi32> -> !hpacml.mapping<?x1xf32>
    hpacml.body_where "indirect" @indirect_body(%n, %a, %idx : index, memref<?xf32>, memref<?xi32>) at %mask : memref<?xi8>
      from (%out : !hpacml.mapping<?x1xf32>) to (%out : !hpacml.mapping<?x1xf32>) into (%y : memref<?x1xf32>)
    func.return
  }
  func.func private @indirect_body(%n: index, %a: memref<?xf32>, %idx: memref<?xi32>) {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %one = arith.constant 1.0 : f32
    scf.for %i = %c0 to %n step %c1 {
      %j = memref.load %idx[%i] : memref<?xi32>
      %k = arith.index_cast %j : i32 to index
      memref.store %one, %a[%k] : memref<?xf32>
    }
    func.return
  }
}
