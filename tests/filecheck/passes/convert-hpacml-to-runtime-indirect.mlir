// A check that needs the memory of the arrays passes pointers to their descriptors, and says what they are.

// RUN: hpacml-opt %s -p convert-hpacml-to-runtime --split-input-file | filecheck %s

func.func @arrays(%inside: i1, %x: memref<?x3xf32>, %idx: memref<?xi8, strided<[?], offset: ?>>, %d: index, %e: index, %f: index, %n: index) {
  hpacml_rt.check_map %inside from "f: [i, 0:3] = ([i, 0:3])" names ["x", "idx"] targets [#hpacml.target<[*[1 : ? : 2], 0 : 3]>] sizes(%d, %e, %f) bounds(%n) params() of [] arrays(%x, %idx : memref<?x3xf32>, memref<?xi8, strided<[?], offset: ?>>) text "f(x[idx[1:n:2], 0:3])"
  func.return
}

// CHECK:       @hpacml_site_0("{\22kind\22: \22map\22, \22direction\22: \22from\22, \22functor\22: \22f: [i, 0:3] = ([i, 0:3])\22, \22parameters\22: [], \22names\22: [\22x\22, \22idx\22], \22targets\22: {{\[\[}}{\22indirect\22: {{\[\[}}1, null, 2]]}, [0, 3, 1]]], \22arrays\22: [{\22dtype\22: \22f32\22, \22rank\22: 2}, {\22dtype\22: \22u8\22, \22rank\22: 1}], \22sharing\22: false, \22text\22: \22f(x[idx[1:n:2], 0:3])\22}\00")
// CHECK:       func.func private @hpacml_check_map(!llvm.ptr, !llvm.ptr, !llvm.ptr) -> ()
// CHECK-LABEL: func.func @arrays
// CHECK:         [[ARRAYS:%\d+]] = llvm.alloca %{{\d+}} x !llvm.ptr
// CHECK:         [[IDX:%\d+]] = llvm.alloca %{{\d+}} x !llvm.struct<(!llvm.ptr, !llvm.ptr, i64, !llvm.array<1 x i64>, !llvm.array<1 x i64>)>
// CHECK:         [[X:%\d+]] = llvm.alloca %{{\d+}} x !llvm.struct<(!llvm.ptr, !llvm.ptr, i64, !llvm.array<2 x i64>, !llvm.array<2 x i64>)>
// CHECK:         [[VALUES:%\d+]] = llvm.alloca %{{\d+}} x i64
// CHECK:         [[FAILS:%\d+]] = arith.xori %inside
// CHECK-NEXT:    scf.if [[FAILS]] {
// CHECK-NEXT:      arith.index_cast %d : index to i64
// CHECK-NEXT:      arith.index_cast %e : index to i64
// CHECK-NEXT:      arith.index_cast %f : index to i64
// CHECK-NEXT:      arith.index_cast %n : index to i64
// CHECK:           [[DX:%\d+]] = builtin.unrealized_conversion_cast %x : memref<?x3xf32> to !llvm.struct
// CHECK-NEXT:      llvm.store [[DX]], [[X]]
// CHECK-NEXT:      [[DI:%\d+]] = builtin.unrealized_conversion_cast %idx : memref<?xi8, strided<[?], offset: ?>> to !llvm.struct
// CHECK-NEXT:      llvm.store [[DI]], [[IDX]]
// CHECK-NEXT:      [[FIRST:%\d+]] = llvm.getelementptr [[ARRAYS]][0]
// CHECK-NEXT:      llvm.store [[X]], [[FIRST]] : !llvm.ptr, !llvm.ptr
// CHECK-NEXT:      [[SECOND:%\d+]] = llvm.getelementptr [[ARRAYS]][1]
// CHECK-NEXT:      llvm.store [[IDX]], [[SECOND]] : !llvm.ptr, !llvm.ptr
// CHECK-NEXT:      [[SITE:%\d+]] = llvm.mlir.addressof @hpacml_site_0
// CHECK-NEXT:      func.call @hpacml_check_map([[SITE]], [[VALUES]], [[ARRAYS]]) : (!llvm.ptr, !llvm.ptr, !llvm.ptr) -> ()
// CHECK-NEXT:    }

// -----

// The ranges of an indirect target, nested and with single indices, alone: no arrays.

func.func @ranges(%fits: i1, %n: index, %k: index) {
  hpacml_rt.check_map %fits to "f: [i] = ([0, i])" names ["t", "a", "b"] targets [#hpacml.target<[*[*[4, ?]], 0 : ?]>] sizes(%n, %n, %n, %n, %n) bounds(%n, %k) params() of []
  func.return
}

// CHECK:       \22targets\22: {{\[\[}}{\22indirect\22: [{\22indirect\22: {{\[\[}}4], [null]]}]}, [0, null, 1]]], \22arrays\22: [], \22sharing\22: false, \22text\22: null}
// CHECK-LABEL: func.func @ranges
// CHECK:         scf.if
// CHECK:           [[NONE:%\d+]] = llvm.mlir.zero : !llvm.ptr
// CHECK-NEXT:      [[SITE:%\d+]] = llvm.mlir.addressof @hpacml_site_0
// CHECK-NEXT:      func.call @hpacml_check_map([[SITE]], %{{\d+}}, [[NONE]])

// -----

// Checks of one map share their constant; with arrays it is another one, and with indices that are bad.

func.func @sites(%ok: i1, %x: memref<?xf32>, %a: memref<?xi64>, %n: index) {
  hpacml_rt.check_map %ok to "f: [i] = ([i])" names ["x", "a"] targets [#hpacml.target<[*[0 : 4]]>] sizes(%n, %n) bounds() params() of []
  hpacml_rt.check_map %ok to "f: [i] = ([i])" names ["x", "a"] targets [#hpacml.target<[*[0 : 4]]>] sizes(%n, %n) bounds() params() of [] arrays(%x, %a : memref<?xf32>, memref<?xi64>)
  hpacml_rt.check_map %ok to "f: [i] = ([i])" names ["x", "a"] targets [#hpacml.target<[*[0 : 4]]>] sizes(%n, %n) bounds() params() of [] arrays(%x, %a : memref<?xf32>, memref<?xi64>)
  hpacml_rt.check_map %ok to "f: [i] = ([i])" names ["x", "a"] targets [#hpacml.target<[*[0 : 4]]>] sizes(%n, %n) bounds() params() of [] arrays(%x, %a : memref<?xf32>, memref<?xi64>) indices
  func.return
}

// CHECK-LABEL: builtin.module {
// CHECK-NOT:   @hpacml_site_3
// CHECK:       @hpacml_site_2({{.*}}\22text\22: null, \22indices\22: true}
// CHECK:       func.func @sites
// CHECK:         llvm.mlir.addressof @hpacml_site_0
// CHECK:         llvm.mlir.addressof @hpacml_site_1
// CHECK:         llvm.mlir.addressof @hpacml_site_1
// CHECK:         llvm.mlir.addressof @hpacml_site_2
