// RUN: hpacml-opt %s -p hpacml-compact-points --split-input-file --verify-diagnostics | filecheck %s

hpacml.functor @f : [i, 0:2] = ([i, 0:2])
hpacml.functor @g : [i, 0:1] = ([i])

func.func @rows(%t: memref<?x2xf32>, %u: memref<?xf32, strided<[?], offset: ?>>, %n: index, %m: index, %mask: memref<?xi8>, %y: memref<?x1xf32>) {
  %in = hpacml.map to @f(%t[0 : %n, 0 : 2]) : memref<?x2xf32> -> !hpacml.mapping<?x2xf32>
  %out = hpacml.map from @g(%u[0 : %n]) : memref<?xf32, strided<[?], offset: ?>> -> !hpacml.mapping<?x1xf32>
  hpacml.body_where pointwise "r" @code(%t, %u, %n, %m : memref<?x2xf32>, memref<?xf32, strided<[?], offset: ?>>, index, index) at %mask : memref<?xi8>
    from (%in : !hpacml.mapping<?x2xf32>) to (%out : !hpacml.mapping<?x1xf32>) into (%y : memref<?x1xf32>)
  func.return
}

func.func private @code(%t: memref<?x2xf32>, %u: memref<?xf32, strided<[?], offset: ?>>, %n: index, %m: index) {
  %c0 = arith.constant 0 : index
  %1 = memref.load %t[%c0, %c0] : memref<?x2xf32>
  memref.store %1, %u[%c0] : memref<?xf32, strided<[?], offset: ?>>
  func.return
}

// CHECK-LABEL: func.func @rows
// CHECK:         scf.if %{{.*}} {
// CHECK:         %at = memref.alloc({{.*}}) : memref<?xi64>
// CHECK-NEXT:    %k = hpacml.count_points again "r" %mask : memref<?xi8> positions %at : memref<?xi64>
// CHECK:         %[[room:.*]] = memref.alloc({{.*}}) : memref<?xi8>
// CHECK:         %t_1 = memref.view %[[room]][{{.*}}][%k] : memref<?xi8> to memref<?x2xf32>
// CHECK:         "scf.parallel"({{.*}}, %k,
// CHECK-NEXT:    ^bb0(%[[number:.*]]: index, %[[feature:.*]]: index):
// CHECK-NEXT:      %[[at:.*]] = memref.load %at[%[[number]]] : memref<?xi64>
// CHECK-NEXT:      %[[point:.*]] = arith.index_cast %[[at]] : i64 to index
// CHECK:           %[[element:.*]] = memref.load %t[%[[point]], %[[feature]]] : memref<?x2xf32>
// CHECK-NEXT:      memref.store %[[element]], %t_1[%[[number]], %[[feature]]] : memref<?x2xf32>
// CHECK:         %u_1 = memref.view {{.*}}[%k] : memref<?xi8> to memref<?xf32>
// CHECK:         %[[u:.*]] = "memref.cast"(%u_1) : (memref<?xf32>) -> memref<?xf32, strided<[?], offset: ?>>
// CHECK-NEXT:    hpacml.body "r" @code(%t_1, %[[u]], %k, %m :
// CHECK-NEXT:    %[[made:.*]] = hpacml.map from @g(%[[u]][0 : %k])
// CHECK-NEXT:    %part = hpacml.tensor fresh %[[made]]
// CHECK-NEXT:    hpacml.gather %[[made]] into %part
// CHECK:           %[[element:.*]] = memref.load %part[%[[number:.*]], %[[feature:.*]]] : memref<?x1xf32>
// CHECK-NEXT:      memref.store %[[element]], %y[%{{.*}}, %[[feature]]] : memref<?x1xf32>
// CHECK:         memref.dealloc %[[room]]
// CHECK:         memref.dealloc %at
// CHECK-NEXT:    %[[due:.*]] = hpacml.is_compared "r" %mask : memref<?xi8>
// CHECK-NEXT:    scf.if %[[due]] {
// CHECK-NEXT:      %whole = hpacml.tensor fresh %out
// CHECK-NEXT:      hpacml.keep_random
// CHECK-NEXT:      hpacml.body_where "r" @code(%t, %u, %n, %m : {{.*}}) at %mask {{.*}} into(%whole : memref<?x1xf32>)
// CHECK-NEXT:      hpacml.keep_random restore
// CHECK-NEXT:      hpacml.compare_points "r" maps ["g(u[0 : n])"] ins(%y : memref<?x1xf32>) against(%whole : memref<?x1xf32>) features [1, -1] where %mask : memref<?xi8>
// CHECK-NEXT:    }
// CHECK-NEXT:    } else {
// CHECK-NEXT:      hpacml.body_where "r" @code(%t, %u, %n, %m : {{.*}}) at %mask {{.*}} into(%y : memref<?x1xf32>)
// CHECK-NEXT:    }
// CHECK-NEXT:    func.return

