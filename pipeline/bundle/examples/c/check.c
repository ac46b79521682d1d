/* Asks the model the golden inputs and compares what it answers; C99, no files, no heap: also for a microcontroller.
 * -DEXACT allows no difference at all: for the runtime and processor that golden/index.json names. */
#include <stdint.h>
#include <stdio.h>

#include "golden.h"
#include "run.h"
#include "raw_values.h"

#ifdef EXACT
#define ALLOWED(tolerance) 0.0
#else
#define ALLOWED(tolerance) (tolerance)
#endif

static union {
  uint64_t align;
  unsigned char bytes[GOLDEN_OUTPUT_BYTES];
} answers;

static double largest_difference(const golden_tensor* tensor, const void* found, const void* wanted) {
  double most = 0.0;
  for (size_t place = 0; place < tensor->elements; ++place) {
    double apart = golden_value(tensor->type, found, place) - golden_value(tensor->type, wanted, place);
    if (apart < 0) apart = -apart;
    if (!(apart <= most)) most = apart; /* NaN too */
  }
  return most;
}

/* Whether an app that has values comes to the integers of a golden input. */
static int gives_back(const golden_tensor* tensor, const void* given) {
  if (tensor->scale == 0.0f) return 1; /* it takes values as they are */
  for (size_t place = 0; place < tensor->elements; ++place) {
    int32_t integer = (int32_t)golden_value(tensor->type, given, place);
    float value = from_output(integer, tensor->scale, tensor->zero_point);
    if (to_input(value, tensor->scale, tensor->zero_point, tensor->lowest, tensor->highest) != integer) return 0;
  }
  return 1;
}

/* The name of the class with the highest value, of the first sample. */
static const char* answer(const golden_tensor* tensor, const void* found) {
  size_t best = 0;
  for (size_t place = 1; place < tensor->label_count; ++place)
    if (golden_value(tensor->type, found, place) > golden_value(tensor->type, found, best)) best = place;
  return tensor->labels[best];
}

int check(void) {
  void* outputs[GOLDEN_OUTPUTS];
  size_t start = 0;
  int good = 1;
  for (int output = 0; output < GOLDEN_OUTPUTS; ++output) {
    outputs[output] = answers.bytes + start;
    start += (golden_outputs[output].bytes + 7) / 8 * 8;
  }
  for (int pair = 0; pair < GOLDEN_PAIRS; ++pair) {
    for (int input = 0; input < GOLDEN_INPUTS; ++input) {
      if (gives_back(&golden_inputs[input], golden_input_data[pair][input])) continue;
      printf("pair %d %s: to_input gives other integers\n", pair, golden_inputs[input].name);
      good = 0;
    }
    int refused = run(golden_input_data[pair], outputs);
    if (refused) {
      printf("pair %d: the runtime refused, %d\n", pair, refused);
      return 1;
    }
    for (int output = 0; output < GOLDEN_OUTPUTS; ++output) {
      const golden_tensor* tensor = &golden_outputs[output];
      double apart = largest_difference(tensor, outputs[output], golden_output_data[pair][output]);
      if (!(apart <= ALLOWED(tensor->tolerance))) good = 0;
      printf("pair %d %s: largest difference %g, allowed %g", pair, tensor->name, apart, ALLOWED(tensor->tolerance));
      if (tensor->label_count) printf(", answer %s", answer(tensor, outputs[output]));
      puts("");
    }
  }
  puts(good ? "good" : "DIFFERENT");
  return good ? 0 : 1;
}

int main(void) { return check(); }
