// RUN: hpacml-opt %s -p convert-hpacml-to-loops | filecheck %s

// Rows: an index is read once for all features that it serves.

func.func @rows(%rows: memref<?x3x?xf32, strided<[0, 1, 3]>>, %idx: memref<?x3xi32, strided<[1, 0]>>, %x: memref<?x3xf64>, %c0: index) {
  %v = hpacml.indirect %rows[%idx] : memref<?x3x?xf32, strided<[0, 1, 3]>>[memref<?x3xi32, strided<[1, 0]>>] -> !hpacml.indirect<?x3xf32>
  hpacml.pack %v into %x at %c0 features [1] : !hpacml.indirect<?x3xf32>, memref<?x3xf64>
  hpacml.unpack %v from %x at %c0 features [1] : !hpacml.indirect<?x3xf32>, memref<?x3xf64>
  func.return
}

// CHECK-LABEL: func.func @rows(
// CHECK:         [[ZERO:%\d+]] = arith.constant 0 : index
// CHECK:         [[ONE:%\d+]] = arith.constant 1 : index
// CHECK:         "scf.parallel"
// CHECK-NEXT:    ^bb0([[I:%\d+]]: index):
// CHECK-NEXT:      [[K:%\d+]] = memref.load %idx[[[I]], [[ZERO]]] : memref<?x3xi32, strided<[1, 0]>>
// CHECK-NEXT:      [[ROW:%\d+]] = arith.index_cast [[K]] : i32 to index
// CHECK-NEXT:      [[A:%\d+]] = memref.load %rows[[[I]], [[ZERO]], [[ROW]]] : memref<?x3x?xf32, strided<[0, 1, 3]>>
// CHECK-NEXT:      [[WIDE:%\d+]] = arith.extf [[A]] : f32 to f64
// CHECK-NEXT:      memref.store [[WIDE]], %x[[[I]], %c0]
// CHECK-NOT:       memref.load %idx
// CHECK:           memref.load %rows[[[I]], [[ONE]], [[ROW]]]
// CHECK-NOT:       memref.load %idx
// CHECK:           [[TWO:%\d+]] = arith.constant 2 : index
// CHECK:           memref.load %rows[[[I]], [[TWO]], [[ROW]]]
// CHECK-NOT:       memref.load %idx
// CHECK:           scf.reduce
// CHECK:         "scf.parallel"
// CHECK-NEXT:    ^bb0([[J:%\d+]]: index):
// CHECK-NEXT:      [[L:%\d+]] = memref.load %idx[[[J]], %{{\d+}}]
// CHECK-NEXT:      [[ROW_:%\d+]] = arith.index_cast [[L]] : i32 to index
// CHECK-NEXT:      [[B:%\d+]] = memref.load %x[[[J]], %c0]
// CHECK-NEXT:      [[NARROW:%\d+]] = arith.truncf [[B]] : f64 to f32
// CHECK-NEXT:      memref.store [[NARROW]], %rows[[[J]], %{{\d+}}, [[ROW_]]]
// CHECK-NOT:       memref.load %idx
// CHECK:           memref.store %{{\d+}}, %rows[[[J]], %{{\d+}}, [[ROW_]]]
// CHECK-NOT:       memref.load %idx
// CHECK:           memref.store %{{\d+}}, %rows[[[J]], %{{\d+}}, [[ROW_]]]
// CHECK-NOT:       {{hpacml(_rt)?\.}}
// CHECK:           scf.reduce

// An index of their own for each feature, and beside it one that they share. 8-bit integers are unsigned.

func.func @own(%t: memref<4x2x9x8xf32>, %idx: memref<4x2xi8>, %jdx: memref<4x2xi64, strided<[1, 0]>>, %x: memref<4x2xf32>, %c0: index) {
  %v = hpacml.indirect %t[%idx, %jdx] : memref<4x2x9x8xf32>[memref<4x2xi8>, memref<4x2xi64, strided<[1, 0]>>] -> !hpacml.indirect<4x2xf32>
  hpacml.pack %v into %x at %c0 features [1] : !hpacml.indirect<4x2xf32>, memref<4x2xf32>
  func.return
}

