// What the verifiers and parsers refuse, and what they say.

// RUN: hpacml-opt %s --verify-diagnostics --parsing-diagnostics --split-input-file | filecheck %s

hpacml.functor @f : [i, 0:2] = ([i], [i + 1], [i + 2])

// CHECK: Operation does not verify: the left side declares 2 features, the right side gives 3: make the feature range on the left that long

// -----

hpacml.functor @f : [i] = ([i, 0:2])

// CHECK: Operation does not verify: the left side declares 1 feature, the right side gives 2: make the feature range on the left that long

// -----

hpacml.functor @f(n) : [i, 0:6 * n] = ([i : i + 6 * n + 1])

// CHECK: Operation does not verify: the left side declares 6 * n features, the right side gives 6 * n + 1: make the feature range on the left that long

// -----

hpacml.functor @f : [i, 0:k] = ([i, k])

// CHECK: Operation does not verify: the feature range '0:k' on the left depends on the symbol 'k': its bounds may hold integers and integer parameters only

// -----

hpacml.functor @f : [i, 0:4:0] = ([i])

// CHECK: Operation does not verify: the step of '0:4:0' is 0

// -----

hpacml.functor @f : [i + 1, 0:1] = ([i])

// CHECK: Operation does not verify: 'i + 1' on the left side is neither a symbol nor a range: write a bare symbol for a dimension of the sweep, or a range such as 0:5 for features

// -----

hpacml.functor @f(i) : [i] = ([i])

// CHECK: Operation does not verify: 'i' is an integer here, and so no symbol: write a range such as 0:i for that many features, or give the symbol another name

// -----

hpacml.functor @f : [i, i] = ([i])

// CHECK: Operation does not verify: the symbol 'i' stands twice on the left side

// -----

hpacml.functor @f : [i, f, g] = ([i, 0:4])

// CHECK: Operation does not verify: neither 'f' nor 'g' occurs on the right side, and only one dimension's size can be inferred: give one of them as a range

// -----

hpacml.functor @f : [i, j] = ([i * j])

// CHECK: Operation does not verify: 'i * j' multiplies the symbols 'i' and 'j': indices must be affine in the symbols

// -----

hpacml.functor @f : [i, f] = ([0:i])

// CHECK: Operation does not verify: the extent of '0:i' depends on the symbol 'i': a range must have the same number of elements at every point of the sweep

// -----

hpacml.functor @f : [i, f] = ([i], [0:4:i])

// CHECK: Operation does not verify: the step of '0:4:i' depends on the symbol 'i'

// -----

hpacml.functor @f : [f] = ([0:4:0])

// CHECK: Operation does not verify: the step of '0:4:0' is 0

// -----

hpacml.functor @f(n) : [i] = ([i])

// CHECK: Operation does not verify: parameters must be the integer names that occur, in alphabetical order

// -----

hpacml.functor @f(n, m) : [i, f] = ([i : i + n * m])

// CHECK: Operation does not verify: parameters must be the integer names that occur, in alphabetical order

// -----

hpacml.functor @f : [i, 0:1] = ([i / 2])

// CHECK: ']' expected

// -----

func.func @f(%t: memref<9xf32>) {
  %a = hpacml.map to @missing(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  func.return
}

// CHECK: Operation does not verify: @missing is not an hpacml.functor

// -----

func.func @f(%t: memref<9xf32>) {
  %a = hpacml.map to @f(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  func.return
}

// CHECK: Operation does not verify: @f is not an hpacml.functor

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9x9xf32>) {
  %a = hpacml.map to @p(%t[0 : 9]) : memref<9x9xf32> -> !hpacml.mapping<9xf32>
  func.return
}

// CHECK: Operation does not verify: the target of 't' gives 1 range, but the array has 2 dimensions

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9x9xf32>) {
  %a = hpacml.map to @p(%t[0 : 9, 0 : 9]) : memref<9x9xf32> -> !hpacml.mapping<9xf32>
  func.return
}

// CHECK: Operation does not verify: the slice [i] has 1 entry, but the target 't' has 2 dimensions

// -----

hpacml.functor @p : [i, 0:3] = ([i], [i], [i])
func.func @f(%t: memref<9xf32>) {
  %a = hpacml.map to @p(%t[0 : 9], %t[0 : 9]) : memref<9xf32>, memref<9xf32> -> !hpacml.mapping<9x3xf32>
  func.return
}

// CHECK: Operation does not verify: the functor has 3 slices on its right side but is applied to 2 targets: give one target for all slices, or one per slice

// -----

hpacml.functor @p : [i, 0:4] = ([i, k])
func.func @f(%t: memref<9x9xf32>) {
  %a = hpacml.map to @p(%t[0 : 9, 0 : 5]) : memref<9x9xf32> -> !hpacml.mapping<9x4xf32>
  func.return
}

// CHECK: Operation does not verify: the left side declares 4 features, the right side gives 5: make the feature range on the left that long

// -----

hpacml.functor @p : [i, 0:2] = ([i - 1], [i + 1])
func.func @f(%t: memref<9xf32>) {
  %a = hpacml.map to @p(%t[1 : 9]) : memref<9xf32> -> !hpacml.mapping<8x2xf32>
  func.return
}

// CHECK: Operation does not verify: the entry 'i + 1' of the slice [i + 1] reaches index 9 in dimension 0 of 't', which has 9 elements

// -----

hpacml.functor @p : [i, 0:1] = ([i])
func.func @f(%t: memref<9xf32>) {
  %a = hpacml.map to @p(%t[-1 : 9]) : memref<9xf32> -> !hpacml.mapping<10x1xf32>
  func.return
}

// CHECK: Operation does not verify: the entry 'i' of the slice [i] reaches index -1 in dimension 0 of 't', which has 9 elements

// -----

hpacml.functor @p : [i, 0:1] = ([i, 0])
func.func @f(%t: memref<9x9xf32>) {
  %a = hpacml.map to @p(%t[0 : 9, 1 : 4]) : memref<9x9xf32> -> !hpacml.mapping<9x1xf32>
  func.return
}

// CHECK: Operation does not verify: the entry '0' of the slice [i, 0] is an absolute index, and lies outside the range of dimension 1 of 't' (1 to 3)

// -----

hpacml.functor @p : [i, 0:2] = ([i], [i])
func.func @f(%t: memref<9xf32>, %u: memref<9xf32>) {
  %a = hpacml.map to @p(%t[0 : 9], %u[0 : 4]) : memref<9xf32>, memref<9xf32> -> !hpacml.mapping<9x2xf32>
  func.return
}

// CHECK: Operation does not verify: the symbol 'i' runs over 9 values in dimension 0 of 't' but over 4 in dimension 0 of 'u'

