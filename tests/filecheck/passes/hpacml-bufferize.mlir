// Regions on tensors work on memory: a copy of what they write, or what an earlier region has written for them alone.

// RUN: hpacml-opt %s -p hpacml-bufferize | filecheck %s
// RUN: hpacml-opt %s -p hpacml-bufferize --print-op-generic | hpacml-opt -p hpacml-bufferize | filecheck %s

hpacml.functor @point : [i] = ([i])

func.func @chain(%t: tensor<?xf64>, %n: index) -> tensor<?xf64> {
  %in = hpacml.map to @point(%t[0 : %n]) : tensor<?xf64> -> !hpacml.mapping<?xf64>
  %out = hpacml.map from @point(%t[0 : %n]) : tensor<?xf64> -> !hpacml.mapping<?xf64>
  %new = hpacml.ml collect in(%in : !hpacml.mapping<?xf64>) out(%out : !hpacml.mapping<?xf64>) label "a" -> tensor<?xf64> {
    %made = "test.op"(%t) : (tensor<?xf64>) -> tensor<?xf64>
    hpacml.yield %made : tensor<?xf64>
  }
  %inout = hpacml.map inout @point(%new[0 : %n]) : tensor<?xf64> -> !hpacml.mapping<?xf64>
  %last = hpacml.ml collect inout(%inout : !hpacml.mapping<?xf64>) label "b" -> tensor<?xf64> {
    %made = "test.op"() : () -> tensor<?xf64>
    hpacml.yield %made : tensor<?xf64>
  }
  func.return %last : tensor<?xf64>
}

// CHECK-LABEL: func.func @chain(%t: memref<?xf64>, %n: index) -> memref<?xf64> {
// CHECK-NEXT:    [[t:%.*]] = bufferization.to_tensor %t restrict : memref<?xf64> to tensor<?xf64>
// CHECK:         [[own:%.*]] = memref.alloc(%{{.*}}) : memref<?xf64>
// CHECK-NEXT:    bufferization.materialize_in_destination [[t]] in restrict writable [[own]]
// CHECK-NEXT:    [[read:%.*]] = bufferization.to_buffer [[t]] read_only
// CHECK-NEXT:    %in = hpacml.map to @point([[read]][0 : %n])
// CHECK-NEXT:    %out = hpacml.map from @point([[own]][0 : %n])
// CHECK:         hpacml.ml collect in(%in : !hpacml.mapping<?xf64>) out(%out : !hpacml.mapping<?xf64>) label "a" {
// CHECK-NEXT:      [[inside:%.*]] = bufferization.to_tensor %{{.*}} restrict :
// CHECK-NEXT:      %made = "test.op"([[inside]])
// CHECK-NEXT:      bufferization.materialize_in_destination %made in restrict writable [[own]]
// CHECK-NEXT:    }
// CHECK-NOT:     memref.alloc
// CHECK:         %inout = hpacml.map inout @point([[own]][0 : %n])
// CHECK-NEXT:    hpacml.ml collect inout(%inout : !hpacml.mapping<?xf64>) label "b" {
// CHECK:           bufferization.materialize_in_destination %{{.*}} in restrict writable [[own]]
// CHECK:         func.return [[own]] : memref<?xf64>

// An earlier result that something else uses is copied, and so is one from outside of a loop.

func.func @used(%t: tensor<9xf64>, %n: index) -> (tensor<9xf64>, tensor<9xf64>) {
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %a = hpacml.map inout @point(%t[0 : 9]) : tensor<9xf64> -> !hpacml.mapping<9xf64>
  %first = hpacml.ml infer inout(%a : !hpacml.mapping<9xf64>) label "a" -> tensor<9xf64> {
    hpacml.yield %t : tensor<9xf64>
  }
  %last = scf.for %i = %zero to %n step %one iter_args(%x = %t) -> (tensor<9xf64>) {
    %b = hpacml.map inout @point(%first[0 : 9]) : tensor<9xf64> -> !hpacml.mapping<9xf64>
    %next = hpacml.ml infer inout(%b : !hpacml.mapping<9xf64>) label "b" -> tensor<9xf64> {
      hpacml.yield %x : tensor<9xf64>
    }
    scf.yield %next : tensor<9xf64>
  }
  func.return %first, %last : tensor<9xf64>, tensor<9xf64>
}

// CHECK-LABEL: func.func @used
// CHECK:         scf.for
// CHECK:           [[copy:%.*]] = memref.alloc() : memref<9xf64>
// CHECK-NEXT:      bufferization.materialize_in_destination %first in restrict writable [[copy]]
// CHECK-NEXT:      %b = hpacml.map inout @point([[copy]][0 : 9])

// A gather reads the memory of a tensor; arrays that come beside it may be its memory, and are written.

func.func @gathered(%t: tensor<9xf64>, %x: memref<9xf64>) -> f64 {
  %zero = arith.constant 0 : index
  %a = hpacml.map to @point(%t[0 : 9]) : tensor<9xf64> -> !hpacml.mapping<9xf64>
  hpacml.gather %a into %x : !hpacml.mapping<9xf64>, memref<9xf64>
  %v = tensor.extract %t[%zero] : tensor<9xf64>
  %same = func.call @same(%t) : (tensor<9xf64>) -> tensor<9xf64>
  func.return %v : f64
}

func.func private @same(tensor<9xf64>) -> tensor<9xf64>

// CHECK-LABEL: func.func @gathered(%t: memref<9xf64>, %x: memref<9xf64>) -> f64 {
// CHECK-NEXT:    [[t:%.*]] = bufferization.to_tensor %t restrict
// CHECK-NEXT:    [[copy:%.*]] = memref.alloc() : memref<9xf64>
// CHECK-NEXT:    bufferization.materialize_in_destination [[t]] in restrict writable [[copy]]
// CHECK-NEXT:    [[own:%.*]] = bufferization.to_tensor [[copy]] restrict writable
// CHECK:         [[read:%.*]] = bufferization.to_buffer [[own]] read_only
// CHECK-NEXT:    %a = hpacml.map to @point([[read]][0 : 9])
// CHECK:         [[given:%.*]] = bufferization.to_buffer [[own]] read_only
// CHECK-NEXT:    %{{.*}} = func.call @same([[given]]) : (memref<9xf64>) -> memref<9xf64>
// CHECK:       func.func private @same(memref<9xf64>) -> memref<9xf64>
