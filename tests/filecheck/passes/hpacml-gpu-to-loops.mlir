// RUN: hpacml-opt %s -p hpacml-gpu-to-loops --split-input-file | filecheck %s

// Threads go from barrier to barrier; what can be computed is computed anew behind one. A loop with a barrier belongs
// to the block.

"memref.global"() <{sym_name = "tile", type = memref<256xf32, 3 : i64>, initial_value, sym_visibility = "private"}> : () -> ()

func.func @shared(%a: memref<?xf32>, %n: index, %blocks: index) {
  %c1 = arith.constant 1 : index
  %c256 = arith.constant 256 : index
  "gpu.launch"(%blocks, %c1, %c1, %c256, %c1, %c1) <{operandSegmentSizes = array<i32: 0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0>}> ({
  ^bb0(%block: index, %by: index, %bz: index, %thread: index, %ty: index, %tz: index, %gx: index, %gy: index, %gz: index, %sx: index, %sy: index, %sz: index):
    %tile = memref.get_global @tile : memref<256xf32, 3 : i64>
    %end = arith.addi %n, %gx : index
    scf.for %i = %block to %end step %gx {
      %k = arith.addi %i, %thread : index
      %v = memref.load %a[%k] : memref<?xf32>
      memref.store %v, %tile[%thread] : memref<256xf32, 3 : i64>
      "gpu.barrier"() : () -> ()
      %w = memref.load %tile[%thread] : memref<256xf32, 3 : i64>
      memref.store %w, %a[%k] : memref<?xf32>
      "gpu.barrier"() : () -> ()
    }
    "gpu.terminator"() : () -> ()
  }) : (index, index, index, index, index, index) -> ()
  func.return
}

// CHECK-NOT:     memref.global
// CHECK-LABEL: func.func @shared
// CHECK:         [[TILE:%\d+]] = memref.alloc() {alignment = 16 : i64} : memref<256xf32>
// CHECK:         scf.for %block = {{%\d+}} to %blocks step {{%\d+}} {
// CHECK-NEXT:      %end = arith.addi %n, %blocks
// CHECK-NEXT:      scf.for [[I:%\d+]] = %block to %end step %blocks {
// CHECK:             scf.for %thread = {{%\d+}} to %c256 step {{%\d+}} {
// CHECK-NEXT:          %k = arith.addi [[I]], %thread
// CHECK-NEXT:          %v = memref.load %a[%k]
// CHECK-NEXT:          memref.store %v, [[TILE]][%thread]
// CHECK-NEXT:        }
// CHECK:             scf.for [[THREAD:%thread_\d+]] = {{%\d+}} to %c256 step {{%\d+}} {
// CHECK-NEXT:          %w = memref.load [[TILE]][[[THREAD]]]
// CHECK-NEXT:          [[K:%k_\d+]] = arith.addi [[I]], [[THREAD]]
// CHECK-NEXT:          memref.store %w, %a[[[K]]]
// CHECK-NEXT:        }
// CHECK-NEXT:      }
// CHECK-NEXT:    }
// CHECK-NEXT:    memref.dealloc [[TILE]]

// -----

// All three dimensions of grid and block.

func.func @dimensions(%a: memref<?xindex>, %n: index, %m: index) {
  "gpu.launch"(%n, %m, %n, %m, %n, %m) <{operandSegmentSizes = array<i32: 0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0>}> ({
  ^bb0(%bx: index, %by: index, %bz: index, %tx: index, %ty: index, %tz: index, %gx: index, %gy: index, %gz: index, %sx: index, %sy: index, %sz: index):
    memref.store %gy, %a[%tx] : memref<?xindex>
    "gpu.terminator"() : () -> ()
  }) : (index, index, index, index, index, index) -> ()
  func.return
}