// -----

hpacml.functor @p : [i, 0:2] = ([i], [i])
func.func @f(%t: memref<9xf32>, %u: memref<9xf32>) {
  %a = hpacml.map from @p(%t[0 : 9], %u[0 : 1]) : memref<9xf32>, memref<9xf32> -> !hpacml.mapping<9x2xf32>
  func.return
}

// CHECK: Operation does not verify: the symbol 'i' runs over 9 values in dimension 0 of 't' but over 1 in dimension 0 of 'u'

// -----

hpacml.functor @p : [i, 0:2] = ([i], [i])
func.func @f(%0: memref<9xf32>, %1: memref<9xf32>) {
  %a = hpacml.map to @p(%0[0 : 9], %1[3]) : memref<9xf32>, memref<9xf32> -> !hpacml.mapping<9x2xf32>
  func.return
}

// CHECK: Operation does not verify: dimension 0 of 'array 1' is a single index, but the symbol 'i' that meets it runs over 9 values: write a range

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9xf32>) {
  %a = hpacml.map to @p(%t[0 : 9 : 0]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  func.return
}

// CHECK: Operation does not verify: the step of a range is 0

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9xf32>) {
  %a = hpacml.map to @p(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<8xf32>
  func.return
}

// CHECK: Operation does not verify: the map's type is !hpacml.mapping<8xf32>, but the functor makes it !hpacml.mapping<9xf32>

// -----

hpacml.functor @p(m) : [i] = ([i + m])
func.func @f(%t: memref<9xf32>) {
  %a = hpacml.map to @p(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  func.return
}

// CHECK: Operation does not verify: the functor has 1 parameter, 0 are given

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9xf32>, %k: index) {
  %a = hpacml.map to @p(%t[0 : 9]) params(%k) : memref<9xf32> -> !hpacml.mapping<9xf32>
  func.return
}

// CHECK: Operation does not verify: the functor has 0 parameters, 1 are given

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9xf32>) {
  %a = "hpacml.map"(%t, %t) <{direction = #hpacml<direction to>, functor = @p, targets = [#hpacml.target<[0 : 9]>], operandSegmentSizes = array<i32: 2, 0, 0>}> : (memref<9xf32>, memref<9xf32>) -> !hpacml.mapping<9xf32>
  func.return
}

// CHECK: Operation does not verify: the targets name 1 arrays, 2 are given

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9xf32>) {
  %a = "hpacml.map"(%t) <{direction = #hpacml<direction to>, functor = @p, targets = [#hpacml.target<[*[*[0 : 9]]]>], operandSegmentSizes = array<i32: 1, 0, 0>}> : (memref<9xf32>) -> !hpacml.mapping<9xf32>
  func.return
}

// CHECK: Operation does not verify: the targets name 3 arrays, 1 are given

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9xf32>, %n: index) {
  %a = "hpacml.map"(%t, %n) <{direction = #hpacml<direction to>, functor = @p, targets = [#hpacml.target<[? : ?]>], operandSegmentSizes = array<i32: 1, 1, 0>}> : (memref<9xf32>, index) -> !hpacml.mapping<?xf32>
  func.return
}

// CHECK: Operation does not verify: the ranges leave 2 numbers open, 1 are given

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9xi7>) {
  %a = hpacml.map to @p(%t[0 : 9]) : memref<9xi7> -> !hpacml.mapping<9xf32>
  func.return
}

// CHECK: Operation does not verify: element type i7 is none of i1, i8, si8, ui16, i16, ui32, i32, ui64, i64, f16, bf16, f32, f64

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9xf32, affine_map<(d0) -> (d0 * 3)>>) {
  %a = hpacml.map to @p(%t[0 : 9]) : memref<9xf32, affine_map<(d0) -> (d0 * 3)>> -> !hpacml.mapping<9xf32>
  func.return
}

// CHECK: Operation does not verify: an array has the layout affine_map<(d0) -> ((d0 * 3))>: give it strides instead

// -----

hpacml.functor @f(n) : [0:n] = ()

// CHECK: Operation does not verify: the right side has no slice: give at least one, as in ([i])

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9xf32>, %idx: memref<9xf32>) {
  %a = hpacml.map to @p(%t[*%idx[0 : 9]]) : memref<9xf32>, memref<9xf32> -> !hpacml.mapping<9xf32>
  func.return
}

// CHECK: Operation does not verify: the array 'idx' is used as indices, but has elements of f32: indices are integers

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9xf32>, %idx: memref<9xi64>, %jdx: memref<9xbf16>) {
  %a = hpacml.map from @p(%t[*%idx[*%jdx[0 : 9]]]) unchecked : memref<9xf32>, memref<9xi64>, memref<9xbf16> -> !hpacml.mapping<9xf32>
  func.return
}

// CHECK: Operation does not verify: the array 'jdx' is used as indices, but has elements of bf16: indices are integers

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9xf32>, %idx: memref<9xi24>) {
  %a = hpacml.map to @p(%t[*%idx[0 : 9]]) : memref<9xf32>, memref<9xi24> -> !hpacml.mapping<9xf32>
  func.return
}

// CHECK: Operation does not verify: element type i24 is none of i1, i8, si8, ui16, i16, ui32, i32, ui64, i64, f16, bf16, f32, f64

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9x9xf32>, %idx: memref<9xi64>) {
  %a = hpacml.map to @p(%t[*%idx[0 : 9]]) : memref<9x9xf32>, memref<9xi64> -> !hpacml.mapping<9xf32>
  func.return
}

// CHECK: Operation does not verify: the target of 't' gives 1 range, but the array has 2 dimensions

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9xf32>, %idx: memref<9x9xi64>) {
  %a = hpacml.map to @p(%t[*%idx[0 : 9]]) : memref<9xf32>, memref<9x9xi64> -> !hpacml.mapping<9xf32>
  func.return
}

// CHECK: Operation does not verify: the target of 'idx' gives 1 range, but the array has 2 dimensions

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9x9xf32>, %idx: memref<9xi64>) {
  %a = hpacml.map to @p(%t[*%idx[0 : 9], *%idx[0 : 9]]) : memref<9x9xf32>, memref<9xi64>, memref<9xi64> -> !hpacml.mapping<9xf32>
  func.return
}

// CHECK: Operation does not verify: the slice [i] has 1 entry, but the target 't' has 2 dimensions

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9xf32>, %idx: memref<4xi64>) {
  %a = hpacml.map to @p(%t[*%idx[0 : 5]]) : memref<9xf32>, memref<4xi64> -> !hpacml.mapping<5xf32>
  func.return
}

// CHECK: Operation does not verify: the entry 'i' of the slice [i] reaches index 4 in dimension 0 of 'idx', which has 4 elements

