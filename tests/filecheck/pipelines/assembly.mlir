// Kernels as assembly, at the end of the pipeline for GPUs: what upstream MLIR does on the way is not shown.

// RUN: hpacml-opt %s -p hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-gpu,hpacml-refuse-host-accesses,convert-hpacml-to-loops,convert-hpacml-to-runtime -t 'ptx{chip=sm_90}' | filecheck %s --check-prefix=PTX
// RUN: hpacml-opt %s -p hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-gpu,hpacml-refuse-host-accesses,convert-hpacml-to-loops,convert-hpacml-to-runtime -t amdgcn | filecheck %s --check-prefix=AMD
// RUN: not hpacml-opt %s -p hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-gpu,convert-hpacml-to-loops,convert-hpacml-to-runtime -t 'ptx{chip=sm_1}' 2>&1 | filecheck %s --check-prefix=CHIP

hpacml.functor @pair : [i, 0:2] = ([i], [i + 1])

func.func @pairs(%a: memref<?xf32>, %n: index, %x: memref<?x2xf32>) {
  %m = hpacml.map to @pair(%a[0 : %n]) : memref<?xf32> -> !hpacml.mapping<?x2xf32>
  hpacml.gather %m into %x : !hpacml.mapping<?x2xf32>, memref<?x2xf32>
  func.return
}

// PTX:     .target sm_90
// PTX:     .visible .entry pairs_gather_0(
// PTX:     ld.global.nc
// PTX:     .visible .entry pairs_gather_0_narrow(

// AMD:     .amdgcn_target "amdgcn-amd-amdhsa--gfx90a"
// AMD:     pairs_gather_0:

// CHIP:    hpacml-opt: unknown chip 'sm_1'
