// RUN: hpacml-opt %s -p 'convert-hpacml-to-runtime{plain=true}' | filecheck %s

// Records are strings, also those that a front end has made; maps that are not shown to fit are refused; nothing is asked
// for on views; and a public function first asks for the version of the runtime.

func.func @f(%x: memref<?x2xf32>, %y: memref<?x1xf32>, %a: memref<?xf32>, %fits: i1, %d: index) {
  hpacml_rt.check_map %fits to "f: [i] = ([i])" names ["a"] targets [#hpacml.target<[0 : ?]>]
    sizes(%d) bounds(%d) params() of [] text "f(a[0:d])"
  %on_views = hpacml.infer_on_views "r" model "m.pt2" maps ["m", "n"] tensors [memref<?x2xf32>, memref<?x1xf32>]
    ins(%a, %a : memref<?xf32>, memref<?xf32>) outs(%a : memref<?xf32>)
  scf.if %on_views {
  } else {
    %done = hpacml.infer "r" model "m.pt2" maps ["m", "n"] ins(%x : memref<?x2xf32>) outs(%y : memref<?x1xf32>)
    scf.if %done {
    } else {
      %site = llvm.mlir.addressof @message : !llvm.ptr
      func.call @hpacml_refuse(%site) : (!llvm.ptr) -> ()
    }
  }
  func.return
}
func.func private @hidden() {
  func.return
}
func.func private @hpacml_refuse(!llvm.ptr) -> ()
llvm.mlir.global private constant @message("{\22kind\22: \22refuse\22, \22text\22: \22no\22}\00") : !llvm.array<35 x i8>

// CHECK-DAG: ("kind\00infer\00label\00r\00model.path\00m.pt2\00maps.0\00m\00maps.1\00n\00inputs.0.dtype\00f32\00inputs.0.rank\002\00outputs.0.dtype\00f32\00outputs.0.rank\002\00\00")
// CHECK-DAG: ("kind\00refuse\00text\00in the map 'f(a[0:d])': it leaves its array, or contradicts its functor\00\00")
// CHECK-DAG: ("kind\00refuse\00text\00'f' was compiled for version {{[0-9]+}} of hpacml's runtime ABI
// CHECK-LABEL: func.func @f
// CHECK-NEXT:    %[[found:[0-9]+]] = func.call @hpacml_abi_version() : () -> i32
// CHECK-NEXT:    %[[wanted:[0-9]+]] = arith.constant {{[0-9]+}} : i32
// CHECK-NEXT:    arith.cmpi ne, %[[found]], %[[wanted]] : i32
// CHECK:         func.call @hpacml_refuse
// CHECK:         func.call @hpacml_refuse
// CHECK-NOT:     hpacml_check_map
// CHECK-NOT:     hpacml_infer_on_views
// CHECK:         func.call @hpacml_infer(
// CHECK:       func.func private @hidden() {
// CHECK-NEXT:    func.return
// CHECK:       @message("kind\00refuse\00text\00no\00\00") {{.*}} : !llvm.array<21 x i8>