// -----

hpacml.functor @p : [i, 0:3] = ([i, 0:3])
func.func @f(%t: memref<9x2xf32>, %idx: memref<4xi64>) {
  %a = hpacml.map to @p(%t[*%idx[0 : 4], 0 : 3]) : memref<9x2xf32>, memref<4xi64> -> !hpacml.mapping<4x3xf32>
  func.return
}

// CHECK: Operation does not verify: the entry '0:3' of the slice [i, 0:3] reaches index 2 in dimension 1 of 't', which has 2 elements

// -----

hpacml.functor @p : [i, 0:2] = ([i], [i])
func.func @f(%t: memref<9xf32>, %idx: memref<4xi64>) {
  %a = hpacml.map to @p(%t[*%idx[0 : 4]], %t[0 : 5]) : memref<9xf32>, memref<4xi64>, memref<9xf32> -> !hpacml.mapping<4x2xf32>
  func.return
}

// CHECK: Operation does not verify: the symbol 'i' runs over 4 values in dimension 0 of 'idx' but over 5 in dimension 0 of 't'

// -----

hpacml.functor @p : [i, 0:2] = ([i], [i])
func.func @f(%t: memref<9xf32>, %idx: memref<4xi64>) {
  %a = hpacml.map to @p(%t[*%idx[3]], %t[0 : 5]) : memref<9xf32>, memref<4xi64>, memref<9xf32> -> !hpacml.mapping<5x2xf32>
  func.return
}

// CHECK: Operation does not verify: dimension 0 of 'idx' is a single index, but the symbol 'i' that meets it runs over 5 values: write a range

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9xf32>, %idx: memref<4xi64>) {
  %a = hpacml.map to @p(%t[*%idx[0 : 4]]) : memref<9xf32>, memref<4xi64> -> !hpacml.mapping<5xf32>
  func.return
}

// CHECK: Operation does not verify: the map's type is !hpacml.mapping<5xf32>, but the functor makes it !hpacml.mapping<4xf32>

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9xf32>, %idx: memref<4xi64>) {
  %a = hpacml.map to @p(%t[*%idx[0 : 4]]) : memref<9xf32> -> !hpacml.mapping<4xf32>
  func.return
}

// CHECK: expected 1 operand types but had 2

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9xf32>, %idx: memref<4xi64>) {
  %a = hpacml.map to @p(%t[**%idx[0 : 4]]) : memref<9xf32>, memref<4xi64> -> !hpacml.mapping<4xf32>
  func.return
}

// CHECK: operand expected

// -----

func.func @f(%t: !hpacml.mapping<9xi7>) {
  func.return
}

// CHECK: element type i7 is none of i1, i8, si8, ui16, i16, ui32, i32, ui64, i64, f16, bf16, f32, f64

// -----

func.func @f(%in: !hpacml.mapping<9xf32>) {
  %x = hpacml.tensor %in : !hpacml.mapping<9xf32> -> memref<9xf64>
  func.return
}

// CHECK: Operation does not verify: a tensor of type memref<9xf64> does not fit a mapping of type !hpacml.mapping<9xf32>

// -----

func.func @f(%in: !hpacml.mapping<9xf32>, %x: memref<9x1xf32>) {
  hpacml.scatter %x into %in : memref<9x1xf32>, !hpacml.mapping<9xf32>
  func.return
}

