/* A raw value as an integer of an input, and an integer of an output as what it stands for; C99 and C++.
 *
 * Scale and zero point are those of signature.json. What has none (`quantization` is null) takes and gives values. */
#ifndef RAW_VALUES_H
#define RAW_VALUES_H

#include <stdint.h>

/* lowest, highest: of the input's type; int8: -128, 127. What lies beyond becomes these. */
static inline int32_t to_input(float value, float scale, int32_t zero_point, int32_t lowest, int32_t highest) {
  float steps = value / scale, over;
  int32_t whole;
  if (!(steps > -1e6f)) return lowest; /* NaN too */
  if (steps > 1e6f) return highest;
  whole = (int32_t)steps; /* towards zero */
  over = steps - (float)whole;
  if (over < 0.0f) { /* down, as of others */
    over += 1.0f;
    --whole;
  }
  if (over > 0.5f || (over == 0.5f && whole % 2 != 0)) ++whole; /* a half becomes the even one */
  whole += zero_point;
  return whole < lowest ? lowest : whole > highest ? highest : whole;
}

static inline float from_output(int32_t integer, float scale, int32_t zero_point) {
  return (float)(integer - zero_point) * scale;
}

#endif