// -----

// A sweep of two dimensions: the first one has all points. Memory of no map is passed on.

hpacml.functor @f : [i, 0:3, j] = ([j, 0:3, i])

func.func @plane(%t: memref<?x?x?xf64>, %table: memref<?xf64>, %n: i32, %m: index, %mask: memref<?x?xi8>, %y: memref<?x3x?xf64>) {
  %n_1 = arith.index_cast %n : i32 to index
  %out = hpacml.map inout @f(%t[0 : %m, 0 : 3, 0 : %n_1]) : memref<?x?x?xf64> -> !hpacml.mapping<?x3x?xf64>
  hpacml.body_where pointwise "r" @code(%t, %table, %n, %m : memref<?x?x?xf64>, memref<?xf64>, i32, index) at %mask : memref<?x?xi8>
    from (%out : !hpacml.mapping<?x3x?xf64>) to (%out : !hpacml.mapping<?x3x?xf64>) into (%y : memref<?x3x?xf64>)
  func.return
}

func.func private @code(%t: memref<?x?x?xf64>, %table: memref<?xf64>, %n: i32, %m: index) {
  %c0 = arith.constant 0 : index
  %1 = memref.load %table[%c0] : memref<?xf64>
  memref.store %1, %t[%c0, %c0, %c0] : memref<?x?x?xf64>
  func.return
}

// CHECK-LABEL: func.func @plane
// CHECK:         %k = hpacml.count_points again "r"
// CHECK-NEXT:    %[[one:.*]] = arith.constant 1 : index
// CHECK:         memref.dim %t,
// CHECK:         %[[features:.*]] = memref.dim %t,
// CHECK:         %t_1 = memref.view {{.*}}[%[[one]], %[[features]], %k] : memref<?xi8> to memref<?x?x?xf64>
// CHECK:           %[[column:.*]] = arith.remui
// CHECK-NEXT:      %[[row:.*]] = arith.divui
// CHECK:           %[[element:.*]] = memref.load %t[%[[column]], %[[feature:.*]], %[[row]]]
// CHECK-NEXT:      memref.store %[[element]], %t_1[%{{.*}}, %[[feature]], %{{.*}}]
// CHECK:         %[[n:.*]] = arith.index_cast %k : index to i32
// CHECK-NEXT:    hpacml.body "r" @code(%t_1, %table, %[[n]], %[[one]] :
// CHECK-NEXT:    hpacml.map inout @f(%t_1[0 : %[[one]], 0 : 3, 0 : %k])
// CHECK:           memref.load %part[%[[number:.*]], %[[feature:.*]], %{{.*}}]
// CHECK:         hpacml.compare_points "r" {{.*}} features [1, -1]

// -----

hpacml.functor @f : [i, 0:1] = ([i])
hpacml.functor @g : [i, 0:1] = ([i + 1])

func.func @stencil(%t: memref<?xf32>, %n: index, %mask: memref<?xi8>, %y: memref<?x1xf32>) {
  %in = hpacml.map to @g(%t[0 : %n]) : memref<?xf32> -> !hpacml.mapping<?x1xf32>
  %out = hpacml.map from @f(%t[0 : %n]) : memref<?xf32> -> !hpacml.mapping<?x1xf32>
  hpacml.body_where pointwise "r" @code(%t : memref<?xf32>) at %mask : memref<?xi8>
    from (%in : !hpacml.mapping<?x1xf32>) to (%out : !hpacml.mapping<?x1xf32>) into (%y : memref<?x1xf32>)
  func.return
}
func.func private @code(%t: memref<?xf32>) { func.return }

// CHECK: 'g(t[0 : n])' is of a pointwise region, and an element of its arrays does not belong to one point alone

// -----

hpacml.functor @f : [i, 0:1] = ([i])