// CHECK: Operation does not verify: a tensor of type memref<9x1xf32> does not fit a mapping of type !hpacml.mapping<9xf32>

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9xf32>) {
  %a = hpacml.map to @p(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  hpacml.scatter %t into %a : memref<9xf32>, !hpacml.mapping<9xf32>
  func.return
}

// CHECK: Operation does not verify: cannot scatter through a 'to' map, only add

// -----

func.func @f(%in: !hpacml.mapping<9xf32>, %c: i1) {
  hpacml.ml infer(%c) in(%in : !hpacml.mapping<9xf32>) out(%in : !hpacml.mapping<9xf32>) label "r" {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: Operation does not verify: a condition belongs to mode 'predicated', and only to it

// -----

func.func @f(%in: !hpacml.mapping<9xf32>) {
  hpacml.ml predicated in(%in : !hpacml.mapping<9xf32>) out(%in : !hpacml.mapping<9xf32>) label "r" {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: Operation does not verify: a condition belongs to mode 'predicated', and only to it

// -----

func.func @f(%in: !hpacml.mapping<9xf32>) {
  hpacml.ml infer in(%in : !hpacml.mapping<9xf32>) out(%in : !hpacml.mapping<9xf32>) label "r" batch -1 {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: Operation does not verify: batch must not be negative

// -----

func.func @f(%in: !hpacml.mapping<9xf32>) {
  hpacml.ml infer in(%in : !hpacml.mapping<9xf32>) out(%in : !hpacml.mapping<9xf32>) label "r" on_error "ignore" {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: Operation does not verify: on_error is one of raise, accurate

// -----

func.func @f(%x: memref<?x5xf32>, %y: memref<f32>) {
  %done = hpacml.infer_on_views "r" tensors [memref<?x5xf32>, memref<?xf32>] ins(%x : memref<?x5xf32>) outs(%y : memref<f32>)
  func.return
}

// CHECK: Operation does not verify: a view of type memref<f32> lacks dimensions of the sweep

// -----

func.func @f(%x: memref<?x5xf32>) {
  %done = hpacml.infer_on_views "r" tensors [memref<?x5xf32>] ins(%x : memref<?x5xf32>) outs(%x : memref<?x5xf32>)
  func.return
}

// CHECK: Operation does not verify: an inference on views has one input and one output, and views of both

// -----

func.func @f(%in: !hpacml.mapping<9xf32>) {
  hpacml.ml infer in(%in : !hpacml.mapping<9xf32>) out(%in : !hpacml.mapping<9xf32>) label "r" sample <every: 2> {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: Operation does not verify: a region that only infers has nothing to sample

// -----

func.func @f(%in: !hpacml.mapping<9xf32>) {
  hpacml.ml collect inout(%in : !hpacml.mapping<9xf32>) label "r" sample <every: 0> {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: Operation does not verify: 'every' is an integer, 1 or more, as in every: 10

// -----

func.func @f() {
  %sampled = hpacml.sample "r" <fraction: 1.5>
  func.return
}

// CHECK: Operation does not verify: 'fraction' is a number above 0 and up to 1, as in fraction: 0.1

// -----

func.func @f() {
  %sampled = hpacml.sample "r" <every: 2, seed: 1>
  func.return
}

// CHECK: Operation does not verify: 'seed' chooses the calls of a 'fraction': give one, as in fraction: 0.1, or leave the seed out

// -----

func.func @f() {
  %sampled = hpacml.sample "r" <>
  func.return
}

// CHECK: Operation does not verify: 'sample' takes one or several of every, fraction, seed, most

// -----

func.func @f() {
  %sampled = hpacml.sample "r" <rows: 2>
  func.return
}

// CHECK: expected one of every, fraction, seed, most

// -----

func.func @f(%a: memref<?xf64>, %b: memref<?x?xf64>, %c: memref<?xf32>) {
  %known = hpacml.domain "r" into(%a : memref<?xf64>)
  func.return
}

// CHECK: Operation does not verify: each input has a low and a high, and there are 1 arrays for these

// -----

func.func @f(%a: memref<?xf64>, %b: memref<?x?xf64>, %c: memref<?xf32>) {
  %known = hpacml.domain "r" margin -0.5 into(%a, %a : memref<?xf64>, memref<?xf64>)
  func.return
}

// CHECK: Operation does not verify: a margin is a part of each range's width, and this is -0.5

// -----

func.func @f(%a: memref<?xf64>, %b: memref<?x?xf64>, %c: memref<?xf32>) {
  %known = hpacml.domain "r" margin 0x7FF0000000000000 : f64 into(%a, %a : memref<?xf64>, memref<?xf64>)
  func.return
}

// CHECK: Operation does not verify: a margin is a part of each range's width, and this is inf

// -----

func.func @f(%a: memref<?xf64>, %b: memref<?x?xf64>, %c: memref<?xf32>) {
  %known = hpacml.domain "r" on_error "retry" into(%a, %a : memref<?xf64>, memref<?xf64>)
  func.return
}

// CHECK: Operation does not verify: on_error is one of raise, accurate

// -----

func.func @f(%a: memref<?xf64>, %b: memref<?x?xf64>, %c: memref<?xf32>) {
  %known = hpacml.domain "r" into(%a, %a : memref<?xf64>, memref<?xf64>) distance(%a : memref<?xf64>)
  func.return
}

// CHECK: Operation does not verify: a distance takes a mean and a whitening, and has 1 arrays

// -----

func.func @f(%a: memref<?xf64>, %b: memref<?x?xf64>, %c: memref<?xf32>) {
  %known = hpacml.domain "r" into(%a, %c : memref<?xf64>, memref<?xf32>)
  func.return
}

// CHECK: Operation does not verify: the array is a dense memref<?xf64>, and this is a memref<?xf32>

// -----

func.func @f(%x: memref<?x2xf32>, %a: memref<?xf64>, %c: memref<?xf32>, %mask: memref<?xi8>) {
  hpacml.check_range (%x : memref<?x2xf32>) features [1, -1] low %a high %c into %mask : memref<?xf64>, memref<?xf32>, memref<?xi8>
  func.return
}

// CHECK: Operation does not verify: a range has ends of f32 or of f64, and this one of f64 and f32

// -----

func.func @f(%x: !hpacml.mapping<?x2xf32>, %a: memref<?xf64>, %mask: memref<?x?xi8>) {
  hpacml.check_range (%x : !hpacml.mapping<?x2xf32>) features [1, -1] low %a high %a into %mask : memref<?xf64>, memref<?xf64>, memref<?x?xi8>
  func.return
}

// CHECK: Operation does not verify: a mask of 2 dimensions is no mask of the 1 of the sweep of !hpacml.mapping<?x2xf32>

// -----

func.func @f(%a: memref<?xf64>, %b: memref<?x?xf64>, %c: memref<?xf32>) {
  %known = hpacml.domain "r" into(%a, %a : memref<?xf64>, memref<?xf64>) distance(%a, %a : memref<?xf64>, memref<?xf64>)
  func.return
}

// CHECK: Operation does not verify: the array is a dense memref<?x?xf64>, and this is a memref<?xf64>

// -----

func.func @f() {
  %due, %open = hpacml.count_inference "r" <every: 0, tolerance: 0.1>
  func.return
}

// CHECK: 'every' is an integer, 1 or more, as in every: 10

// -----

func.func @f() {
  %due, %open = hpacml.count_inference "r" <every: 2, tolerance: 0.0>
  func.return
}

// CHECK: 'tolerance' is a number above 0, as in tolerance: 0.01

// -----

func.func @f() {
  %due, %open = hpacml.count_inference "r" <every: 2, tolerance: 0.1, window: 2.5>
  func.return
}

// CHECK: 'window' is an integer, 1 or more, as in window: 10

// -----

func.func @f() {
  %due, %open = hpacml.count_inference "r" <every: 2, tolerance: 0.1, metric: mse>
  func.return
}

// CHECK: 'metric' is one of rmse, mape, max, as in metric: rmse

// -----

func.func @f() {
  %due, %open = hpacml.count_inference "r" <every: 2, tolerance: 0.1, then: stop>
  func.return
}

// CHECK: 'then' is one of accurate, raise, warn, as in then: accurate

// -----

func.func @f() {
  %due, %open = hpacml.count_inference "r" <every: 2>
  func.return
}

// CHECK: expected every and tolerance

// -----

func.func @f() {
  %due, %open = hpacml.count_inference "r" <each: 2>
  func.return
}

// CHECK: expected one of every, tolerance, metric, window, then

// -----

func.func @f(%y: memref<9xf32>) {
  %good = hpacml.verify "r" <every: 2, tolerance: 0.1> ins(%y, %y : memref<9xf32>, memref<9xf32>) against(%y : memref<9xf32>)
  func.return
}

// CHECK: Operation does not verify: 1 tensors are compared with 2 outputs

// -----

func.func @f(%y: memref<9xf32>, %z: memref<9xf64>) {
  %good = hpacml.verify "r" <every: 2, tolerance: 0.1> ins(%y : memref<9xf32>) against(%z : memref<9xf64>)
  func.return
}

// CHECK: Operation does not verify: an output of type memref<9xf32> is compared with a memref<9xf64>

// -----

func.func @f(%y: memref<9xf32>, %mask: memref<9xi1>) {
  %good = hpacml.verify "r" <every: 2, tolerance: 0.1> ins(%y : memref<9xf32>) against(%y : memref<9xf32>) where(%mask : memref<9xi1>)
  func.return
}

// CHECK: Operation does not verify: a mask has elements of i8, and this is a memref<9xi1>

// -----

func.func @f(%y: memref<9xf32>, %mask: memref<9x3xi8>) {
  %good = hpacml.verify "r" <every: 2, tolerance: 0.1> ins(%y : memref<9xf32>) against(%y : memref<9xf32>) where(%mask : memref<9x3xi8>)
  func.return
}

// CHECK: Operation does not verify: a mask of type memref<9x3xi8> has more dimensions than an output of type memref<9xf32>

// -----

func.func @f(%mask: memref<9xi1>) {
  %rejected = hpacml.count_points "r" %mask : memref<9xi1>
  func.return
}

// CHECK: Operation does not verify: a mask has elements of i8, and this is a memref<9xi1>

// -----

func.func @f(%mask: memref<9xi8>, %at: memref<9xi32>) {
  %rejected = hpacml.count_points "r" %mask : memref<9xi8> positions %at : memref<9xi32>
  func.return
}

// CHECK: Operation does not verify: positions are a memref<?xi64>, and these are a memref<9xi32>

// -----

func.func @f(%x: memref<9xf32>, %ms: f64) {
  hpacml.collect "r" sample <most: 0> ins(%x : memref<9xf32>) outs(%x : memref<9xf32>) time %ms
  func.return
}

// CHECK: Operation does not verify: 'most' is an integer, 1 or more, as in most: 10

// -----

func.func @f(%x: memref<9xf32>) {
  %done = hpacml.infer "r" on_error "ignore" ins(%x : memref<9xf32>) outs(%x : memref<9xf32>)
  func.return
}

// CHECK: Operation does not verify: on_error is one of raise, accurate

// -----

func.func @f(%in: !hpacml.mapping<9xf32>, %step: f64) {
  hpacml.ml collect inout(%in : !hpacml.mapping<9xf32>) numbers(%step) label "r" {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: Operation does not verify: 1 numbers have the names of none

// -----

func.func @f(%in: !hpacml.mapping<9xf32>, %step: f64) {
  hpacml.ml collect inout(%in : !hpacml.mapping<9xf32>) numbers(%step, %step) label "r" meta ["t", "t"] {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: Operation does not verify: 2 numbers have the names t, t

// -----

func.func @f(%in: !hpacml.mapping<9xf32>) {
  hpacml.ml collect inout(%in : !hpacml.mapping<9xf32>) truth(%in, %in : !hpacml.mapping<9xf32>, !hpacml.mapping<9xf32>) label "r" {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: Operation does not verify: 2 truths stand for 1 outputs

// -----

func.func @f(%in: !hpacml.mapping<9xf32>, %other: !hpacml.mapping<9x1xf32>) {
  hpacml.ml collect inout(%in : !hpacml.mapping<9xf32>) truth(%other : !hpacml.mapping<9x1xf32>) label "r" {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: Operation does not verify: a truth of 2 dimensions stands for an output of 1: map it as that

// -----

func.func @f(%in: !hpacml.mapping<9xf32>) {
  hpacml.ml infer in(%in : !hpacml.mapping<9xf32>) label "r" {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: Operation does not verify: a region needs at least one input and one output

// -----

func.func @f(%in: !hpacml.mapping<9xf32>) {
  hpacml.ml infer out(%in : !hpacml.mapping<9xf32>) label "r" {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: Operation does not verify: a region needs at least one input and one output

// -----

func.func @f(%in: !hpacml.mapping<9xf32>) {
  hpacml.ml infer in(%in : !hpacml.mapping<9xf32>) out(%in, %in : !hpacml.mapping<9xf32>) label "r" {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: expected 1 operand types but had 2

// -----

func.func @f(%in: !hpacml.mapping<9xf32>) {
  hpacml.ml infer inout(%in : !hpacml.mapping<9xf32>) {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: Expected 'label'

// -----

func.func @f(%in: !hpacml.mapping<9xf32>) {
  hpacml.ml infer inout(%in : !hpacml.mapping<9xf32>) label 3 {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: expected a string, got 3 : i64

// -----

func.func @f(%in: !hpacml.mapping<9xf32>) {
  hpacml.ml infer inout(%in : !hpacml.mapping<9xf32>) label "\FF" {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: expected a string, got "\FF"

// -----

func.func @f(%in: !hpacml.mapping<9xf32>) {
  hpacml.ml infer inout(%in : !hpacml.mapping<9xf32>) label "r" model batch 3 {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: attribute expected

// -----

func.func @f(%in: !hpacml.mapping<9xf32>) {
  hpacml.ml infer inout(%in : !hpacml.mapping<9xf32>) label "r" batch "3" {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: Expected integer literal

// -----

func.func @f(%in: !hpacml.mapping<9xf32>) {
  hpacml.ml infer inout(%in : !hpacml.mapping<9xf32>) label "r" on_error 3 {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: Operation does not verify: expected a string, got 3 : i64

// -----

func.func @f(%in: !hpacml.mapping<9xf32>) {
  hpacml.ml deduce inout(%in : !hpacml.mapping<9xf32>) label "r" {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: Expected `infer`, `collect`, or `predicated`.

// -----

func.func @f(%in: !hpacml.mapping<9xf32>) {
  hpacml.ml infer inout(%in : !hpacml.mapping<9xf32>) label "r" model 3 {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: Operation does not verify: Unexpected attribute 3 : i64

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9xf32>) {
  %a = hpacml.map from @p(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  hpacml.ml infer in(%a : !hpacml.mapping<9xf32>) out(%a : !hpacml.mapping<9xf32>) label "r" {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: Operation does not verify: an input is mapped by a 'from' map

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9xf32>) {
  %a = hpacml.map to @p(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  hpacml.ml infer inout(%a : !hpacml.mapping<9xf32>) label "r" {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: Operation does not verify: an output is mapped by a 'to' map

// -----

func.func @f(%v: memref<9xf32>, %x: memref<9x2xf32>, %n: index) {
  hpacml.pack %v into %x at %n features [2] : memref<9xf32>, memref<9x2xf32>
  func.return
}

// CHECK: Operation does not verify: features [2] are not dimensions of memref<9x2xf32> in order

// -----

func.func @f(%v: memref<9xf32>, %x: memref<9x2x2xf32>, %n: index) {
  hpacml.unpack %v from %x at %n features [2, 1] : memref<9xf32>, memref<9x2x2xf32>
  func.return
}

// CHECK: Operation does not verify: features [2, 1] are not dimensions of memref<9x2x2xf32> in order

// -----

func.func @f(%v: memref<9xf32>, %x: memref<9x2xf32>, %n: index) {
  hpacml.pack %v into %x at %n features [] : memref<9xf32>, memref<9x2xf32>
  func.return
}

// CHECK: Operation does not verify: a view of type memref<9xf32> lacks sweep dimensions of memref<9x2xf32>

// -----

func.func @f(%v: memref<8xf32>, %x: memref<9x2xf32>, %n: index) {
  hpacml.pack %v into %x at %n features [1] : memref<8xf32>, memref<9x2xf32>
  func.return
}

// CHECK: Operation does not verify: a view of type memref<8xf32> does not sweep over dimension 0 of memref<9x2xf32>

// -----

func.func @f(%v: memref<9xi7>, %x: memref<9x2xf32>, %n: index) {
  hpacml.pack %v into %x at %n features [1] : memref<9xi7>, memref<9x2xf32>
  func.return
}

// CHECK: Operation does not verify: element type i7 is none of i1, i8, si8, ui16, i16, ui32, i32, ui64, i64, f16, bf16, f32, f64

// -----

func.func @f(%v: memref<9xf32>, %x: memref<9x2xf32>, %n: index) {
  hpacml.fused_gather %v, %v into %x at %n features [1] : memref<9xf32>, memref<9xf32> -> memref<9x2xf32>
  func.return
}

// CHECK: Operation does not verify: expected views and as many first features, got 2 and 1

// -----

func.func @f(%v: memref<9xf32>, %w: memref<8xf32>, %x: memref<9x2xf32>, %n: index) {
  hpacml.fused_scatter %v, %w from %x at %n, %n features [1] : memref<9xf32>, memref<8xf32> -> memref<9x2xf32>
  func.return
}

// CHECK: Operation does not verify: a view of type memref<8xf32> does not sweep over dimension 0 of memref<9x2xf32>

// -----

func.func @f(%v: !hpacml.indirect<4xi24>) {
  func.return
}

// CHECK: element type i24 is none of i1, i8, si8, ui16, i16, ui32, i32, ui64, i64, f16, bf16, f32, f64

// -----

func.func @f(%rows: memref<4x9xf32>, %idx: memref<4xi32>) {
  %v = hpacml.indirect %rows[%idx] : memref<4x9xf32>[memref<4xi32>] -> !hpacml.indirect<4x9xf32>
  func.return
}

// CHECK: Operation does not verify: a view of 2 dimensions into memref<4x9xf32> takes an index for each dimension behind these, not 1

// -----

func.func @f(%rows: memref<4x9xf32>, %idx: memref<4xi32>) {
  %v = hpacml.indirect %rows[%idx, %idx, %idx] : memref<4x9xf32>[memref<4xi32>, memref<4xi32>, memref<4xi32>] -> !hpacml.indirect<4xf32>
  func.return
}

// CHECK: Operation does not verify: a view of 1 dimensions into memref<4x9xf32> takes an index for each dimension behind these, not 3

// -----

func.func @f(%rows: memref<4x9xf32>, %idx: memref<4xi32>) {
  %v = hpacml.indirect %rows[%idx] : memref<4x9xf32>[memref<4xi32>] -> !hpacml.indirect<5xf32>
  func.return
}

// CHECK: Operation does not verify: a view of type !hpacml.indirect<5xf32> does not fit memref<4x9xf32>

// -----

func.func @f(%rows: memref<4x9xf32>, %idx: memref<4xi32>) {
  %v = hpacml.indirect %rows[%idx] : memref<4x9xf32>[memref<4xi32>] -> !hpacml.indirect<4xf64>
  func.return
}

// CHECK: Operation does not verify: a view of type !hpacml.indirect<4xf64> does not fit memref<4x9xf32>

// -----

func.func @f(%rows: memref<4x9xf32>, %idx: memref<4x2xi32>) {
  %v = hpacml.indirect %rows[%idx] : memref<4x9xf32>[memref<4x2xi32>] -> !hpacml.indirect<4xf32>
  func.return
}

// CHECK: Operation does not verify: an index of type memref<4x2xi32> does not have the shape of the view, !hpacml.indirect<4xf32>

// -----

func.func @f(%rows: memref<4x9xf32>, %idx: !hpacml.indirect<i32>) {
  %v = hpacml.indirect %rows[%idx] : memref<4x9xf32>[!hpacml.indirect<i32>] -> !hpacml.indirect<4xf32>
  func.return
}

// CHECK: Operation does not verify: an index of type !hpacml.indirect<i32> does not have the shape of the view, !hpacml.indirect<4xf32>

// -----

func.func @f(%rows: memref<4x9xf32>, %idx: memref<4xf32>) {
  %v = hpacml.indirect %rows[%idx] : memref<4x9xf32>[memref<4xf32>] -> !hpacml.indirect<4xf32>
  func.return
}

// CHECK: Operation does not verify: indices have elements of integers, not f32

// -----

func.func @f(%v: !hpacml.indirect<9xf32>, %x: memref<9x2xf32>, %n: index) {
  hpacml.pack %v into %x at %n features [] : !hpacml.indirect<9xf32>, memref<9x2xf32>
  func.return
}

// CHECK: Operation does not verify: a view of type !hpacml.indirect<9xf32> lacks sweep dimensions of memref<9x2xf32>

// -----

func.func @f(%v: !hpacml.indirect<8xf32>, %x: memref<9x2xf32>, %n: index) {
  hpacml.fused_scatter %v from %x at %n features [1] : !hpacml.indirect<8xf32> -> memref<9x2xf32>
  func.return
}

// CHECK: Operation does not verify: a view of type !hpacml.indirect<8xf32> does not sweep over dimension 0 of memref<9x2xf32>

// -----

func.func @f(%v: memref<9xi1>, %x: memref<9xf32>, %n: index) {
  hpacml.unpack add %v from %x at %n features [] : memref<9xi1>, memref<9xf32>
  func.return
}

// CHECK: Operation does not verify: nothing can be added to the truth values of a view of type memref<9xi1>

// -----

func.func @f(%v: memref<9xi32>, %w: memref<9xi1>, %x: memref<9x2xf32>, %n: index) {
  hpacml.fused_scatter add %v, %w from %x at %n, %n features [1] : memref<9xi32>, memref<9xi1> -> memref<9x2xf32>
  func.return
}

// CHECK: Operation does not verify: nothing can be added to the truth values of a view of type memref<9xi1>

// -----

func.func @f(%t: memref<9xf32>) {
  %a = hpacml.map to @p(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9x1xf32>
  func.return
}
hpacml.functor @p : [i, 0:1] = ([i], [i])

// CHECK: Operation does not verify: the left side declares 1 feature, the right side gives 2: make the feature range on the left that long

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9xf32>) {
  %a = hpacml.map inout @p(%t[0 : 10]) : memref<9xf32> -> !hpacml.mapping<10xf32>
  func.return
}

// CHECK: Operation does not verify: the entry 'i' of the slice [i] reaches index 9 in dimension 0 of 't', which has 9 elements

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9xf32>, %n: index) {
  %a = hpacml.map to @p(%t[0 : %n : 0]) : memref<9xf32> -> !hpacml.mapping<?xf32>
  func.return
}

// CHECK: Operation does not verify: the step of a range is 0

// -----

func.func @f(%in: !hpacml.mapping<9xf32>) {
  hpacml.ml infer inout(%in : !hpacml.mapping<9xf32>, !hpacml.mapping<9xf32>) label "r" {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: expected 2 operand types but had 1

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%x: memref<9xi64>, %y: memref<9xf32>, %z: !hpacml.mapping<9xf32>) {
  %a = hpacml.map from @p(%y[*%x[0 : 9]]) : memref<9xf32>, memref<9xi64> -> !hpacml.mapping<9xf32>
  %b = hpacml.map from @p(%x[0 : 9]) : memref<9xi64> -> !hpacml.mapping<9xi64>
  hpacml.ml infer in(%z : !hpacml.mapping<9xf32>) out(%a, %b : !hpacml.mapping<9xf32>, !hpacml.mapping<9xi64>) label "r" {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: Operation does not verify: 'x' holds the indices of one output and is itself another: use a copy of it

// -----

func.func @f(%x: memref<4x9xf32>, %i: memref<5xi32>) {
  %v = hpacml.indirect %x[%i] : memref<4x9xf32>[memref<5xi32>] -> !hpacml.indirect<4xf32>
  func.return
}

// CHECK: Operation does not verify: an index of type memref<5xi32> does not have the shape of the view, !hpacml.indirect<4xf32>

// -----

hpacml.functor @f : [i] = ([i + 9223372036854775808])

// CHECK: Operation does not verify: the number 9223372036854775808 does not fit 64 bits

// -----

hpacml.functor @f : [i, 0:99999999999999999999] = ([i, 0:99999999999999999999])

// CHECK: Operation does not verify: the number 99999999999999999999 does not fit 64 bits

// -----

hpacml.functor @f : [i] = ([i])
func.func @f(%t: memref<9xf32>) {
  %a = hpacml.map to @f(%t[0 : 99999999999999999999]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  func.return
}

// CHECK: Operation does not verify: the number 99999999999999999999 does not fit 64 bits

// -----

hpacml.functor @f : [i, 0:1] = ([i - 1])
func.func @unknown_size(%t: memref<?xf32>) {
  %in = hpacml.map to @f(%t[0 : 4]) : memref<?xf32> -> !hpacml.mapping<4x1xf32>
  func.return
}

// CHECK: Operation does not verify: the entry 'i - 1' of the slice [i - 1] reaches index -1 in dimension 0 of 't', which has ? elements

// -----

hpacml.functor @f : [i, j] = ([i, j])
func.func @too_large(%t: memref<4611686018427387904x4xi8>) {
  %in = hpacml.map to @f(%t[0 : 1, 0 : 4]) : memref<4611686018427387904x4xi8> -> !hpacml.mapping<1x4xi8>
  func.return
}

// CHECK: Operation does not verify: the size of the array of 4611686018427387904 x 4 elements does not fit 64 bits

// -----

hpacml.functor @f : [i] = ([i])
func.func @too_large_tensor(%t: memref<4611686018427387904xf64, strided<[0]>>) {
  %in = hpacml.map to @f(%t[0 : 4611686018427387904]) : memref<4611686018427387904xf64, strided<[0]>> -> !hpacml.mapping<4611686018427387904xf64>
  func.return
}

// CHECK: Operation does not verify: the size of the tensor of 4611686018427387904 elements does not fit 64 bits

// -----

hpacml.functor @f : [i] = ([i])
func.func @arguments(%t: memref<9xf32>) {
  %a = hpacml.map inout @f(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  "hpacml.ml"(%a) <{mode = #hpacml<mode collect>, label = "r", operandSegmentSizes = array<i32: 0, 0, 0, 0, 1, 0, 0, 0, 0>}> ({
  ^bb0(%k: index):
    "test.op"(%k) : (index) -> ()
  }) : (!hpacml.mapping<9xf32>) -> ()
  func.return
}

// CHECK: Operation does not verify: the original code of a region takes no arguments: it uses values from outside

// -----

func.func @unknown_layer(%x: memref<?x3xf32>, %y: memref<?xf32>) {
  hpacml.network ["linear(3, 1)", "swish"] of f32 sweep 1 ins(%x : memref<?x3xf32>) outs(%y : memref<?xf32>)
  func.return
}

// CHECK: Operation does not verify: 'swish' is no layer: there are linear(inputs, outputs), normalize(features),

// -----

func.func @weights(%x: memref<?x3xf32>, %y: memref<?xf32>, %w: memref<3xf32>) {
  hpacml.network ["linear(3, 1)"] of f32 sweep 1 weights(%w : memref<3xf32>) ins(%x : memref<?x3xf32>) outs(%y : memref<?xf32>)
  func.return
}

// CHECK: Operation does not verify: the layers take weights of [4] elements, not {{\[}}[3]]

// -----

func.func @features(%x: memref<?x2xf32>, %y: memref<?xf32>, %w: memref<4xf32>) {
  hpacml.network ["linear(3, 1)"] of f32 sweep 1 weights(%w : memref<4xf32>) ins(%x : memref<?x2xf32>) outs(%y : memref<?xf32>)
  func.return
}

// CHECK: Operation does not verify: linear(3, 1) takes 3 features, and there are 2

// -----

func.func @results(%x: memref<?x3xf32>, %y: memref<?x2xf32>, %w: memref<4xf32>) {
  hpacml.network ["linear(3, 1)"] of f32 sweep 1 weights(%w : memref<4xf32>) ins(%x : memref<?x3xf32>) outs(%y : memref<?x2xf32>)
  func.return
}

// CHECK: Operation does not verify: the network gives 1 features, and its outputs have 2

// -----

func.func @unknown_features(%x: memref<?x?xf32>, %y: memref<?xf32>) {
  hpacml.network ["relu"] of f32 sweep 1 ins(%x : memref<?x?xf32>) outs(%y : memref<?xf32>)
  func.return
}

// CHECK: Operation does not verify: the number of features of memref<?x?xf32> is unknown

// -----

func.func @tiles(%n: index, %x: memref<3x128xf32>, %y: memref<3x64xf32>) {
  hpacml.layer ["relu"] points %n ins(%x : memref<3x128xf32>) outs(%y : memref<3x64xf32>)
  func.return
}

// CHECK: Operation does not verify: tiles of type memref<3x128xf32> and memref<3x64xf32> do not fit

// -----

func.func @two_linear(%n: index, %w: memref<6xf32>, %v: memref<3xf32>, %x: memref<2x128xf32>, %y: memref<1x128xf32>) {
  hpacml.layer ["linear(2, 2)", "linear(2, 1)"] points %n weights(%w, %v : memref<6xf32>, memref<3xf32>) ins(%x : memref<2x128xf32>) outs(%y : memref<1x128xf32>)
  func.return
}

// CHECK: Operation does not verify: a linear layer is the first of a stage

// -----

func.func @image(%x: memref<?x64xf32>) {
  hpacml.network ["image(1, 8, 8)", "tanh"] of f32 sweep 1 ins(%x : memref<?x64xf32>) outs(%x : memref<?x64xf32>)
  func.return
}

// CHECK: Operation does not verify: image(1, 8, 8) is in one view, which has these dimensions behind one of the sweep

// -----

func.func @no_image(%x: memref<?x64xf32>) {
  hpacml.network ["max_pool(1x1)"] of f32 sweep 1 ins(%x : memref<?x64xf32>) outs(%x : memref<?x64xf32>)
  func.return
}

// CHECK: Operation does not verify: max_pool(1x1) takes an image, and there are 64 features

// -----

func.func @padded(%x: memref<1x4x4xf32>, %y: memref<1x4x4xf32>) {
  hpacml.image_layer ["max_pool(3x3 padding 1x1)"] ins(%x : memref<1x4x4xf32>) outs(%y : memref<1x4x4xf32>)
  func.return
}

// CHECK: Operation does not verify: the source of an image layer has the padding

// -----

func.func @other_image(%x: memref<1x4x4xf32>, %y: memref<1x4x4xf32>) {
  hpacml.image_layer ["max_pool(3x3)"] ins(%x : memref<1x4x4xf32>) outs(%y : memref<1x4x4xf32>)
  func.return
}

// CHECK: Operation does not verify: the layers do not give memref<1x4x4xf32>

// -----

func.func @two_windows(%x: memref<1x4x4xf32>, %y: memref<1x2x2xf32>) {
  hpacml.image_layer ["max_pool(2x2)", "max_pool(2x2)"] ins(%x : memref<1x4x4xf32>) outs(%y : memref<1x2x2xf32>)
  func.return
}

// CHECK: Operation does not verify: an image layer has a convolution or a pool at most, which is its first

// -----

func.func @columns(%x: memref<1x4x4xf32, strided<[16, 1, 4]>>, %y: memref<1x4x4xf32>) {
  hpacml.image_layer ["relu"] ins(%x : memref<1x4x4xf32, strided<[16, 1, 4]>>) outs(%y : memref<1x4x4xf32>)
  func.return
}

// CHECK: Operation does not verify: the columns of an image are neighbours in memory

// -----

func.func @unknown_rows(%x: memref<1x?x4xf32>, %y: memref<1x4x4xf32>) {
  hpacml.image_layer ["relu"] ins(%x : memref<1x?x4xf32>) outs(%y : memref<1x4x4xf32>)
  func.return
}

// CHECK: Operation does not verify: images have channels, rows and columns of known sizes

// -----

func.func @other_sum(%x: memref<?x2xf32>, %y: memref<?x1xf32>, %w: memref<3xf32>) {
  hpacml.network ["linear(2, 1)", "residual(1)"] of f32 sweep 1 weights(%w : memref<3xf32>) ins(%x : memref<?x2xf32>) outs(%y : memref<?x1xf32>)
  func.return
}

// CHECK: Operation does not verify: residual(1) adds what is no 1 features

// -----

func.func @no_sum(%x: memref<?x2xf32>) {
  hpacml.network ["residual"] of f32 sweep 1 ins(%x : memref<?x2xf32>) outs(%x : memref<?x2xf32>)
  func.return
}

// CHECK: Operation does not verify: residual is of so many layers, as in residual(2)

// -----

func.func @sums(%n: index, %x: memref<1x128xf32>) {
  hpacml.layer ["relu", "residual"] points %n ins(%x : memref<1x128xf32>) outs(%x : memref<1x128xf32>)
  func.return
}

// CHECK: Operation does not verify: each residual adds what is in plus, and there are 1 and 0

// -----

func.func @sum_of_other_sizes(%x: memref<1x2x4xf32>, %z: memref<1x4x4xf32>) {
  hpacml.image_layer ["relu", "residual"] plus(%z : memref<1x4x4xf32>) ins(%x : memref<1x2x4xf32>) outs(%x : memref<1x2x4xf32>)
  func.return
}

// CHECK: Operation does not verify: what is added has the shape [1, 2, 4], elements of f32, and a stride of 1

// -----

func.func @compare_shapes(%mask: memref<?x?xi8>, %y: memref<?x1xf32>) {
  hpacml.compare_points "r" maps ["f(y[0:n])"] ins(%y : memref<?x1xf32>) against(%y : memref<?x1xf32>) features [1, -1] where %mask : memref<?x?xi8>
  func.return
}

// CHECK: a mask of type memref<?x?xi8> is none of a memref<?x1xf32> with the features [1]

// -----

func.func @compare_counts(%mask: memref<?xi8>, %y: memref<?x1xf32>) {
  hpacml.compare_points "r" maps ["f(y[0:n])"] ins(%y : memref<?x1xf32>) against(%y, %y : memref<?x1xf32>, memref<?x1xf32>) features [1, -1] where %mask : memref<?xi8>
  func.return
}

// CHECK: tensors, those that they are compared with, maps and features are [1, 2]

// -----

func.func @points_of_another_type(%x: memref<?x5xf32>, %at: memref<?xi64>, %k: index, %rows: memref<?x5xf64>) {
  hpacml.take_points %x features [1] at %at count %k into %rows : memref<?x5xf32>, memref<?xi64>, memref<?x5xf64>
  func.return
}

// CHECK: Operation does not verify: points of a memref<?x5xf32> are taken into a memref<?x5xf64>

// -----

func.func @points_at_no_positions(%x: memref<?x5xf32>, %at: memref<?xi32>, %k: index) {
  hpacml.take_points %x features [1] at %at count %k into %x : memref<?x5xf32>, memref<?xi32>, memref<?x5xf32>
  func.return
}

// CHECK: Operation does not verify: positions are a memref<?xi64>, and these are a memref<?xi32>

// -----

hpacml.functor @f : [i, 0 : 1] = ([i])
func.func @collects_without_a_guard(%t: memref<9xf32>) {
  %io = hpacml.map inout @f(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9x1xf32>
  hpacml.ml infer inout(%io : !hpacml.mapping<9x1xf32>) guard <collect> label "r" database "d.h5" {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: 'collect' is about the points that a guard rejects: say which, as in guard(range, collect)

// -----

hpacml.functor @f : [i, 0 : 1] = ([i])
func.func @collects_without_a_database(%t: memref<9xf32>) {
  %io = hpacml.map inout @f(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9x1xf32>
  hpacml.ml infer inout(%io : !hpacml.mapping<9x1xf32>) guard <range, collect> label "r" {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: points that a guard rejects are collected in a database, and `truth` has other data