// CHECK-LABEL: func.func @own(
// CHECK:         "scf.parallel"
// CHECK-NEXT:    ^bb0([[I:%\d+]]: index):
// CHECK-NEXT:      [[J:%\d+]] = memref.load %jdx[[[I]], [[ZERO:%\d+]]]
// CHECK-NEXT:      [[COLUMN:%\d+]] = arith.index_cast [[J]] : i64 to index
// CHECK-NEXT:      [[K:%\d+]] = memref.load %idx[[[I]], [[ZERO]]] : memref<4x2xi8>
// CHECK-NEXT:      [[POSITIVE:%\d+]] = arith.extui [[K]] : i8 to i64
// CHECK-NEXT:      [[ROW:%\d+]] = arith.index_cast [[POSITIVE]] : i64 to index
// CHECK-NEXT:      memref.load %t[[[I]], [[ZERO]], [[ROW]], [[COLUMN]]]
// CHECK-NOT:       memref.load %jdx
// CHECK:           memref.load %idx[[[I]], [[ONE:%\d+]]]
// CHECK:           [[OTHER:%\d+]] = arith.index_cast %{{\d+}} : i64 to index
// CHECK:           memref.load %t[[[I]], [[ONE]], [[OTHER]], [[COLUMN]]]

// Indices of indices.

func.func @nested(%rows: memref<4x9xf32, strided<[0, 1]>>, %a: memref<4x8xi64, strided<[0, 1]>>, %b: memref<4xi32>, %x: memref<4xf32>, %c0: index) {
  %i = hpacml.indirect %a[%b] : memref<4x8xi64, strided<[0, 1]>>[memref<4xi32>] -> !hpacml.indirect<4xi64>
  %v = hpacml.indirect %rows[%i] : memref<4x9xf32, strided<[0, 1]>>[!hpacml.indirect<4xi64>] -> !hpacml.indirect<4xf32>
  hpacml.unpack %v from %x at %c0 features [] : !hpacml.indirect<4xf32>, memref<4xf32>
  func.return
}

// CHECK-LABEL: func.func @nested(
// CHECK:         ^bb0([[I:%\d+]]: index):
// CHECK-NEXT:      [[B:%\d+]] = memref.load %b[[[I]]] : memref<4xi32>
// CHECK-NEXT:      [[OUTER:%\d+]] = arith.index_cast [[B]] : i32 to index
// CHECK-NEXT:      [[A:%\d+]] = memref.load %a[[[I]], [[OUTER]]]
// CHECK-NEXT:      [[INNER:%\d+]] = arith.index_cast [[A]] : i64 to index
// CHECK-NEXT:      [[X:%\d+]] = memref.load %x[[[I]]]
// CHECK-NEXT:      memref.store [[X]], %rows[[[I]], [[INNER]]]

// Many features are a loop, with the index before it; of how many there are only the run may know, and there may be none.

func.func @many(%rows: memref<4x100x9xf32, strided<[0, 1, 100]>>, %idx: memref<4x100xi64, strided<[1, 0]>>, %x: memref<4x100xf32>,
                %open: memref<4x?x9xf32, strided<[0, 1, 100]>>, %jdx: memref<4x?xi64, strided<[1, 0]>>, %y: memref<4x?xf32>, %c0: index) {
  %v = hpacml.indirect %rows[%idx] : memref<4x100x9xf32, strided<[0, 1, 100]>>[memref<4x100xi64, strided<[1, 0]>>] -> !hpacml.indirect<4x100xf32>
  %w = hpacml.indirect %open[%jdx] : memref<4x?x9xf32, strided<[0, 1, 100]>>[memref<4x?xi64, strided<[1, 0]>>] -> !hpacml.indirect<4x?xf32>
  hpacml.fused_gather %v into %x at %c0 features [1] : !hpacml.indirect<4x100xf32> -> memref<4x100xf32>
  hpacml.fused_scatter %w from %y at %c0 features [1] : !hpacml.indirect<4x?xf32> -> memref<4x?xf32>
  func.return
}

