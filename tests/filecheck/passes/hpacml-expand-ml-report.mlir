// With a report there are time stamps between the steps of a region, and a record of them at the end of each way
// through it. Bytes are those of tensors that are filled before, or written after.

// RUN: hpacml-opt %s -p 'hpacml-expand-ml{report=true}' --split-input-file | filecheck %s
// RUN: hpacml-opt %s -p 'hpacml-expand-ml{report=false}' --split-input-file | filecheck %s --check-prefix OFF

// OFF-NOT: hpacml_rt.now
// OFF-NOT: hpacml_rt.record

// All ways: the model, the original code in its place, collection, and the original code alone.

hpacml.functor @in : [i, 0:2] = ([i - 1], [i + 1])
hpacml.functor @out : [i] = ([i])

func.func @ways(%t: memref<9xf32>, %u: memref<9xf32>, %c: i1, %d: i1) {
  %in = hpacml.map to @in(%t[1 : 8]) : memref<9xf32> -> !hpacml.mapping<7x2xf32>
  %out = hpacml.map from @out(%u[1 : 8]) : memref<9xf32> -> !hpacml.mapping<7xf32>
  hpacml.ml predicated(%c) if(%d) in(%in : !hpacml.mapping<7x2xf32>) out(%out : !hpacml.mapping<7xf32>) label "r" model "m.pt2" database "d.h5" {
    "test.op"(%t) : (memref<9xf32>) -> ()
  }
  func.return
}

// CHECK-LABEL: func.func @ways(%t: memref<9xf32>, %u: memref<9xf32>, %c: i1, %d: i1) {
// CHECK-NEXT:    scf.if %d {
// CHECK-NEXT:      %in = hpacml.map to @in(%t[1 : 8]) : memref<9xf32> -> !hpacml.mapping<7x2xf32>
// CHECK-NEXT:      %out = hpacml.map from @out(%u[1 : 8]) : memref<9xf32> -> !hpacml.mapping<7xf32>
// CHECK-NEXT:      scf.if %c {
// CHECK-NEXT:        %0 = hpacml_rt.now
// CHECK-NEXT:        %x = hpacml.tensor %in : !hpacml.mapping<7x2xf32> -> memref<7x2xf32>
// CHECK-NEXT:        hpacml.gather %in into %x : !hpacml.mapping<7x2xf32>, memref<7x2xf32>
// CHECK-NEXT:        %1 = hpacml_rt.now
// CHECK-NEXT:        %y = hpacml.tensor %out : !hpacml.mapping<7xf32> -> memref<7xf32>
// CHECK-NEXT:        %2 = hpacml_rt.now
// CHECK-NEXT:        %done = hpacml.infer "r" model "m.pt2" maps ["to: in: [i, 0:2] = ([i - 1], [i + 1]) | in(t[1 : 8])", "from: out: [i] = ([i]) | out(u[1 : 8])"] ins(%x : memref<7x2xf32>) outs(%y : memref<7xf32>)
// CHECK-NEXT:        %3 = hpacml_rt.now
// CHECK-NEXT:        scf.if %done {
// CHECK-NEXT:          hpacml.scatter %y into %out : memref<7xf32>, !hpacml.mapping<7xf32>
// CHECK-NEXT:          %4 = hpacml_rt.now
// CHECK-NEXT:          %5 = arith.constant 0 : i64
// CHECK-NEXT:          %6 = hpacml_rt.copied %x of(%t : memref<9xf32>) : memref<7x2xf32>
// CHECK-NEXT:          %7 = hpacml_rt.copied %y of(%u : memref<9xf32>) : memref<7xf32>
// CHECK-NEXT:          hpacml_rt.record "r" "infer" ["gather", "prepare", "model", "scatter"] times(%0, %1, %2, %3, %4) bytes(%6, %5, %5, %7)
// CHECK-NEXT:        } else {
// CHECK-NEXT:          %ms = hpacml.body "r" @r_body(%t : memref<9xf32>)
// CHECK-NEXT:          %8 = hpacml_rt.now
// CHECK-NEXT:          %9 = arith.constant 0 : i64
// CHECK-NEXT:          %10 = hpacml_rt.copied %x of(%t : memref<9xf32>) : memref<7x2xf32>
// CHECK-NEXT:          hpacml_rt.record "r" "infer" ["gather", "prepare", "model", "body"] times(%0, %1, %2, %3, %8) bytes(%10, %9, %9, %9)
// CHECK-NEXT:        }
// CHECK-NEXT:      } else {
// CHECK-NEXT:        %11 = hpacml_rt.now
// CHECK-NEXT:        %x_1 = hpacml.tensor fresh %in : !hpacml.mapping<7x2xf32> -> memref<7x2xf32>
// CHECK-NEXT:        hpacml.gather %in into %x_1 : !hpacml.mapping<7x2xf32>, memref<7x2xf32>
// CHECK-NEXT:        %12 = hpacml_rt.now
// CHECK-NEXT:        %ms_1 = hpacml.body "r" @r_body(%t : memref<9xf32>)
// CHECK-NEXT:        %13 = hpacml_rt.now
// CHECK-NEXT:        %y_1 = hpacml.tensor %out : !hpacml.mapping<7xf32> -> memref<7xf32>
// CHECK-NEXT:        hpacml.gather %out into %y_1 : !hpacml.mapping<7xf32>, memref<7xf32>
// CHECK-NEXT:        %14 = hpacml_rt.now
// CHECK-NEXT:        hpacml.collect "r" database "d.h5" maps ["to: in: [i, 0:2] = ([i - 1], [i + 1]) | in(t[1 : 8])", "from: out: [i] = ([i]) | out(u[1 : 8])"] ins(%x_1 : memref<7x2xf32>) outs(%y_1 : memref<7xf32>) time %ms_1
// CHECK-NEXT:        %15 = hpacml_rt.now
// CHECK-NEXT:        %16 = arith.constant 0 : i64
// CHECK-NEXT:        %17 = hpacml_rt.copied %x_1 of(%t : memref<9xf32>) : memref<7x2xf32>
// CHECK-NEXT:        %18 = hpacml_rt.copied %y_1 of(%u : memref<9xf32>) : memref<7xf32>
// CHECK-NEXT:        hpacml_rt.record "r" "collect" ["gather", "body", "outputs", "enqueue"] times(%11, %12, %13, %14, %15) bytes(%17, %16, %18, %16)
// CHECK-NEXT:      }
// CHECK-NEXT:    } else {
// CHECK-NEXT:      %19 = hpacml_rt.now
// CHECK-NEXT:      %ms_2 = hpacml.body "r" @r_body(%t : memref<9xf32>)
// CHECK-NEXT:      %20 = hpacml_rt.now
// CHECK-NEXT:      %21 = arith.constant 0 : i64
// CHECK-NEXT:      hpacml_rt.record "r" "body" ["body"] times(%19, %20) bytes(%21)
// CHECK-NEXT:    }
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

