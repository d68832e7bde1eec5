// Instruction sets for which the vector code is built; the best that the processor has is chosen
// when the program first calls a kernel. Every file of this folder begins, in this order, with
//
//     #include "kernels/simd/targets.h"
//     #undef HWY_TARGET_INCLUDE
//     #define HWY_TARGET_INCLUDE "kernels/simd/that_file.cpp"
//     #include <hwy/foreach_target.h>
//     #include <hwy/highway.h>
//     #include "kernels/simd/math-inl.h"  // vector math, if it needs it
//     #include "kernels/simd/tail-inl.h"  // loads and stores of less than a vector
//
// and is compiled once for each of them: AVX-512 (Highway's AVX3), AVX2 with FMA, SSE4, and the
// fallback of the compiler's baseline. Better sets have lower numbers, and releases of Highway add
// some beyond AVX3: code for AVX-512 asks for HWY_TARGET <= HWY_AVX3.
#pragma once

// The fallback that Highway takes with clang reads its largest lane as the lowest finite number
// where all are -infinity, and narrows infinite doubles to finite floats: the other one, of single
// lanes, is right with every compiler.
#ifndef HWY_BROKEN_EMU128
#define HWY_BROKEN_EMU128 1
#endif

#ifndef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS HWY_SSSE3
#endif