func.func @part(%t: memref<?xf32>, %n: index, %mask: memref<?xi8>, %y: memref<?x1xf32>) {
  %out = hpacml.map from @f(%t[1 : %n]) : memref<?xf32> -> !hpacml.mapping<?x1xf32>
  hpacml.body_where pointwise "r" @code(%t : memref<?xf32>) at %mask : memref<?xi8>
    from (%out : !hpacml.mapping<?x1xf32>) to (%out : !hpacml.mapping<?x1xf32>) into (%y : memref<?x1xf32>)
  func.return
}
func.func private @code(%t: memref<?xf32>) { func.return }

// CHECK: 'f(t[1 : n])' is of a pointwise region, and dimension 0 of an array has no range from 0 to a number of the call

// -----

hpacml.functor @f : [i, 0:1] = ([i])

func.func @other_memory(%t: memref<?xf32>, %u: memref<?xf32>, %n: index, %mask: memref<?xi8>, %y: memref<?x1xf32>) {
  %out = hpacml.map from @f(%t[0 : %n]) : memref<?xf32> -> !hpacml.mapping<?x1xf32>
  hpacml.body_where pointwise "r" @code(%t, %u : memref<?xf32>, memref<?xf32>) at %mask : memref<?xi8>
    from (%out : !hpacml.mapping<?x1xf32>) to (%out : !hpacml.mapping<?x1xf32>) into (%y : memref<?x1xf32>)
  func.return
}
func.func private @code(%t: memref<?xf32>, %u: memref<?xf32>) {
  %c0 = arith.constant 0 : index
  %1 = memref.load %t[%c0] : memref<?xf32>
  memref.store %1, %u[%c0] : memref<?xf32>
  func.return
}

// CHECK: the region 'r' is pointwise, and its code writes 'u', of which no map has the points: leave the clause out

// -----

hpacml.functor @f : [i, 0:1] = ([i])

func.func @view(%t: memref<?xf32>, %n: index, %mask: memref<?xi8>, %y: memref<?x1xf32>) {
  %v = memref.subview %t[0] [%n] [1] : memref<?xf32> to memref<?xf32, strided<[1]>>
  %out = hpacml.map from @f(%t[0 : %n]) : memref<?xf32> -> !hpacml.mapping<?x1xf32>
  hpacml.body_where pointwise "r" @code(%t, %v : memref<?xf32>, memref<?xf32, strided<[1]>>) at %mask : memref<?xi8>
    from (%out : !hpacml.mapping<?x1xf32>) to (%out : !hpacml.mapping<?x1xf32>) into (%y : memref<?x1xf32>)
  func.return
}
func.func private @code(%t: memref<?xf32>, %u: memref<?xf32, strided<[1]>>) { func.return }

// CHECK: the region 'r' is pointwise, and its code reads by another view 'v', of which no map has the points

// -----

hpacml.functor @f : [i, j] = ([i, j])

func.func @square(%t: memref<?x?xf32>, %n: index, %mask: memref<?x?xi8>, %y: memref<?x?xf32>) {
  %out = hpacml.map from @f(%t[0 : %n, 0 : %n]) : memref<?x?xf32> -> !hpacml.mapping<?x?xf32>
  hpacml.body_where pointwise "r" @code(%t, %n : memref<?x?xf32>, index) at %mask : memref<?x?xi8>
    from (%out : !hpacml.mapping<?x?xf32>) to (%out : !hpacml.mapping<?x?xf32>) into (%y : memref<?x?xf32>)
  func.return
}
func.func private @code(%t: memref<?x?xf32>, %n: index) { func.return }

// CHECK: the region 'r' is pointwise, and 'f(t[0 : n, 0 : n])' names one size for two dimensions of the sweep

// -----

hpacml.functor @f : [i] = ([i])

func.func @fixed(%t: memref<8xf32>, %n: index, %mask: memref<?xi8>, %y: memref<?xf32>) {
  %out = hpacml.map from @f(%t[0 : %n]) : memref<8xf32> -> !hpacml.mapping<?xf32>
  hpacml.body_where pointwise "r" @code(%t : memref<8xf32>) at %mask : memref<?xi8>
    from (%out : !hpacml.mapping<?xf32>) to (%out : !hpacml.mapping<?xf32>) into (%y : memref<?xf32>)
  func.return
}
func.func private @code(%t: memref<8xf32>) { func.return }

// CHECK: dimension 0 of its array has the size 8 in its type memref<8xf32>: code for that many points makes no others