// CHECK-LABEL: func.func @dimensions
// CHECK:         scf.for %bz
// CHECK-NEXT:      scf.for %by
// CHECK-NEXT:        scf.for %bx
// CHECK:               scf.for %tz
// CHECK-NEXT:            scf.for %ty
// CHECK-NEXT:              scf.for %tx
// CHECK-NEXT:                memref.store %m, %a[%tx]

// -----

func.func @nothing() {
  func.return
}

// CHECK-LABEL: func.func @nothing
// CHECK-NEXT:    func.return

// -----

// A flag is memory of the function. What a kernel only reads it may read again behind a barrier.

func.func @flags(%a: memref<?xindex>, %n: index) -> i1 {
  %flag, %record, %first = hpacml_rt.flag "flags" [""]
  %c1 = arith.constant 1 : index
  "gpu.launch"(%c1, %c1, %c1, %n, %c1, %c1) <{operandSegmentSizes = array<i32: 0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0>}> ({
  ^bb0(%bx: index, %by: index, %bz: index, %tx: index, %ty: index, %tz: index, %gx: index, %gy: index, %gz: index, %sx: index, %sy: index, %sz: index):
    %word = memref.load %flag[%bx] : memref<1xi32>
    %tiles = arith.index_cast %word : i32 to index
    scf.for %tile = %bx to %tiles step %gx {
      memref.store %tx, %a[%tx] : memref<?xindex>
      "gpu.barrier"() : () -> ()
      memref.store %tile, %a[%tx] : memref<?xindex>
    }
    "gpu.terminator"() : () -> ()
  }) : (index, index, index, index, index, index) -> ()
  %down = hpacml_rt.flag_down %flag
  func.return %down : i1
}

// CHECK-LABEL: func.func @flags
// CHECK:         [[ZERO:%\d+]] = arith.constant 0 : i32
// CHECK-NEXT:    [[FLAG:%\w+]] = memref.alloca() {{.*}} : memref<1xi32>
// CHECK-NEXT:    memref.alloca() {{.*}} : memref<3xi64>
// CHECK-NEXT:    memref.store [[ZERO]], [[FLAG]]
// CHECK:         memref.load [[FLAG]]
// CHECK:         [[WORD:%\w+]] = memref.load [[FLAG]]
// CHECK-NEXT:    [[TILES:%\w+]] = arith.index_cast [[WORD]]
// CHECK-NEXT:    scf.for [[TILE:%\w+]] = {{.*}} to [[TILES]]
// CHECK:           memref.store %tx
// CHECK:           memref.store [[TILE]]
// CHECK:         [[RAISED:%\d+]] = memref.load [[FLAG]]
// CHECK:         [[DOWN:%\w+]] = arith.cmpi eq, [[RAISED]]
// CHECK-NEXT:    func.return [[DOWN]]

// -----

// What a thread has to itself is a buffer that the threads use in turn, also where it is seen as any other memory.

func.func @private(%n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  "gpu.launch"(%n, %c1, %c1, %n, %c1, %c1) <{operandSegmentSizes = array<i32: 0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0>}> ({
  ^bb0(%bx: index, %by: index, %bz: index, %tx: index, %ty: index, %tz: index, %gx: index, %gy: index, %gz: index, %sx: index, %sy: index, %sz: index):
    %own = memref.alloca() : memref<4xindex, 5 : i64>
    %few = "memref.memory_space_cast"(%own) : (memref<4xindex, 5 : i64>) -> memref<4xindex>
    memref.store %tx, %few[%c0] : memref<4xindex>
    "gpu.terminator"() : () -> ()
  }) : (index, index, index, index, index, index) -> ()
  func.return
}

// CHECK-LABEL: func.func @private
// CHECK:         [[BUFFER:%\w+]] = memref.alloc() {{.*}}: memref<4xindex>
// CHECK-NOT:     memory_space_cast
// CHECK:         memref.store %tx, [[BUFFER]][%c0]
// CHECK:         memref.dealloc [[BUFFER]]