// -----

// A model that raises needs no branches. Several tensors add up; an index array is never the tensor's memory.

hpacml.functor @f : [i] = ([i])
hpacml.functor @two : [i, 0:2] = ([i], [i])

func.func @several(%t: memref<9xf32>, %u: memref<9xf32>, %idx: memref<9xi32>) {
  %a = hpacml.map to @two(%t[0 : 9], %u[*%idx[0 : 9]]) : memref<9xf32>, memref<9xf32>, memref<9xi32> -> !hpacml.mapping<9x2xf32>
  %b = hpacml.map inout @f(%u[0 : 7]) : memref<9xf32> -> !hpacml.mapping<7xf32>
  hpacml.ml infer in(%a : !hpacml.mapping<9x2xf32>) inout(%b : !hpacml.mapping<7xf32>) label "r" on_error "raise" {
    "test.op"(%t) : (memref<9xf32>) -> ()
  }
  func.return
}

// CHECK-LABEL: func.func @several(%t: memref<9xf32>, %u: memref<9xf32>, %idx: memref<9xi32>) {
// CHECK-NEXT:    %a = hpacml.map to @two(%t[0 : 9], %u[*%idx[0 : 9]]) : memref<9xf32>, memref<9xf32>, memref<9xi32> -> !hpacml.mapping<9x2xf32>
// CHECK-NEXT:    %b = hpacml.map inout @f(%u[0 : 7]) : memref<9xf32> -> !hpacml.mapping<7xf32>
// CHECK-NEXT:    %0 = hpacml_rt.now
// CHECK-NEXT:    %x = hpacml.tensor %a : !hpacml.mapping<9x2xf32> -> memref<9x2xf32>
// CHECK-NEXT:    hpacml.gather %a into %x : !hpacml.mapping<9x2xf32>, memref<9x2xf32>
// CHECK-NEXT:    %x_1 = hpacml.tensor %b : !hpacml.mapping<7xf32> -> memref<7xf32>
// CHECK-NEXT:    hpacml.gather %b into %x_1 : !hpacml.mapping<7xf32>, memref<7xf32>
// CHECK-NEXT:    %1 = hpacml_rt.now
// CHECK-NEXT:    %y = hpacml.tensor %b : !hpacml.mapping<7xf32> -> memref<7xf32>
// CHECK-NEXT:    %2 = hpacml_rt.now
// CHECK-NEXT:    %3 = hpacml.infer "r" on_error "raise" maps ["to: two: [i, 0:2] = ([i], [i]) | two(t[0 : 9], u[idx[0 : 9]])", "to: f: [i] = ([i]) | f(u[0 : 7])", "from: f: [i] = ([i]) | f(u[0 : 7])"] ins(%x, %x_1 : memref<9x2xf32>, memref<7xf32>) outs(%y : memref<7xf32>)
// CHECK-NEXT:    %4 = hpacml_rt.now
// CHECK-NEXT:    hpacml.scatter %y into %b : memref<7xf32>, !hpacml.mapping<7xf32>
// CHECK-NEXT:    %5 = hpacml_rt.now
// CHECK-NEXT:    %6 = arith.constant 0 : i64
// CHECK-NEXT:    %7 = hpacml_rt.copied %x of(%t, %u : memref<9xf32>, memref<9xf32>) : memref<9x2xf32>
// CHECK-NEXT:    %8 = hpacml_rt.copied %x_1 of(%u : memref<9xf32>) : memref<7xf32>
// CHECK-NEXT:    %9 = arith.addi %7, %8 : i64
// CHECK-NEXT:    %10 = hpacml_rt.copied %y of(%u : memref<9xf32>) : memref<7xf32>
// CHECK-NEXT:    hpacml_rt.record "r" "infer" ["gather", "prepare", "model", "scatter"] times(%0, %1, %2, %4, %5) bytes(%9, %6, %6, %10)
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

