// Exchanges before the code writes, and behind all that it does, leave the region; one between stays, and is refused.

// RUN: hpacml-opt %s -p hpacml-hoist-exchanges | filecheck %s
// RUN: not hpacml-opt %s -p hpacml-hoist-exchanges,hpacml-expand-ml 2>&1 | filecheck %s --check-prefix REFUSED

hpacml.functor @point : [i] = ([i])

func.func private @MPI_Barrier(i32) -> i32

func.func @ends(%t: memref<66xf64>, %new: memref<66xf64>, %f: !stencil.field<[-1,65]xf64>, %comm: i32, %i: index) {
  %in = hpacml.map to @point(%t[0 : 66]) : memref<66xf64> -> !hpacml.mapping<66xf64>
  %out = hpacml.map from @point(%new[0 : 66]) : memref<66xf64> -> !hpacml.mapping<66xf64>
  hpacml.ml infer in(%in : !hpacml.mapping<66xf64>) out(%out : !hpacml.mapping<66xf64>) label "ends" {
    %before = stencil.load %f : !stencil.field<[-1,65]xf64> -> !stencil.temp<[-1,65]xf64>
    %swapped = "dmp.swap"(%before) <{strategy = #dmp.grid_slice_2d<#dmp.topo<2x2>, false>, swaps = []}> : (!stencil.temp<[-1,65]xf64>) -> !stencil.temp<[-1,65]xf64>
    %v = memref.load %t[%i] : memref<66xf64>
    "test.op"(%swapped) : (!stencil.temp<[-1,65]xf64>) -> ()
    memref.store %v, %new[%i] : memref<66xf64>
    "dmp.swap"(%f) <{strategy = #dmp.grid_slice_2d<#dmp.topo<2x2>, false>, swaps = []}> : (!stencil.field<[-1,65]xf64>) -> ()
  }
  func.return
}

// CHECK-LABEL: func.func @ends
// CHECK:         %before = stencil.load %f
// CHECK-NEXT:    %swapped = {{.*}}dmp.swap
// CHECK-NEXT:    hpacml.ml infer
// CHECK-NEXT:      %v = memref.load %t[%i]
// CHECK-NEXT:      "test.op"(%swapped)
// CHECK-NEXT:      memref.store %v, %new[%i]
// CHECK-NEXT:    }
// CHECK-NEXT:    dmp.swap

func.func @between(%t: memref<66xf64>, %comm: i32, %i: index) {
  %inout = hpacml.map inout @point(%t[0 : 66]) : memref<66xf64> -> !hpacml.mapping<66xf64>
  hpacml.ml infer inout(%inout : !hpacml.mapping<66xf64>) label "between" {
    %v = memref.load %t[%i] : memref<66xf64>
    memref.store %v, %t[%i] : memref<66xf64>
    %status = func.call @MPI_Barrier(%comm) : (i32) -> i32
    memref.store %v, %t[%i] : memref<66xf64>
  }
  func.return
}

// CHECK-LABEL: func.func @between
// CHECK:         hpacml.ml infer
// CHECK:           memref.store
// CHECK-NEXT:      func.call @MPI_Barrier
// CHECK-NEXT:      memref.store

// What an exchange may change is read before it.
func.func @behind_a_read(%t: memref<66xf64>, %new: memref<66xf64>, %comm: i32, %i: index) {
  %in = hpacml.map to @point(%t[0 : 66]) : memref<66xf64> -> !hpacml.mapping<66xf64>
  %out = hpacml.map from @point(%new[0 : 66]) : memref<66xf64> -> !hpacml.mapping<66xf64>
  hpacml.ml infer in(%in : !hpacml.mapping<66xf64>) out(%out : !hpacml.mapping<66xf64>) label "read" {
    %v = memref.load %t[%i] : memref<66xf64>
    %status = func.call @MPI_Barrier(%comm) : (i32) -> i32
    memref.store %v, %new[%i] : memref<66xf64>
  }
  func.return
}

// CHECK-LABEL: func.func @behind_a_read
// CHECK:         hpacml.ml infer
// CHECK-NEXT:      %v = memref.load %t[%i]
// CHECK-NEXT:      func.call @MPI_Barrier
// CHECK-NEXT:      memref.store

// What an operation takes into its own regions comes with it.
func.func @captured(%t: memref<66xf64>, %new: memref<66xf64>, %i: index, %flag: i1) {
  %in = hpacml.map to @point(%t[0 : 66]) : memref<66xf64> -> !hpacml.mapping<66xf64>
  %out = hpacml.map from @point(%new[0 : 66]) : memref<66xf64> -> !hpacml.mapping<66xf64>
  hpacml.ml infer in(%in : !hpacml.mapping<66xf64>) out(%out : !hpacml.mapping<66xf64>) label "captured" {
    %world = arith.constant 7 : i32
    %same = arith.constant 8 : i32
    %comm = scf.if %flag -> (i32) {
      %sum = arith.addi %world, %world : i32
      scf.yield %sum : i32
    } else {
      scf.yield %same : i32
    }
    %status = func.call @MPI_Barrier(%comm) : (i32) -> i32
    %v = memref.load %t[%i] : memref<66xf64>
    memref.store %v, %new[%i] : memref<66xf64>
  }
  func.return
}

// CHECK-LABEL: func.func @captured
// CHECK:         %world = arith.constant 7
// CHECK-NEXT:    %same = arith.constant 8
// CHECK-NEXT:    %comm = scf.if %flag
// CHECK-NEXT:      %sum = arith.addi %world, %world
// CHECK:         func.call @MPI_Barrier(%comm)
// CHECK-NEXT:    hpacml.ml infer
// CHECK-NEXT:      %v = memref.load %t[%i]

// REFUSED: func.call is in the region 'between', and a model in its place would skip what other processes wait for: put it before or behind the region