// CHECK-LABEL: func.func @many(
// CHECK:         "scf.parallel"
// CHECK-NEXT:    ^bb0([[I:%\d+]]: index):
// CHECK-NEXT:      memref.load %idx[[[I]], %{{\d+}}]
// CHECK:           scf.for
// CHECK-NOT:         memref.load %idx
// CHECK:             memref.load %rows
// CHECK:         [[FEATURES:%\d+]] = memref.dim %open, %{{\d+}}
// CHECK:         "scf.parallel"
// CHECK-NEXT:    ^bb0([[J:%\d+]]: index):
// CHECK-NEXT:      scf.for [[F:%\d+]] = %{{\d+}} to [[FEATURES]] step
// CHECK:             memref.load %jdx[[[J]], [[F]]]
// CHECK:             memref.store %{{\d+}}, %open[[[J]], [[F]], %{{\d+}}]

// Whether indices lie inside. One comparison does: a negative index is a huge unsigned number.

func.func @inside(%u: memref<?xi8>, %i: memref<4xi32>, %l: memref<2x3xi64>, %n: index) -> (i1, i1, i1) {
  %a = hpacml_rt.in_bounds %u below %n : memref<?xi8>
  %b = hpacml_rt.in_bounds %i below %n : memref<4xi32>
  %c = hpacml_rt.in_bounds %l below %n : memref<2x3xi64>
  func.return %a, %b, %c : i1, i1, i1
}

// CHECK-LABEL: func.func @inside(
// CHECK-NEXT:    [[TRUE:%\d+]] = arith.constant true
// CHECK-NEXT:    [[ZERO:%\d+]] = arith.constant 0 : index
// CHECK-NEXT:    [[ONE:%\d+]] = arith.constant 1 : index
// CHECK-NEXT:    [[SIZE:%\d+]] = memref.dim %u, [[ZERO]]
// CHECK-NEXT:    %a = scf.for [[I:%\d+]] = [[ZERO]] to [[SIZE]] step [[ONE]] iter_args([[SO_FAR:%\d+]] = [[TRUE]]) -> (i1) {
// CHECK-NEXT:      [[U:%\d+]] = memref.load %u[[[I]]]
// CHECK-NEXT:      [[POSITIVE:%\d+]] = arith.extui [[U]] : i8 to i64
// CHECK-NEXT:      [[K:%\d+]] = arith.index_cast [[POSITIVE]] : i64 to index
// CHECK-NEXT:      [[BELOW:%\d+]] = arith.cmpi ult, [[K]], %n : index
// CHECK-NEXT:      [[ALL:%\d+]] = arith.andi [[SO_FAR]], [[BELOW]] : i1
// CHECK-NEXT:      scf.yield [[ALL]] : i1
// CHECK-NEXT:    }
// CHECK:         %b = scf.for
// CHECK:           memref.load %i
// CHECK-NEXT:      arith.index_cast %{{\d+}} : i32 to index
// CHECK-NEXT:      arith.cmpi ult
// CHECK:         %c = scf.for [[ROW:%\d+]] = {{.*}} iter_args([[OUTER:%\d+]] =
// CHECK-NEXT:      [[INNER:%\d+]] = scf.for [[COLUMN:%\d+]] = {{.*}} iter_args(%{{\d+}} = [[OUTER]]) -> (i1) {
// CHECK-NEXT:        memref.load %l[[[ROW]], [[COLUMN]]]
// CHECK-NEXT:        arith.index_cast %{{\d+}} : i64 to index
// CHECK:             scf.yield
// CHECK-NEXT:      }
// CHECK-NEXT:      scf.yield [[INNER]] : i1
// CHECK-NEXT:    }
// CHECK-NEXT:    func.return %a, %b, %c : i1, i1, i1

func.func @inside_indirect(%a: memref<4x8xi64, strided<[0, 1]>>, %b: memref<4xi32>, %n: index) -> i1 {
  %i = hpacml.indirect %a[%b] : memref<4x8xi64, strided<[0, 1]>>[memref<4xi32>] -> !hpacml.indirect<4xi64>
  %ok = hpacml_rt.in_bounds %i below %n : !hpacml.indirect<4xi64>
  func.return %ok : i1
}

// CHECK-LABEL: func.func @inside_indirect(
// CHECK:         %ok = scf.for [[I:%\d+]]
// CHECK-NEXT:      [[B:%\d+]] = memref.load %b[[[I]]]
// CHECK-NEXT:      [[OUTER:%\d+]] = arith.index_cast [[B]] : i32 to index
// CHECK-NEXT:      memref.load %a[[[I]], [[OUTER]]]
// CHECK:           arith.cmpi ult, %{{\d+}}, %n : index

// Whether elements are different: those in question are cleared first, all of them, then marked one after the other.

func.func @different(%marks: memref<4x9xi8, strided<[0, 1]>>, %idx: memref<4xi8>, %direct: memref<2x3xi8>) -> i1 {
  %v = hpacml.indirect %marks[%idx] : memref<4x9xi8, strided<[0, 1]>>[memref<4xi8>] -> !hpacml.indirect<4xi8>
  %a = hpacml_rt.distinct %v, %direct : !hpacml.indirect<4xi8>, memref<2x3xi8>
  func.return %a : i1
}

// CHECK-LABEL: func.func @different(
// CHECK-NEXT:    [[CLEAR:%\d+]] = arith.constant 0 : i8
// CHECK-NEXT:    [[MARK:%\d+]] = arith.constant 1 : i8
// CHECK:         scf.for [[I:%\d+]] =
// CHECK-NEXT:      memref.load %idx[[[I]]]
// CHECK-NEXT:      arith.extui %{{\d+}} : i8 to i64
// CHECK-NEXT:      [[K:%\d+]] = arith.index_cast %{{\d+}} : i64 to index
// CHECK-NEXT:      memref.store [[CLEAR]], %marks[[[I]], [[K]]]
// CHECK-NEXT:    }
// CHECK:         memref.store [[CLEAR]], %direct
// CHECK-NOT:     memref.load %marks
// CHECK:         [[TRUE:%\d+]] = arith.constant true
// CHECK:         [[FIRST:%\d+]] = scf.for [[J:%\d+]] = {{.*}} iter_args([[SO_FAR:%\d+]] = [[TRUE]]) -> (i1) {
// CHECK:           [[L:%\d+]] = arith.index_cast %{{\d+}} : i64 to index
// CHECK-NEXT:      [[MARKED:%\d+]] = memref.load %marks[[[J]], [[L]]]
// CHECK-NEXT:      memref.store [[MARK]], %marks[[[J]], [[L]]]
// CHECK-NEXT:      [[NEW:%\d+]] = arith.cmpi eq, [[MARKED]], [[CLEAR]] : i8
// CHECK-NEXT:      [[ALL:%\d+]] = arith.andi [[SO_FAR]], [[NEW]] : i1
// CHECK-NEXT:      scf.yield [[ALL]] : i1
// CHECK-NEXT:    }
// CHECK:         %a = scf.for {{.*}} iter_args(%{{\d+}} = [[FIRST]]) -> (i1) {
// CHECK:           memref.load %direct
// CHECK:         func.return %a : i1

// With all of the memory at hand, one fill clears it where it is small for the elements in question.

func.func @dense_or_sparse(%whole: memref<?xi8>, %idx: memref<4xi32>, %n: index) -> i1 {
  %marks = memref.reinterpret_cast %whole to offset: [0], sizes: [4, %n], strides: [0, 1] : memref<?xi8> to memref<4x?xi8, strided<[0, 1]>>
  %v = hpacml.indirect %marks[%idx] : memref<4x?xi8, strided<[0, 1]>>[memref<4xi32>] -> !hpacml.indirect<4xi8>
  %a = hpacml_rt.distinct %v in(%whole : memref<?xi8>) : !hpacml.indirect<4xi8>
  func.return %a : i1
}

// CHECK-LABEL: func.func @dense_or_sparse(
// CHECK:         memref.dim %whole
// CHECK:         [[DENSE:%\d+]] = arith.cmpi sle, %{{\d+}}, %{{\d+}} : index
// CHECK-NEXT:    scf.if [[DENSE]] {
// CHECK:           memref.store %{{\d+}}, %whole[%{{\d+}}]
// CHECK:         } else {
// CHECK:           memref.load %idx
// CHECK:           memref.store %{{\d+}}, %marks[%{{\d+}}, %{{\d+}}]