// -----

// A region in a region: each has its own record.

hpacml.functor @f : [i] = ([i])

func.func @nested(%t: memref<9xf32>) {
  %a = hpacml.map inout @f(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  hpacml.ml collect inout(%a : !hpacml.mapping<9xf32>) label "outer" {
    %b = hpacml.map inout @f(%t[0 : 3]) : memref<9xf32> -> !hpacml.mapping<3xf32>
    hpacml.ml infer inout(%b : !hpacml.mapping<3xf32>) label "inner" on_error "raise" {
      "test.op"(%t) : (memref<9xf32>) -> ()
    }
  }
  func.return
}

// CHECK-LABEL: func.func @nested(%t: memref<9xf32>) {
// CHECK-NEXT:    %a = hpacml.map inout @f(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
// CHECK-NEXT:    %0 = hpacml_rt.now
// CHECK-NEXT:    %x = hpacml.tensor fresh %a : !hpacml.mapping<9xf32> -> memref<9xf32>
// CHECK-NEXT:    hpacml.gather %a into %x : !hpacml.mapping<9xf32>, memref<9xf32>
// CHECK-NEXT:    %1 = hpacml_rt.now
// CHECK-NEXT:    %ms = hpacml.body "outer" @outer_body(%t : memref<9xf32>)
// CHECK-NEXT:    %2 = hpacml_rt.now
// CHECK-NEXT:    %y = hpacml.tensor %a : !hpacml.mapping<9xf32> -> memref<9xf32>
// CHECK-NEXT:    hpacml.gather %a into %y : !hpacml.mapping<9xf32>, memref<9xf32>
// CHECK-NEXT:    %3 = hpacml_rt.now
// CHECK-NEXT:    hpacml.collect "outer" maps ["to: f: [i] = ([i]) | f(t[0 : 9])", "from: f: [i] = ([i]) | f(t[0 : 9])"] ins(%x : memref<9xf32>) outs(%y : memref<9xf32>) time %ms
// CHECK-NEXT:    %4 = hpacml_rt.now
// CHECK-NEXT:    %5 = arith.constant 0 : i64
// CHECK-NEXT:    %6 = hpacml_rt.copied %x of(%t : memref<9xf32>) : memref<9xf32>
// CHECK-NEXT:    %7 = hpacml_rt.copied %y of(%t : memref<9xf32>) : memref<9xf32>
// CHECK-NEXT:    hpacml_rt.record "outer" "collect" ["gather", "body", "outputs", "enqueue"] times(%0, %1, %2, %3, %4) bytes(%6, %5, %7, %5)
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }
// CHECK-NEXT:  func.func private @outer_body(%t: memref<9xf32>) {{.*}} {
// CHECK-NEXT:    %b = hpacml.map inout @f(%t[0 : 3]) : memref<9xf32> -> !hpacml.mapping<3xf32>
// CHECK-NEXT:    %0 = hpacml_rt.now
// CHECK-NEXT:    %x = hpacml.tensor %b : !hpacml.mapping<3xf32> -> memref<3xf32>
// CHECK-NEXT:    hpacml.gather %b into %x : !hpacml.mapping<3xf32>, memref<3xf32>
// CHECK-NEXT:    %1 = hpacml_rt.now
// CHECK-NEXT:    %y = hpacml.tensor %b : !hpacml.mapping<3xf32> -> memref<3xf32>
// CHECK-NEXT:    %2 = hpacml_rt.now
// CHECK-NEXT:    %3 = hpacml.infer "inner" on_error "raise" maps ["to: f: [i] = ([i]) | f(t[0 : 3])", "from: f: [i] = ([i]) | f(t[0 : 3])"] ins(%x : memref<3xf32>) outs(%y : memref<3xf32>)
// CHECK-NEXT:    %4 = hpacml_rt.now
// CHECK-NEXT:    hpacml.scatter %y into %b : memref<3xf32>, !hpacml.mapping<3xf32>
// CHECK-NEXT:    %5 = hpacml_rt.now
// CHECK-NEXT:    %6 = arith.constant 0 : i64
// CHECK-NEXT:    %7 = hpacml_rt.copied %x of(%t : memref<9xf32>) : memref<3xf32>
// CHECK-NEXT:    %8 = hpacml_rt.copied %y of(%t : memref<9xf32>) : memref<3xf32>
// CHECK-NEXT:    hpacml_rt.record "inner" "infer" ["gather", "prepare", "model", "scatter"] times(%0, %1, %2, %4, %5) bytes(%7, %6, %6, %8)
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }
