/* The one function that knows a runtime: run_litert.c and run_tflm.cc each have it. */
#ifndef RUN_H
#define RUN_H

#ifdef __cplusplus
extern "C" {
#endif

/* Ask the model once. `inputs` and `outputs` are in the order of golden.h, which says their types and bytes.
 * Returns 0, or another number where the runtime refused. */
int run(const void* const* inputs, void* const* outputs);

#ifdef __cplusplus
}
#endif

#endif
